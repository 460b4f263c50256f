"""What every attributor does: resolve the model, hold the training rows, shape the answers."""

import numbers
import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import ClassifierTags, check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from tqdm.auto import tqdm

from ..explanation import Explanation
from ..provenance import ProvenanceClassifier
from ..provenance._input import IMAGE_CHANNELS, image_layout
from ._link import Link, resolve
from ._sources import Points


class Group(NamedTuple):
    """Queries that share a kernel."""

    key: int | None  # class, if its rows or features differ from other groups'
    numbers: np.ndarray  # (n_queries,) of the X that is explained
    queries: Points
    rows: np.ndarray  # (n_rows,) of the X given to fit
    train: Points
    allowed: torch.Tensor | None  # (n_queries, n_rows), bool; None allows all
    own: torch.Tensor | None  # (n_queries,), position among rows of queries that are such rows

    def scored_alone(self, score):
        """Scores (n_queries, n_rows) of a function of the rows that some query may name.

        ``score(rows)`` scores those, or all where rows is None; nan stands for the others.
        """
        if self.allowed is None:
            return score(None)
        wanted = self.allowed.any(0).nonzero()[:, 0]
        values = score(wanted)
        everything = values.new_full((len(values), len(self.rows)), torch.nan)
        return everything.index_copy(1, wanted.to(values.device), values)


