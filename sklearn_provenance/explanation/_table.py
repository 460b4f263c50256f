"""An explanation as columns of a data frame."""

import numpy as np

from ._shared_features import shared_text
from ._targets import are_numbers, has, target_word
from ._words import Texts, has_parts, shared_parts


def columns(explanation):
    """Return a line for each exemplar of each query; see :meth:`Explanation.to_frame`.

    Parameters
    ----------
    explanation : Explanation
        What is written.

    Returns
    -------
    dict of str to ndarray
        Columns that are known.
    """
    exp = explanation
    valid = exp.indices >= 0
    query, position = np.nonzero(valid)
    word = target_word(exp)
    found = {"query": query}
    if exp.query_id is not None:
        found["query_id"] = exp.query_id[query]
    found["rank"] = position + 1
    found["index"] = exp.indices[valid]
    if exp.sample_id is not None:
        found["sample_id"] = exp.sample_id[valid]
    found["score"] = exp.scores[valid]
    if exp.query_labels is not None:
        found[f"query_{word}"] = exp.query_labels[query]
    if exp.true_labels is not None:
        found[f"true_{word}"] = exp.true_labels[query]
    if are_numbers(exp) and has(exp, "query_labels", "true_labels"):
        found["residual"] = exp.residuals[query]
    if exp.exemplar_labels is not None:
        found[word] = exp.exemplar_labels[valid]
    if are_numbers(exp) and has(exp, "query_labels", "exemplar_labels"):
        found["difference"] = exp.target_differences[valid]
    texts = Texts(exp)
    if texts.queries is not None:
        found["query_text"] = np.array(texts.queries, dtype=object)[query]
    if texts.exemplars is not None:
        found["text"] = np.array(texts.exemplars, dtype=object)[valid]
    if has_parts(exp):
        pairs = zip(query, position, strict=True)
        shared = [shared_text(shared_parts(exp, *pair)) for pair in pairs]
        found["shared"] = np.array(shared, dtype=object)
    if exp.n_tied is not None:
        found["n_tied"] = exp.n_tied[query]
    return found
