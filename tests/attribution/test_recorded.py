"""The rebuilt way to an answer gives the answers of the old one."""

import numpy as np
import pytest

from ..checks import thorough
from .recorded import FILE, answers, cases

RECORDED = np.load(FILE)


# Models that say the same of a method: three classes, a hidden layer.
OTHERS = [case for case in cases() if case[0] in ("dense", "linear", "mlp")]
FEW = [case for case in cases() if case not in OTHERS]


@pytest.mark.parametrize(("model", "method"), [*FEW, *thorough(*OTHERS)])
def test_answers_are_those_that_were_recorded(model, method):
    for name, values in answers(model, method).items():
        expected = RECORDED[f"{model}/{method}/{name}"]
        if values.dtype.kind in "iu":
            np.testing.assert_array_equal(values, expected, err_msg=name)
        else:
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7, err_msg=name)
