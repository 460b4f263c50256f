"""The code of CONTRIBUTING.rst runs, and does what it says."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestCentroid

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.rst"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)
X, y = load_iris(return_X_y=True)


def blocks():
    """Code blocks, at their lines of the page for what a traceback shows."""
    text = PAGE.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        lines_before = text[: block.start(1)].count("\n")
        yield "\n" * lines_before + textwrap.dedent(block[1])


@pytest.fixture(scope="module")
def page():
    """Names that the code on the page defines."""
    names = {"__name__": __name__}
    for block in blocks():
        exec(compile(block, PAGE, "exec"), names)
    return names


def test_the_example_rule_is_the_distance_in_tangent_space(page):
    model = NearestCentroid().fit(X, y)
    attributor = page["NearestAttributor"](page["Prototypes"]().fit(X, y), candidates="all").fit(
        X, y
    )
    np.testing.assert_array_equal(attributor.predict(X), model.predict(X))
    queries = X[::7]
    labels = attributor.predict(queries)
    expected = np.empty((len(queries), len(X)))
    for label in np.unique(labels):
        # At one label, φ of a linear model is (x, 1) in the columns of that label.
        chosen = labels == label
        expected[chosen] = -pairwise_distances(queries[chosen], X, metric="sqeuclidean")
    np.testing.assert_allclose(attributor.attribute(queries), expected, atol=1e-9)
    picks, scores = attributor.explain(queries, k=3)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, picks, 1), atol=1e-9)


def test_the_example_leaves_the_query_out_of_its_own_exemplars(page):
    attributor = page["NearestAttributor"](page["Prototypes"]()).fit(X, y)
    picks = attributor.explain(k=2).indices
    assert (picks != np.arange(len(X))[:, None]).all()
