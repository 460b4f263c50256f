"""The way to an Explanation through pipelines, searches and frozen estimators."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from .._utils.containers import inside
from .._utils.feature_names import column_names, names_out
from .._utils.rows import take_rows
from .._utils.types import Rows
from ._checks import check_shown, row_size
from ._explanation import Explanation
from ._rows import dense


def explain_by_itself(estimator: Any, X: Rows, k: int = 5) -> Explanation:
    """
    Explain queries through a pipeline, a search or a frozen estimator.

    The containers are opened, in whatever order they are nested, down to the estimator that has an
    `explain` method; X passes through the transforming steps on the way. Samplers in pipelines of
    imbalanced-learn are passed over, as they are at prediction; rows are then those that the
    samplers gave to the estimator.

    Where these steps can be undone, the explanation shows the user's units: its `queries` are X,
    and its `training_data` maps rows back when they are asked for (`np.asarray` maps them all).
    Where they cannot be undone (a step has no working `inverse_transform`, or selects features),
    both stay in the space of the estimator, so that a query and its exemplars remain comparable.

    Parameters
    ----------
    estimator : object
        Fitted estimator with an `explain` method, or Pipeline, search (`best_estimator_`) or
        FrozenEstimator around one.
    X : array-like of shape (n_queries, ...) or None
        Rows to explain, in the units of the outermost container. None explains the training rows,
        each by the others, if the estimator can.
    k : int, default=5
        Number of exemplars of each query.

    Returns
    -------
    Explanation
        What the inner estimator explains.

    Raises
    ------
    TypeError
        If nothing inside has an `explain` method.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    Any estimator can offer `explain`; in a pipeline, its rows are shown in the user's units.

    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_provenance import Explanation
    >>> from sklearn_provenance.explanation._explain import explain_by_itself
    >>> class Nearest(KNeighborsClassifier):
    ...     def explain(self, X, k=5):
    ...         distances, indices = self.kneighbors(X, k)
    ...         return Explanation(indices, -distances, queries=X, training_data=self._fit_X)
    >>> X, y = [[10, 0.1], [20, 0.1], [30, 0.4], [40, 0.2]], [0, 0, 1, 1]
    >>> pipeline = make_pipeline(StandardScaler(), Nearest()).fit(X, y)
    >>> exp = explain_by_itself(pipeline, [[12, 0.1]], k=2)
    >>> exp.training_data[exp.indices[0]].round(3)
    array([[10. ,  0.1],
           [20. ,  0.1]])
    """
    found, pipelines = unwrap(estimator)
    check_is_fitted(found)
    rows = X
    if X is not None:
        for pipeline in pipelines:
            rows = pipeline.transform(rows)
    explanation = found.explain(rows, k=k)
    if not pipelines:
        names = explanation.feature_names or getattr(X, "columns", None)
        return explanation._replace(feature_names=names)
    contributions = _renamed(explanation.contributions, pipelines, X)
    explanation = explanation._replace(contributions=contributions)
    if explanation.training_data is None:
        return explanation
    return _in_users_units(explanation, pipelines, X)


def _in_users_units(explanation, pipelines, X):
    """Show an explanation in the units of X, or where they cannot be had, in the estimator's."""
    training_data = _Restored.of(explanation.training_data, pipelines[::-1])
    queries = check_shown("X", X)
    if queries is None and explanation.queries is not None:
        queries = _Restored.of(explanation.queries, pipelines[::-1])
    sizes = {row_size(data) for data in (queries, training_data) if data is not None}
    if training_data is None or len(sizes) > 1:
        names = explanation.feature_names or _names_out(pipelines[-1])
        if names is not None and len(names) != row_size(explanation.training_data):
            names = None
        return explanation._replace(feature_names=names)
    image_shape = explanation.image_shape
    if image_shape and np.prod(image_shape) != row_size(training_data):
        image_shape = None
    return explanation._replace(
        queries=queries,
        training_data=training_data,
        image_shape=image_shape,
        feature_names=getattr(X, "columns", getattr(pipelines[0], "feature_names_in_", None)),
    )


def _renamed(contributions, pipelines, X):
    """Name features as the user knows them, not as the columns that pipelines give.

    Without such names there are no contributions, since a name may mean another column of X.
    """
    if not hasattr(contributions, "named"):
        return contributions
    names = getattr(pipelines[0], "feature_names_in_", None)
    if X is not None:
        names = column_names(X)
    for pipeline in pipelines:
        names = names_out(pipeline, names)
    if names is None or len(names) != len(contributions.names):
        return None
    return contributions.named(names)


