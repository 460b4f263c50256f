"""The rebuilt way to an answer gives the answers of the old one."""

import numpy as np
import pytest

from .recorded import FILE, answers, cases

RECORDED = np.load(FILE)


@pytest.mark.parametrize(("model", "method"), cases())
def test_answers_are_those_that_were_recorded(model, method):
    for name, values in answers(model, method).items():
        expected = RECORDED[f"{model}/{method}/{name}"]
        if values.dtype.kind in "iu":
            np.testing.assert_array_equal(values, expected, err_msg=name)
        else:
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7, err_msg=name)
