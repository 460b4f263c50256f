"""Results hold, say and draw what was recorded."""

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")

from .results import FILE, RESULTS, recorded

EXPECTED = json.loads(FILE.read_text())


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
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6, err_msg=at)
    else:
        assert found == expected, at


@pytest.mark.parametrize("case", RESULTS, ids=lambda case: case.__name__)
def test_results_are_as_recorded(case):
    check(json.loads(json.dumps(recorded(case))), EXPECTED[case.__name__], case.__name__)
