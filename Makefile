# make demo, make test, make test-all, make coverage, make docs: each makes a virtual environment when there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch first: what depends on it then finds it installed and fetches no other build.
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all coverage lint test-minimum docs package clean

demo: $(VENV)/.base
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python examples/plot_demo.py --output demo.png

# On several cores and in random order; pytest --randomly-seed=N repeats an order.
# The processes share the cores, so each of them runs one thread; compiled files are kept, or each
# process that a test starts compiles the package again.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
	-n auto --maxprocesses 4 --dist worksteal

test: $(VENV)/.test lint
	$(PYTEST)

# With what repeats other tests at more variants, seeds and sizes.
test-all: $(VENV)/.test lint
	$(PYTEST) -m "" --hypothesis-profile=thorough

# Counting covered lines and branches makes the tests half as long again.
coverage: $(VENV)/.test
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-fail-under=99

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The lower bounds of pyproject.toml; torch 2.6 comes with its CUDA libraries on Linux (6 GB).
test-minimum: BIN := $(VENV)-minimum/bin
test-minimum:
	$(PYTHON) -m venv $(VENV)-minimum
	$(BIN)/pip install --quiet -c constraints-minimum.txt torch
	$(BIN)/pip install --quiet -c constraints-minimum.txt -e ".[test]"
	$(PYTEST)

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html doc doc/_build/html
	$(BIN)/python doc/check_pages.py doc/_build/html
	@echo "open doc/_build/html/index.html"

# The archive passes its own tests, and the wheel explains a model in an environment of its own.
package: $(VENV)/.test
	$(BIN)/pip install --quiet build
	rm -rf dist build
	$(BIN)/python -m build --outdir dist .
	mkdir -p build/archive && tar -xzf dist/*.tar.gz --strip-components=1 -C build/archive
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/pip install --quiet -c constraints.txt torch
	build/wheel/bin/pip install --quiet -c constraints.txt dist/*.whl
	cd build/wheel && bin/python ../../tests/check_wheel.py
	cd build/archive && $(MAKE) test PYTHON=$(PYTHON)

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(BIN)/pip pyproject.toml constraints.txt
	$(INSTALL) torch
	$(INSTALL) -e ".[plot,frame]"
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(INSTALL) -e ".[test]"
	touch $@

$(VENV)/.docs: $(VENV)/.base
	$(INSTALL) -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) doc/_build doc/auto_examples doc/api/generated build *.egg-info
