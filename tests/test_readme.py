"""Each block of Python in README.rst runs without the others.

Provenance networks are trained for one epoch, forests have ten trees, and few queries are asked:
what is learned and measured is tested elsewhere.
"""

import re
import textwrap
import warnings
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.rst").read_text(encoding="utf-8")
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)


NETWORK = re.compile(r"= (Provenance\w+)\(|, (Provenance\w+)\(")


def shortened(block):
    """Code of a block, with one epoch for each network."""
    code = NETWORK.sub(lambda call: f"{call[0]}max_epochs=1, ", textwrap.dedent(block[1]))
    code = code.replace("RandomForestClassifier(", "RandomForestClassifier(n_estimators=10, ")
    return code.replace("test_size=30", "test_size=5")


BLOCKS = [
    pytest.param(shortened(block), id=f"line {TEXT[: block.start(1)].count(chr(10)) + 1}")
    for block in BLOCK.finditer(TEXT)
]


@pytest.mark.parametrize("code", BLOCKS)
def test_runs(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)  # of other packages
        exec(code, {"__name__": "__main__"})
    assert [str(warning.message) for warning in shown] == []
    capsys.readouterr()  # progress, which users see here
    check_pictures(tmp_path)


@pytest.mark.thorough  # importing what each block needs takes most of the time
@pytest.mark.parametrize("code", BLOCKS)
def test_runs_in_a_process_of_its_own(code, tmp_path, template):
    run = template.run(code, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr, run.stderr
    check_pictures(tmp_path)


def check_pictures(tmp_path):
    for picture in tmp_path.glob("*.png"):
        assert_same_picture(picture, ROOT / "doc" / "_static" / picture.name)


def assert_same_picture(drawn, shown):
    """What a block draws is the picture that README.rst shows, up to fonts and four pixels."""
    drawn, shown = (matplotlib.image.imread(path).mean(2) for path in (drawn, shown))
    assert np.abs(np.subtract(drawn.shape, shown.shape)).max() <= 4
    height, width = np.minimum(drawn.shape, shown.shape) - 8
    middle = shown[4 : 4 + height, 4 : 4 + width]
    # The oldest matplotlib lays the figure out four pixels higher.
    least = min(
        np.abs(drawn[down : down + height, right : right + width] - middle).mean()
        for down in range(9)
        for right in range(9)
    )
    assert least < 0.02


def test_all_code_is_run():
    assert len(BLOCKS) == TEXT.count("code-block:: python")
    assert TEXT.count(".. image:: doc/_static/") == TEXT.count('.png")') == 1
    assert sum("max_epochs=1" in code for block in BLOCKS for code in block.values) == 3