class NoExplainError(TypeError):
    """Nothing inside an estimator has an ``explain`` method."""


def explains_itself(estimator):
    """Return whether an estimator, or one inside its containers, has an ``explain`` method."""
    try:
        unwrap(estimator)
    except NoExplainError:
        return False
    return True


def unwrap(estimator):
    """Return the estimator that explains, and the pipelines in front of it, outermost first."""
    path = []
    pipelines = []
    inner = estimator
    while inner is not None or not path:  # None is named by the error, too
        path.append(inner)
        if isinstance(inner, Pipeline):
            transforming = _transforming_steps(inner)
            if transforming is not None:
                pipelines.append(transforming)
        # A FrozenEstimator has the attributes of what is inside of it.
        elif hasattr(inner, "explain") and not isinstance(inner, FrozenEstimator):
            return inner, pipelines
        inner = inside(inner)
    last = path[-1]
    if _is_search(last):
        check_is_fitted(last)
        raise TypeError(
            f"explain needs the best estimator of {type(last).__name__}, which refit=False does "
            "not keep; fit it with refit=True"
        )
    raise NoExplainError(_cannot_explain(path))


def _is_search(estimator):
    """Return whether an estimator is a search; others with `refit` keep a fitted `estimator_`."""
    has_both = hasattr(estimator, "refit") and hasattr(estimator, "estimator")
    return has_both and not hasattr(estimator, "estimator_")


def _transforming_steps(pipeline):
    """Return a pipeline without its last step and without samplers; None if no step is left."""
    steps = [(name, step) for name, step in pipeline.steps[:-1] if not _is_sampler(step)]
    if not steps:
        return None
    if len(steps) == len(pipeline.steps) - 1:
        return pipeline[:-1]
    return Pipeline(steps)


def _is_sampler(step):
    """Return whether a step chooses or makes rows in fit and leaves queries as they are."""
    return hasattr(step, "fit_resample") and not hasattr(step, "transform")


def _cannot_explain(path):
    """Write the error message for an estimator, and those inside, without an explain method."""
    estimator = path[-1]
    message = (
        "explain needs an estimator with an explain method, such as ProvenanceClassifier, alone or "
        "inside a Pipeline or a search"
    )
    if isinstance(estimator, ClassifierMixin) or hasattr(estimator, "named_parameters"):
        message += (
            ". For other classifiers, use an attributor around the whole estimator, such as "
            "InfoGainAttributor(estimator).fit(X_train, y_train).explain(X)"
        )
    return f"{message}; got {' > '.join(type(one).__name__ for one in path)}"


def _can_undo(step):
    """Return whether inverse_transform undoes a step; that of some steps does not."""
    if step is None or isinstance(step, str):
        return True  # passthrough
    if isinstance(step, FrozenEstimator):
        return _can_undo(step.estimator)
    if isinstance(step, Pipeline):
        return all(_can_undo(inner) for _, inner in step.steps)
    if isinstance(step, FunctionTransformer):
        return step.func is None or step.inverse_func is not None
    return hasattr(step, "inverse_transform") and not hasattr(step, "get_support")


def _names_out(pipeline):
    """Return the names of a pipeline's output features, None where it does not tell them."""
    try:
        return pipeline.get_feature_names_out()
    except (AttributeError, ValueError):
        return None


class _Restored:
    """Rows of data that fitted pipelines, innermost first, map back when they are asked for."""

    def __init__(self, data, pipelines, row_shape):
        self.data = data
        self.pipelines = pipelines
        self.shape = (data.shape[0], *row_shape)

    @classmethod
    def of(cls, data, pipelines):
        """Wrap data, or return None where its rows cannot be mapped back."""
        if not all(map(_can_undo, pipelines)):
            return None
        try:  # SimpleImputer, among others, has an inverse_transform that may only raise
            return cls(data, pipelines, cls(data, pipelines, ())[:1].shape[1:])
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            return None

    def __getitem__(self, key):
        rows = np.arange(self.shape[0])[key]
        block = take_rows(self.data, np.ravel(rows))
        for pipeline in self.pipelines:
            block = pipeline.inverse_transform(block)
        block = dense(block)
        return block.reshape(*np.shape(rows), *block.shape[1:])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def __len__(self):
        return self.shape[0]
