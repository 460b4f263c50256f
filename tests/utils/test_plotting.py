"""Figures that a caller has made keep their layout."""

import matplotlib.pyplot as plt
import pytest

from sklearn_provenance._utils.plotting import new_canvas


@pytest.mark.parametrize("layout", [None, "tight", "compressed"])
def test_the_layout_of_a_figure_is_its_makers(layout):
    figure, axes = plt.subplots(1, 2, layout=layout)
    before = figure.get_layout_engine()
    canvas, whole = new_canvas(axes[1], (4, 3))
    assert whole is figure
    assert canvas in figure.subfigs
    assert not axes[1].axison
    if layout is None:
        assert type(figure.get_layout_engine()).__name__ == "ConstrainedLayoutEngine"
    else:
        assert figure.get_layout_engine() is before
