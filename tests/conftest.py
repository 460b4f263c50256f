import gc
import re

import matplotlib
import pytest
import torch
from hypothesis import settings

from .processes import Template

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Oversubscribed OpenMP threads make the suite 10 to 20 times slower on few busy cores.
torch.set_num_threads(1)
# Example timings say more about the machine than about the code. ``make test-all`` asks for the
# thorough profile.
settings.register_profile("quick", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("quick")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Start each test, fixtures of its module included, from one state of torch's generators.

    ``torch.manual_seed`` would format the stack for each kind of device that is missing, which
    takes longer than most tests.
    """
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)


# Pages of the guide that train networks over and over.
SLOW_PAGES = {"getting_started.rst", "memorisation.rst", "generation.rst"}


@pytest.hookimpl(tryfirst=True)  # before pytest looks at marks
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.name in SLOW_PAGES:
            item.add_marker(pytest.mark.thorough)


def pytest_collection_finish(session):
    """Spare the garbage collector what collection made: it lives as long as the process."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    """Close the figures of each test: pyplot keeps them, and warns of more than 20."""
    plt.close("all")


@pytest.fixture(scope="session")
def template():
    """Run code in processes of their own, which need not import the package again."""
    template = Template()
    yield template
    template.close()


# A bar of tqdm, with or without a known end.
BAR = re.compile(r"\d+%\|.*\||\d+(it|row|copy|chunk)? \[\d\d:\d\d")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail a test in which a progress bar is shown that it did not ask for.

    Tests that ask for one read it by ``capsys``, and nothing of it is left here.
    """
    report = yield
    bar = BAR.search(report.capstderr)
    if report.when == "call" and report.passed and bar:
        report.outcome = "failed"
        report.longrepr = f"a progress bar was shown without being asked for: {bar.group()}"
    return report
