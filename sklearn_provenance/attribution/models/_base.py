"""What attribution knows of a fitted model, and how a family is found."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import NamedTuple

import numpy as np
from torch import nn

from ..._utils.containers import inside
from ..._utils.dask_rows import in_blocks
from ..._utils.families import import_family
from ..._utils.fitted import predicts_numbers
from ..._utils.modules import evaluation
from ..._utils.numeric import as_ndarray
from ..._utils.rows import as_given, few_rows, n_rows, shown, take_rows
from ...tangent._module import check_module, check_outputs
from ...tangent._outputs import check_finite
from ...tangent._read_logits import ReadLogits, call_module
from ...tangent._run import run
from ._sequences import Likelihood, likelihood_of

SUPPORTED = (
    "a ProvenanceClassifier or ProvenanceRegressor, a skorch NeuralNetClassifier, "
    "NeuralNetBinaryClassifier or NeuralNetRegressor, a torch.nn.Module that maps a batch to "
    "logits, a scikit-learn linear model, MLPClassifier or MLPRegressor, trees of scikit-learn, "
    "XGBoost, LightGBM or CatBoost, or a Pipeline, search or FrozenEstimator around one of these; "
    "any other estimator needs features=, a transformer or callable that gives its feature rows"
)

# Rows that a module is asked about at a time.
ROWS_PER_BATCH = 256


class Linear(NamedTuple):
    """Coefficients of a model whose outputs are ``X @ coefficients.T + intercept``."""

    coefficients: np.ndarray  # (n_outputs, n_features), float64
    intercept: np.ndarray | None  # (n_outputs,), float64; None if the model has none


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A fitted model as attribution sees it.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        What was adapted. It is never changed.
    classes : ndarray of shape (n_classes,), default=None
        Label of each column of the logits; None counts them from 0, or says that a model without a
        module predicts numbers.
    module : torch.nn.Module, default=None
        Holds the parameters; the user's own where there is one. None: only predictions are
        known, and features must be the user's own.
    forward : callable, default=None
        ``forward(module, x)`` gives logits (B, C); None calls the module.
    n_outputs : int, default=None
        Outputs from which the logits are computed; None if there is one for each class. A binary
        model with one output z has the logits (-z/2, z/2).
    linear : Linear, default=None
        Coefficients of a linear model.
    trees : Trees, default=None
        The trees of an ensemble, whose leaves are compared.
    input_bias : float, default=None
        1 or 0, whether there is an intercept, of a model that is linear in its inputs and has no
        logits.
    network : torch.nn.Module, default=None
        Module of a regressor, which gives targets and no logits.
    likelihood : Likelihood, default=None
        Probability of rows that say themselves what was learned of them; ``forward`` then gives a
        number for each row, and no logits.
    """

    estimator: object
    classes: np.ndarray | None = None
    module: nn.Module | None = None
    forward: Callable | None = None
    n_outputs: int | None = None
    linear: Linear | None = None
    trees: object | None = None
    input_bias: float | None = None
    network: nn.Module | None = None
    likelihood: Likelihood | None = None

    def inputs(self, X):
        """Turn the user's X into what the module takes.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        ndarray, torch.Tensor, csr matrix or dict of torch.Tensor
            Inputs of n rows.
        """
        return as_given(X)

    def decide(self, logits):
        """Predict from logits as the estimator does.

        Parameters
        ----------
        logits : torch.Tensor of shape (B, C)
            Logits in the module's precision.

        Returns
        -------
        torch.Tensor of shape (B,), int64
            Positions of the predicted labels in ``classes``.
        """
        return logits.argmax(1)

    def predict(self, X):
        """Predict labels as the estimator does; the mode of its module is restored.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        ndarray of shape (n,)
            Labels.
        """
        module = self.users_module
        if module is None:
            return in_blocks(self._predict, X)
        with evaluation(module):  # skorch, among others, leaves a network in evaluation mode
            return in_blocks(self._predict, X)

    def _predict(self, X):
        return as_ndarray(self.estimator.predict(as_given(X)))

    def probabilities(self, inputs):
        """Compute probabilities of classes from the logits of a module.

        Parameters
        ----------
        inputs : ndarray, torch.Tensor, csr matrix or dict of torch.Tensor
            What :meth:`inputs` gives, for n rows.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Probabilities, in double precision.
        """
        found = []
        for start in range(0, n_rows(inputs), ROWS_PER_BATCH):
            logits = run(self, take_rows(inputs, slice(start, start + ROWS_PER_BATCH)))
            check_finite(logits, "logits", start)
            found.append(logits.double().softmax(1).cpu().numpy())
        return np.concatenate(found)

    def preprocessing(self):
        """Return what rows go through before the module."""
        return ()

    def feature_names(self, names):
        """Name the columns of :meth:`inputs`.

        Parameters
        ----------
        names : ndarray of shape (n_columns,) or None
            Names of the columns of X; None where there are none.

        Returns
        -------
        ndarray of shape (n_features,) or None
            Columns or words of the user's; None where they are not known.
        """
        return names

    def shown(self, *parts):
        """Return parts of rows as an Explanation shows them, the shape of images, and names."""
        return shown(*parts)

    @property
    def users_module(self):
        """The module, if it is the user's own, who may change it; None if there is none."""
        if self.network is not None:
            return self.network
        return self.module

    def with_forward(self, forward, logits=True):
        """Replace how outputs are computed.

        Parameters
        ----------
        forward : callable or None
            ``forward(module, x)``; None calls the module.
        logits : bool, default=True
            Whether to read logits from what it returns. False passes it on as it is, for a
            measurement of the user's own.

        Returns
        -------
        FittedModel
            A model with that forward.
        """
        likelihood = likelihood_of(forward)
        if logits and likelihood is None:
            forward = ReadLogits(forward)
        return replace(
            self,
            forward=forward or call_module,
            n_outputs=None,
            linear=None,
            likelihood=likelihood,
        )

    def label_of_rows(self, n):
        """Label rows that say themselves what was learned of them, whose labels do not matter.

        Parameters
        ----------
        n : int
            Number of rows.

        Returns
        -------
        ndarray of shape (n,) or None
            Zeros; None where the model predicts labels.

        Raises
        ------
        ValueError
            If training rows have several labels, and those of queries say which may be named.
        """
        if self.likelihood is None:
            return None
        if self.classes is None or len(self.classes) != 1:
            raise ValueError(
                "y must be given where the training rows of a language model have labels other "
                "than zeros, because no label is predicted; got None"
            )
        return np.zeros(n, dtype=np.int64)

    def examined(self, inputs, compared=True):
        """Look at the outputs of a few rows once, so that later calls need not.

        Parameters
        ----------
        inputs : ndarray, torch.Tensor, csr matrix or dict of torch.Tensor
            What :meth:`inputs` gives.
        compared : bool, default=True
            Whether rows are compared by what the module computes, which takes parameters, and more
            digits than half precision has. False where it only predicts labels.

        Returns
        -------
        FittedModel
            With ``classes`` and the simplest ``forward`` that gives logits.

        Raises
        ------
        TypeError, ValueError
            If it is not clear which of the outputs are logits.
        """
        if self.module is None or self.likelihood is not None:
            return self
        # Before it runs, since some modules would change.
        if compared:
            check_module(self.module)
        else:
            check_outputs(self.module)
        numbers = few_rows(n_rows(inputs))
        rows = take_rows(inputs, numbers)
        forward = self.forward
        n_outputs = self.n_outputs
        if isinstance(forward, ReadLogits):
            forward, n_outputs = run(self, rows, forward.examine)
        logits = run(self, rows)
        check_finite(logits, "logits", numbers)
        n_classes = logits.shape[1]
        classes = self.classes
        if classes is None:
            classes = np.arange(n_classes)
        if len(classes) != n_classes:
            raise ValueError(
                f"the model must have a logit for each of its {len(classes)} classes; got "
                f"{n_classes} logits"
            )
        return replace(self, classes=classes, forward=forward, n_outputs=n_outputs)