class BaseAttributor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of attributors.

    A subclass says whether it conditions on rows that are no candidates (``_needs_all_rows``),
    links itself to the model (``_make_link``) and learns from the rows (``_learn``), picks k rows
    for a group of queries (``_pick``), scores every row alone (``_pointwise``) and gives the
    features that it compares (``_transform``).
    """

    _method = ""
    _score_name = "score"
    _needs_all_rows = False

    _parameter_constraints: dict = {
        "estimator": "no_validation",  # says more about what is supported than a type would
        "candidates": [StrOptions({"same_class", "all"})],
        "prefit": [StrOptions({"auto"}), "boolean"],
        "memory": [str, HasMethods("cache"), None],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator,
        *,
        candidates="same_class",
        prefit="auto",
        memory=None,
        batch_size="auto",
        verbose=0,
    ):
        self.estimator = estimator
        self.candidates = candidates
        self.prefit = prefit
        self.memory = memory
        self.batch_size = batch_size
        self.verbose = verbose

    # The estimator is an estimator of its own, whose parameters are validated when it is fitted.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_id=None):
        """Take the rows to attribute to, and fit the estimator if it is not fitted.

        Parameters
        ----------
        X : array-like of shape (n_train, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n_train,)
            Their labels, among the classes that the estimator knows.
        sample_id : array-like of shape (n_train,), default=None
            Your own identifiers of the rows, handed on to every :class:`Explanation`.

        Returns
        -------
        self : object
            The fitted attributor.

        Raises
        ------
        TypeError
            If no way from the estimator to tangent features is known.
        ValueError
            If the input is not usable, or the model has no tangent features.
        sklearn.exceptions.NotFittedError
            With ``prefit=True`` or a FrozenEstimator, if the estimator is not fitted.
        """
        self._check_combination()
        X, y = self._check_X(X, reset=True), column_or_1d(y, warn=True)
        check_classification_targets(y)
        check_consistent_length(X, y)
        if sample_id is not None:
            sample_id = column_or_1d(sample_id)
            check_consistent_length(X, sample_id)
        self.estimator_ = self._resolve(X, y)
        self._link = self._make_link(X, y)
        self.classes_ = self._link.classes
        self._fit_X, self._sample_id = X, sample_id
        # A copy: kernels are computed from these rows long after fit.
        inputs = self._link.inputs(X)
        inputs = inputs.clone() if isinstance(inputs, torch.Tensor) else np.array(inputs)
        self._train = Points(inputs, self._encode(y, "y"))
        self._learn()
        return self

    def _resolve(self, X, y):
        """The model in use."""
        return resolve(self.estimator, self.prefit, X, y, self.memory)

    def _make_link(self, X, y):
        """Link to ``estimator_``."""
        return Link(
            self.estimator_,
            X,
            y,
            batch_size=self.batch_size,
            verbose=self.verbose,
            memory=self.memory,
        )

    def _learn(self):
        """Compute what every explanation needs."""

    def _check_combination(self):
        """Refuse parameters that are valid alone and make no sense together."""

    def _encode(self, y, name):
        """Positions of labels in classes_."""
        position = {label: i for i, label in enumerate(self.classes_.tolist())}
        codes = [position.get(label, -1) for label in np.asarray(y).tolist()]
        if -1 in codes:
            raise ValueError(
                f"{name} holds the label {np.asarray(y)[codes.index(-1)]!r}, which the model does "
                f"not know; its classes are {self.classes_.tolist()}"
            )
        return np.array(codes, dtype=np.int64)

    def predict(self, X):
        """Predict classes with the model in use.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Rows as the estimator takes them.

        Returns
        -------
        y : ndarray of shape (n_queries,)
            ``estimator_.predict(X)``; for a bare module the class of the largest logit.
        """
        check_is_fitted(self)
        return self._link.predict(self._check_X(X))

    def _check_X(self, X, reset=False):
        """X as something with a shape; the estimator checks what it holds."""
        X = X if hasattr(X, "shape") else np.asarray(X)
        if X.ndim == 0 or (X.ndim == 1 and getattr(X.dtype, "kind", "f") in "fiubc"):
            raise ValueError(
                f"X must have a row per example, got an array of shape {tuple(X.shape)}. Reshape "
                "your data with X.reshape(1, -1) if it is one example"
            )
        validate_data(self, X, skip_check_array=True, reset=reset)
        if not X.shape[0]:
            raise ValueError("Found array with 0 sample(s): X has no rows")
        return X

    def _queries(self, X, y):
        """Points of the queries at the labels given or predicted."""
        y = self.predict(X) if y is None else column_or_1d(y)
        check_consistent_length(X, y)
        return Points(self._link.inputs(X), self._encode(y, "y"))

    def _groups(self, queries, needs_all_rows, among_train=False):
        """Group queries by the kernel they need, and name the rows it takes.

        ``among_train`` says that the queries are the training rows, in order.
        """
        own, same_class = self._train.labels, self.candidates == "same_class"
        everything = np.arange(len(own))
        restrict = same_class and not needs_all_rows
        groups = []
        if self._link.label_independent and not restrict:
            numbers_, allowed = np.arange(len(queries.labels)), None
            if same_class:
                allowed = torch.as_tensor(queries.labels[:, None] == own)
            own_rows = torch.as_tensor(numbers_) if among_train else None
            groups.append(
                Group(None, numbers_, queries, everything, self._train, allowed, own_rows)
            )
        else:
            for c in np.unique(queries.labels):
                numbers_ = np.flatnonzero(queries.labels == c)
                rows = np.flatnonzero(own == c) if restrict else everything
                if not len(rows):
                    continue
                allowed = None
                if same_class and not restrict:
                    allowed = torch.as_tensor(np.tile(own == c, (len(numbers_), 1)))
                own_rows = torch.as_tensor(np.searchsorted(rows, numbers_)) if among_train else None
                points = Points(queries.inputs[numbers_], queries.labels[numbers_])
                train = self._train_points(rows, c)
                groups.append(Group(int(c), numbers_, points, rows, train, allowed, own_rows))
        return tqdm(groups, desc="classes", disable=not self.verbose)

    def _train_points(self, rows, c):
        """Training rows as a query of class c sees them."""
        inputs = self._train.inputs
        if len(rows) < len(inputs):  # all rows need no copy for every class
            inputs = inputs[rows]
        return Points(inputs, np.full(len(rows), c))

    def explain(self, X=None, y=None, k=5):
        """Name the training rows behind predictions.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...), default=None
            Queries. None explains every training row at its own label by the others, as if it had
            not been among the rows given to fit; the model is the one trained with it.
        y : array-like of shape (n_queries,), default=None
            Labels to explain; None explains the predicted ones.
        k : int, default=5
            Training rows per query.

        Returns
        -------
        explanation : Explanation
            Row numbers of the X given to fit in order of selection, and their scores. Where a
            query has fewer than k candidates the rest is padded with -1 and nan, with a warning.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows, y holds a label that the model does
            not know, or y is given without X.
        """
        check_is_fitted(self)
        k = self._check_k(k)
        among_train = X is None
        if among_train:
            if y is not None:
                raise ValueError(
                    "y was given without X: the training rows are explained at their own labels"
                )
            X, queries = self._fit_X, self._train
        else:
            X = self._check_X(X)
            queries = self._queries(X, y)
        indices = np.full((len(queries.labels), k), -1, dtype=np.int64)
        scores = np.full(indices.shape, np.nan)
        for group in self._groups(queries, self._needs_all_rows, among_train):
            picks, values = (t.cpu().numpy() for t in self._pick(group, k))
            indices[group.numbers] = np.where(picks >= 0, group.rows[picks], -1)
            scores[group.numbers] = values
        if short := int((indices[:, -1] < 0).sum()):
            warnings.warn(
                f"{short} of {len(indices)} queries have fewer than k={k} candidates; the rest is "
                'padded with -1 and nan. candidates="all" allows every training row',
                UserWarning,
                stacklevel=2,
            )
        shown, image_shape = self._shown(X)
        return Explanation(
            indices,
            scores,
            sample_id=None if self._sample_id is None else self._sample_id[indices],
            exemplar_labels=self.classes_[self._train.labels[indices]],
            query_labels=self.classes_[queries.labels],
            queries=shown,
            training_data=self._shown(self._fit_X)[0],
            image_shape=image_shape,
            feature_names=getattr(self, "feature_names_in_", None),
            method=self._method,
            score_name=self._score_name,
        )

    def _check_k(self, k):
        if not isinstance(k, numbers.Integral) or isinstance(k, bool):
            raise TypeError(f"k must be an integer, got {k!r}")
        if not 1 <= k <= len(self._train.labels):
            raise ValueError(
                f"k must be between 1 and {len(self._train.labels)}, the number of training rows; "
                f"got {k}"
            )
        return int(k)

    def _check_pool(self, queries, k):
        """Rows that may be selected for all queries together (n_train,), at least k of them."""
        allowed = np.ones(len(self._train.labels), dtype=bool)
        if self.candidates == "same_class":
            allowed = np.isin(self._train.labels, queries.labels)
        if k > allowed.sum():
            raise ValueError(
                f"k={k} rows were asked for, but only {allowed.sum()} training rows are of the "
                'queries\' classes. candidates="all" allows every training row'
            )
        return allowed

    def _shown(self, X):
        """Rows as an Explanation shows them, and the shape of images."""
        inner = self.estimator_
        while isinstance(inner, FrozenEstimator):
            inner = inner.estimator
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        if not isinstance(inner, ProvenanceClassifier) or inner._user_shape is None:
            return X, _image_shape(X)
        return np.asarray(X).reshape(-1, *image_layout(inner._user_shape)[0]), inner.input_shape_

    def attribute(self, X, y=None):
        """Score every training row alone.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        y : array-like of shape (n_queries,), default=None
            Labels to explain; None explains the predicted ones.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_train)
            Pointwise scores; nan where a row is no candidate of a query.

        Raises
        ------
        ValueError
            If y holds a label that the model does not know.
        """
        check_is_fitted(self)
        X = self._check_X(X)
        queries = self._queries(X, y)
        scores = np.full((len(queries.labels), len(self._train.labels)), np.nan)
        for group in self._groups(queries, self._needs_all_rows):
            values = self._pointwise(group)
            if group.allowed is not None:
                allowed = group.allowed.to(values.device)
                values = values.masked_fill(~allowed, torch.nan)
            scores[np.ix_(group.numbers, group.rows)] = values.cpu().numpy()
        return scores

    def transform(self, X):
        """Features of rows at the predicted label: what is compared with those of training rows.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Rows as the estimator takes them.

        Returns
        -------
        features : ndarray of shape (n_queries, n_components)
            One row per query.

        Raises
        ------
        ValueError
            If there would be too many columns, or the method compares no features.
        """
        check_is_fitted(self)
        return self._transform(self._check_X(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # It predicts classes, and cross-validation must keep all of them in every fold.
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        tags.target_tags.required = True
        return tags


def _image_shape(X):
    """Shape (H, W) or (C, H, W) of rows that are images; None where they are not, or may not be."""
    if np.ndim(X) not in (3, 4) or getattr(X, "dtype", np.dtype(object)).kind not in "fiub":
        return None
    try:
        shape, axes = image_layout(X.shape[1:])
    except ValueError:  # channels first or last
        return None
    if axes is not None:
        shape = shape[2], *shape[:2]
    if X.ndim == 3:
        return shape[1:]
    return shape if shape[0] in IMAGE_CHANNELS else None
