"""How often words occur in texts, weighted as BM25 weighs them."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import csr_array, issparse
from sklearn.base import clone
from sklearn.utils import check_array

from ..._utils.numeric import as_ndarray
from ..._utils.rows import n_rows
from ...tangent._points import SparsePoints
from ._rows import OwnRows


class WordFeatures(OwnRows):
    """Counts of words in queries, and their BM25 weights in training rows.

    Parameters
    ----------
    model : FittedModel
        Predicts labels of queries.
    vectorizer : transformer or None
        Counts the words of texts; None takes any run of letters, digits and underscores, in small
        letters.
    k1, b : float
        Parameters of BM25.
    """

    rows_differ = True

    def __init__(self, model, vectorizer, k1, b):
        self.model = model
        self.vectorizer = vectorizer
        self.k1 = k1
        self.b = b
        self.fitted = None

    def fit(self, X):
        """Learn the words of training rows, how many rows each is in, and how long rows are."""
        self.kind = _kind(X)
        if self.kind == "texts":
            self.fitted = self._make_vectorizer().fit(texts_of(X))
        elif self.kind == "token ids":
            self.n_words = int(_ids_of(X)[0].max()) + 1
        counts = self.inputs(X)  # (n, d)
        n = counts.shape[0]
        n_with = np.bincount(counts.indices, counts.data > 0, counts.shape[1])  # (d,)
        self.idf = np.log1p((n - n_with + 0.5) / (n_with + 0.5))
        self.mean_length = counts.sum() / n
        return self

    def inputs(self, X):
        """Count the words of X."""
        if _kind(X) != self.kind:
            raise ValueError(f"X must hold {self.kind}, as the training rows do; got {_kind(X)}")
        if self.kind == "texts":
            counts = self.fitted.transform(texts_of(X))
        elif self.kind == "token ids":
            counts = _count_ids(*_ids_of(X), self.n_words)
        else:
            if isinstance(X, torch.Tensor):
                X = as_ndarray(X)
            counts = check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")
            counts = csr_array(counts)
        if (counts.data < 0).any():
            raise ValueError(
                "X must hold texts, or counts of words that are not negative. Negative values in "
                f"data were given, such as {counts.data.min()}"
            )
        return csr_array(counts, dtype=np.float64)

    def points(self, inputs, labels=None):
        """Return points of queries, the counts of their words."""
        return SparsePoints(inputs, torch.as_tensor(labels))

    def training_points(self, inputs, labels):
        """Return points of training rows, the weights of their words."""
        weights = csr_array(inputs, copy=True)  # (n, d)
        lengths = inputs.sum(axis=1)  # (n,)
        relative = np.ones_like(lengths)
        if self.mean_length > 0:
            relative = lengths / self.mean_length
        norms = self.k1 * (1 - self.b + self.b * relative)
        counts = weights.data
        norms = np.repeat(norms, np.diff(weights.indptr))
        with np.errstate(divide="ignore", invalid="ignore"):
            saturated = counts * (self.k1 + 1) / (counts + norms)
        weights.data = self.idf[weights.indices] * np.where(counts > 0, saturated, 0.0)
        return SparsePoints(weights, torch.as_tensor(labels))

    def feature_names(self, names):
        """Name the words."""
        if self.fitted is None:
            return names
        return self.fitted.get_feature_names_out()

    def _make_vectorizer(self):
        if self.vectorizer is not None:
            return clone(self.vectorizer)
        from sklearn.feature_extraction.text import CountVectorizer

        return CountVectorizer(token_pattern=r"(?u)\w+")


def _kind(X):
    """Say what the words of rows are."""
    if texts_of(X) is not None:
        return "texts"
    if _ids_of(X) is not None:
        return "token ids"
    return "counts"


def check_words(X, name, advice):
    """Raise unless rows hold words.

    Parameters
    ----------
    X : array-like
        Rows.
    name : str
        Name of the caller's argument.
    advice : str
        What to do otherwise.

    Raises
    ------
    ValueError
        If they are no texts, no token ids and no counts, which are whole numbers from 0 up.
    """
    if _kind(X) != "counts":
        return
    wanted = f'{name} must hold texts, token ids in "input_ids", or counts of words'
    if issparse(X):
        values = X.tocsr().data
    else:
        try:
            values = as_ndarray(X).astype(np.float64)
        except (TypeError, ValueError):
            given = f"a {type(X).__name__} that holds neither texts nor numbers"
            raise ValueError(f"{wanted}; got {given}. {advice}") from None
    wrong = values[(values < 0) | (values != np.floor(values))]
    if len(wrong):
        raise ValueError(f"{wanted}; got numbers such as {wrong[0]:.6g}. {advice}")


def texts_of(X):
    """Return the texts (n,) that rows are or know; None where they are none."""
    texts = getattr(X, "texts", None)
    if texts is not None:
        return texts
    if isinstance(X, Mapping) or issparse(X):
        return None
    values = as_ndarray(X)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not n_rows(X) or not all(isinstance(v, str) for v in values):
        return None
    return values


def _ids_of(X):
    """Return token ids (n, T) and where they are no padding; None where rows are no tokens."""
    if not isinstance(X, Mapping) or "input_ids" not in X:
        return None
    ids = as_ndarray(X["input_ids"])
    mask = np.ones(ids.shape, dtype=bool)
    if "attention_mask" in X:
        mask = as_ndarray(X["attention_mask"]).astype(bool)
    return ids, mask


def _count_ids(ids, mask, n_words):
    """Count token ids, except for those that no training row has."""
    mask = mask & (ids < n_words)
    rows = np.nonzero(mask)[0]
    ones = np.ones(len(rows))
    return csr_array((ones, (rows, ids[mask])), shape=(len(ids), n_words))
