"""Results hold, say and draw what was recorded."""

import json
import pickle

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")

from sklearn_provenance.evaluation import LinesDisplay

from .results import FILE, RESULTS, anomalies, figure, label_errors, membership, recorded

EXPECTED = json.loads(FILE.read_text())
# Training a convolution amplifies rounding, which differs between processors; the figure's axes are
# 15 wide.
ROUNDING = {"clusters_of_images": 0.02}


def check(found, expected, at):
    """Numbers agree up to rounding, all else exactly; lines may be drawn in another order."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), at
        for name in expected:
            check(found[name], expected[name], f"{at}/{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), at
        if at.endswith("/lines"):
            found, expected = (sorted(lines, key=json.dumps) for lines in (found, expected))
        for i, pair in enumerate(zip(found, expected, strict=True)):
            check(*pair, f"{at}/{i}")
    elif isinstance(expected, float):
        atol = ROUNDING.get(at.split("/")[0], 1e-6)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=atol, err_msg=at)
    else:
        assert found == expected, at


@pytest.mark.parametrize("case", [label_errors, membership, anomalies])
def test_results_survive_pickle(case):
    result = case()
    again = pickle.loads(pickle.dumps(result))
    assert type(again) is type(result)
    assert repr(again) == repr(result)
    assert figure(again.plot()) == figure(result.plot())


def test_lines_over_one_axis_or_an_axis_each():
    import matplotlib.pyplot as plt

    y = [[1.0, 2.0, 3.0], [2.0, 2.0, 1.0]]
    one = LinesDisplay([0, 1, 2], y, names=["a", "b"]).plot()
    each = LinesDisplay([[0, 1, 2], [0, 1, 2]], y, names=["a", "b"]).plot()
    for line, other in zip(one.lines_, each.lines_, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())
    with_bars = LinesDisplay([0, 1, 2], y, np.ones((2, 3)), names=["a", "b"]).plot(c="red", lw=4)
    assert [line.get_color() for line in with_bars.lines_] == ["red"] * 2
    assert with_bars.lines_[0].get_linewidth() == 4
    plt.close("all")


@pytest.mark.parametrize("case", RESULTS, ids=lambda case: case.__name__)
def test_results_are_as_recorded(case):
    check(json.loads(json.dumps(recorded(case))), EXPECTED[case.__name__], case.__name__)
