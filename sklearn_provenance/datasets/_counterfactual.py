"""Outputs of models that were trained without half of their rows, for two small data sets."""

from importlib import resources
from typing import Literal

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from ._digits import load_digits

N_QUERIES = 100
_CLASSIFIERS = {
    "logistic_regression": LogisticRegression(max_iter=2000),
    "mlp": MLPClassifier((64,), alpha=1e-3, batch_size=64, max_iter=60, tol=0.0),
}
_REGRESSORS = {"ridge": Ridge()}
_MODELS = {"digits": _CLASSIFIERS, "breast_cancer": _CLASSIFIERS, "diabetes": _REGRESSORS}

DESCR = """\
Counterfactual truth for scikit-learn models
============================================

{what} of {n_queries} test rows of {data}, of copies of

    {model}

trained on random halves of the {n_train} training rows: {n_masks} halves, {n_repeats} random
initialisations each (one where the model has none). The estimator in this Bunch, cloned, given
``random_state`` 0 to {last} and fitted on the rows of a mask, gives them again. The script
benchmarks/counterfactual_truth.py of this package made them, from data sets of scikit-learn.
"""


def counterfactual_problem(data, model):
    """Return the rows, the queries and the unfitted estimator that the truth is about.

    Parameters
    ----------
    data : {"digits", "breast_cancer", "diabetes"}
        Data set.
    model : {"logistic_regression", "ridge", "mlp"}
        Kind of model.

    Returns
    -------
    X, y, X_queries, y_queries : ndarray
        Training rows, their labels or targets, and the same of the queries.
    estimator : classifier or regressor
        Not fitted.
    """
    if data not in _MODELS:
        raise ValueError(f"data must be one of {list(_MODELS)}, got {data!r}")
    if model not in _MODELS[data]:
        raise ValueError(f"model must be one of {list(_MODELS[data])} for {data!r}, got {model!r}")
    if data == "digits":
        X, y = load_digits("train", return_X_y=True)
        X_queries, y_queries = load_digits("test", return_X_y=True)
        X = X.reshape(len(X), -1) / 255
        X_queries = X_queries.reshape(len(X_queries), -1) / 255
    else:
        load = load_breast_cancer if data == "breast_cancer" else load_diabetes
        X, y = load(return_X_y=True)
        classes = y if data == "breast_cancer" else None
        X, X_queries, y, y_queries = train_test_split(X, y, stratify=classes, random_state=0)
        scaler = StandardScaler().fit(X)
        X, X_queries = scaler.transform(X), scaler.transform(X_queries)
        if data == "diabetes":
            y_queries = (y_queries - y.mean()) / y.std()
            y = (y - y.mean()) / y.std()
    return X, y, X_queries[:N_QUERIES], y_queries[:N_QUERIES], clone(_MODELS[data][model])


def load_counterfactual_truth(
    data: Literal["digits", "breast_cancer", "diabetes"] = "digits",
    model: Literal["logistic_regression", "ridge", "mlp"] = "logistic_regression",
) -> Bunch:
    """Load margins of models that were trained on random halves of the training rows.

    Good attributions predict these margins, or outputs of regressors:
    :func:`sklearn_provenance.evaluation.linear_datamodeling_score` measures how well, and
    :func:`sklearn_provenance.evaluation.scoreboard` takes all of it as ``truth``.

    Parameters
    ----------
    data : {"digits", "breast_cancer", "diabetes"}, default="digits"
        8x8 digits, divided by 255; or scikit-learn's breast cancer table, standardised; or its
        diabetes table, a regression, whose target is standardised, too.
    model : {"logistic_regression", "ridge", "mlp"}, default="logistic_regression"
        Logistic regression, or an MLPClassifier with a hidden layer of 64; for diabetes ridge
        regression.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data`` (n_train, n_features), ``target`` (n_train,), ``queries`` and
        ``query_target``, ``masks``, bool of shape (n_masks, n_train), ``margins``, float32 of shape
        (n_masks, n_repeats, n_queries) in nats, outputs in units of the target for diabetes,
        ``estimator``, which was cloned, and ``DESCR``.

    Raises
    ------
    ValueError
        If ``data`` or ``model`` is unknown.

    References
    ----------
    .. [1] Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: attributing model behavior at scale.
       Section 2, the linear datamodeling score.

    Examples
    --------
    >>> from sklearn_provenance.datasets import load_counterfactual_truth
    >>> truth = load_counterfactual_truth("breast_cancer", "mlp")
    >>> truth.masks.shape, truth.margins.shape
    ((100, 426), (100, 5, 100))
    """
    X, y, queries, query_target, estimator = counterfactual_problem(data, model)
    file = resources.files(__package__) / "data" / f"counterfactual_{data}_{model}.npz"
    with file.open("rb") as stream, np.load(stream) as stored:
        masks = np.unpackbits(stored["masks"], axis=1, count=len(X)).astype(bool)
        margins = stored["margins"]
    what = "Margins log(p / (1 - p)) at their true labels"
    if data == "diabetes":
        what = "Outputs, in standard deviations of the target,"
    descr = DESCR.format(
        what=what,
        n_queries=len(queries),
        model=estimator,
        n_train=len(X),
        data=data,
        n_masks=len(masks),
        n_repeats=margins.shape[1],
        last=margins.shape[1] - 1,
    )
    return Bunch(
        data=X,
        target=y,
        queries=queries,
        query_target=query_target,
        masks=masks,
        margins=margins,
        estimator=estimator,
        DESCR=descr,
    )