# Files that register estimators, by the package that defines these or a base of theirs.
_FAMILIES = {
    "catboost": ("_catboost",),
    "lightgbm": ("_lightgbm",),
    "sklearn.dummy": ("_trees",),
    "sklearn.ensemble": ("_trees",),
    "sklearn.linear_model": ("_linear", "_inputs"),
    "sklearn.neural_network": ("_mlp",),
    "sklearn.svm": ("_inputs",),
    "sklearn.tree": ("_trees",),
    "skorch": ("_skorch",),
    "xgboost": ("_xgboost",),
}


@singledispatch
def adapt(estimator):
    """Find what attribution needs of a fitted estimator, by its type.

    ``adapt.register(cls)`` adds a family of estimators.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        Fitted. It is not changed.

    Returns
    -------
    FittedModel
        The model.

    Raises
    ------
    TypeError
        If the estimator is no classifier that attribution can use.
    """
    if import_family(adapt, estimator, _FAMILIES, __package__):
        return adapt(estimator)
    return predicting_model(estimator)


def predicting_model(estimator):
    """Adapt an estimator of which only predictions are known, or what is inside of it."""
    inner = inside(estimator)
    if inner is not None:
        from ._containers import contained

        return contained(estimator, adapt(inner))
    if hasattr(estimator, "predict") and hasattr(estimator, "classes_"):
        if isinstance(estimator.classes_, list):
            raise TypeError(
                f"{type(estimator).__name__} was fitted on several targets; attribution explains "
                "one class"
            )
        return FittedModel(estimator, classes=as_ndarray(estimator.classes_))
    if predicts_numbers(estimator):
        return FittedModel(estimator)
    raise TypeError(f"estimator must be {SUPPORTED}; got {type(estimator).__name__}")


def measured_model(model, forward, y):
    """Pass the outputs of a model on as they are, to a measurement of the user's own.

    Where it knows no classes, targets y that are whole numbers from 0 are classes; of other numbers
    ``classes`` is None.
    """
    if model.module is None:
        return model
    if model.linear is None or forward is not None:
        model = model.with_forward(forward, logits=False)
    if model.classes is not None:
        return model
    if y.dtype.kind not in "iufb":
        raise ValueError(
            "y must hold numbers, because the module knows no classes and measurement is given "
            f"them as they are; got an array of {y.dtype}"
        )
    if y.dtype.kind in "iu" and len(y) and y.min() >= 0:
        return replace(model, classes=np.arange(y.max() + 1))
    return model
