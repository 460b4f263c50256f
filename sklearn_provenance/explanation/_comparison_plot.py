"""How a comparison of methods is drawn: each query once, with the exemplars of all methods."""

import numpy as np

from ._plot import ExplanationDisplay, drawn_queries
from ._rows import shorten

SHARED = "●"  # behind the name of a row that several methods name


def comparison_display(comparison, queries, *, k, max_queries, true_labels, label_names):
    """Make the display of a comparison, and draw nothing; see :meth:`Comparison.plot`.

    Parameters
    ----------
    comparison : Comparison
        What is drawn.
    queries : int, slice, array-like or None
        Queries to draw.
    k : int
        Number of exemplars of each query and method.
    max_queries : int
        Number of queries to draw when `queries` is None.
    true_labels : array-like of shape (n_queries,) or None
        Labels that all queries should have.
    label_names : mapping, sequence or None
        Names of labels.

    Returns
    -------
    ExplanationDisplay
        With the exemplars of all methods, those of the first method first.
    """
    joined = comparison.joined
    if true_labels is not None:
        joined = joined._replace(true_labels=true_labels)
    numbers = drawn_queries(joined, queries, k, max_queries)
    part = comparison.take(numbers)
    display = ExplanationDisplay._undrawn(joined, numbers, joined.k, label_names)
    places = [_places(part, query, k) for query in range(part.n_queries)]
    width = max(len(of_query) for of_query in places)
    shape = (part.n_queries, width)
    # Places of exemplars in the joined explanation; padding takes the first and has no score.
    order = np.zeros(shape, dtype=np.int64)
    display_scores = np.full(shape, np.nan)
    names = [[""] * width for _ in places]
    methods = [[""] * width for _ in places]
    for query, of_query in enumerate(places):
        for column, (method, place, is_shared) in enumerate(of_query):
            order[query, column] = place
            display_scores[query, column] = display.scores[query, place]
            name = display.exemplar_names[query][place]
            if joined.image_shape is None:  # lines of texts and tables have no other place for it
                name = f"{shorten(method, 14)}: {name}"
            if is_shared:
                name += f" {SHARED}"
            names[query][column] = name
            methods[query][column] = method
    for name in ("exemplars", "exemplar_labels"):
        array = getattr(display, name)
        if array is not None:
            where = order.reshape(*shape, *[1] * (array.ndim - 2))
            setattr(display, name, np.take_along_axis(array, where, axis=1))
    display.scores = display_scores
    display.exemplar_names = names
    display.methods = methods
    display.shared = None
    display.unit = ""
    display.title = f"{SHARED} named by several methods"
    return display


def _places(comparison, query, k):
    """List the first k exemplars of each method: method, place in `joined`, whether it is shared.

    Valid exemplars of `joined` stand in the order of the methods, each with all of its exemplars.
    """
    counts = comparison.n_methods_of_each()
    found = []
    start = 0
    for method, explanation in comparison.explanations.items():
        n_exemplars = int((explanation.indices[query] >= 0).sum())
        for rank in range(min(k, n_exemplars)):
            found.append((method, start + rank, counts[method][query, rank] > 1))
        start += n_exemplars
    return found
