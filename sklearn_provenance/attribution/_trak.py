"""TRAK: influence in a linear model on sketched tangent features."""

import inspect
import numbers

import numpy as np
import torch
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..tangent import TangentFeatures
from ..tangent._sketch import SKETCHES
from ._base import BaseAttributor
from ._link import Link, resolve
from ._pointwise import PointwiseAttributor
from ._softmax import doubt
from ._sources import Points

# λ in units of the mean eigenvalue of Φ^T Φ for ridge="auto". Of powers of ten this had the best
# linear datamodeling score, or nearly, for 512 and 4096 components.
RIDGE_CONSTANT = 1.0
# Rows of features that are held in double precision at a time.
_BLOCK = 4096


class TRAKAttributor(PointwiseAttributor):
    """Name the training rows that a linearised model owes a prediction to (TRAK).

    The network is replaced by logistic regression on its sketched tangent features φ, the gradient
    of each row's log odds log(p / (1 - p)) at its own label. The score of a training row i is
    φ_*^T (Φ^T Φ + λ I)^-1 φ_i (1 - p_i): positive where training on the row raises the log odds of
    the query's label. Scores rank rows. Their scale is arbitrary, for TRAK leaves out the weights
    p (1 - p) of logistic regression's Hessian.

    Parameters
    ----------
    estimator : estimator, torch.nn.Module or list of these
        The classifier to explain: a ProvenanceClassifier, a skorch NeuralNetClassifier, a bare
        module that maps a batch to logits, a scikit-learn linear classifier or MLPClassifier, or
        a Pipeline, search or FrozenEstimator around one of these. A list holds models of the same
        classes, trained from several seeds or on several subsets of the rows; scores are averaged
        over them, which usually makes them better. A module is always taken as fitted,
        and counts its classes from 0.
    n_components : int or "exact", default=512
        Size of the sketch. ``"exact"`` takes the whole Jacobian, for small networks.
    ridge : float or "auto", default="auto"
        λ, in units of Φ^T Φ. "auto" takes the mean eigenvalue of Φ^T Φ, of each model its own. It
        matters: a small λ lets directions decide that hold little but noise of the sketch.
    sketch : {"tensor", "sjlt", "rademacher"}, default="tensor"
        How gradients are sketched, see :class:`~sklearn_provenance.TangentFeatures`.
    features : TangentFeatures, default=None
        Takes the place of ``n_components``, ``sketch`` and ``random_state``, for its other
        parameters. It must be without a module.
    random_state : int, RandomState instance or None, default=0
        Seed of the sketch. Several models have independent sketches, as in the paper; with an int
        the first is that of ``TangentFeatures(random_state=random_state)``.
    candidates : {"same_class", "all"}, default="same_class"
        Rows that may be named for a query: those of its class, or all. All rows given to fit are
        among Φ in any case.
    prefit : {"auto"} or bool, default="auto"
        Whether estimators are fitted. "auto" uses a fitted one as it stands, and clones and fits
        another. False always fits a clone. Modules and FrozenEstimators stay as they are.
    memory : str or joblib.Memory, default=None
        Folder in which fitted clones and sketches are kept, so that a loop over ``ridge`` fits and
        computes them once. Sketches are found again by the weights, the rows and their labels.
    batch_size : int or "auto", default="auto"
        Rows per pass through the network.
    verbose : int, default=0
        Whether to show progress.

    Attributes
    ----------
    estimator_ : estimator, torch.nn.Module or list of these
        The model or models in use. A list predicts the class of the largest mean probability.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the order of the logits.
    ridge_ : ndarray of shape (n_models,)
        λ in use.
    features_ : list of TangentFeatures
        The fitted sketch of each model.
    n_features_in_ : int
        Second dimension of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.

    See Also
    --------
    LastLayerAttributor : Influence with the exact Hessian of the last layer.

    Notes
    -----
    With M models scores are mean_m(φ_*^T (Φ^T Φ + λ I)^-1 φ_i) · mean_m(1 - p_i), the two means
    taken separately, as in the paper's algorithm. The traker package does the same, but divides
    each model's inverse by the mean size of its entries, which weighs several models differently;
    with one model its scores are these times a positive constant.

    1 - p is computed from logits, so that rows of which the model is certain keep their digits
    and their score.

    With ``explain(X=None)`` Φ^T Φ is that of the other rows, λ stays as it is.

    References
    ----------
    Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: Attributing model behavior at scale, ICML,
    section 3 and algorithm 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn_provenance.attribution import TRAKAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> models = [MLPClassifier((16,), max_iter=1500, random_state=seed) for seed in range(3)]
    >>> attributor = TRAKAttributor(models, n_components=64).fit(X, y)
    >>> attributor.explain(X[:2], k=3).indices.shape
    (2, 3)
    """

    _method = "TRAK"
    _score_name = "TRAK score"

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "n_components": [
            Interval(numbers.Integral, 1, None, closed="left"),
            StrOptions({"exact"}),
        ],
        "ridge": [Interval(numbers.Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "sketch": [StrOptions(set(SKETCHES))],
        "features": [TangentFeatures, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        n_components=512,
        ridge="auto",
        sketch="tensor",
        features=None,
        random_state=0,
        candidates="same_class",
        prefit="auto",
        memory=None,
        batch_size="auto",
        verbose=0,
    ):
        super().__init__(
            estimator,
            candidates=candidates,
            prefit=prefit,
            memory=memory,
            batch_size=batch_size,
            verbose=verbose,
        )
        self.n_components = n_components
        self.ridge = ridge
        self.sketch = sketch
        self.features = features
        self.random_state = random_state

    def _check_combination(self):
        if isinstance(self.estimator, list | tuple) and not self.estimator:
            raise ValueError("estimator is an empty list: TRAK needs one model at least")
        own = inspect.signature(type(self)).parameters
        for name in ("n_components", "sketch", "random_state"):
            value = getattr(self, name)
            if self.features is not None and value != own[name].default:
                raise ValueError(
                    f"{name}={value!r} and features were both given: features has a parameter "
                    f"{name} of its own"
                )

    def _resolve(self, X, y):
        if not isinstance(self.estimator, list | tuple):
            return super()._resolve(X, y)
        return [resolve(model, self.prefit, X, y, self.memory) for model in self.estimator]

    def _make_link(self, X, y):
        models = self.estimator_ if isinstance(self.estimator_, list) else [self.estimator_]
        template = self.features
        if template is None:
            template = TangentFeatures(
                n_components=self.n_components,
                sketch=self.sketch,
                random_state=self.random_state,
            )
        self._links = [
            Link(
                model,
                X,
                y,
                features=TangentFeatures(
                    **template.get_params(deep=False) | {"random_state": seed}
                ),
                measurement="margin",
                batch_size=self.batch_size,
                verbose=self.verbose,
                memory=self.memory,
            )
            for model, seed in zip(models, seeds(template.random_state, len(models)), strict=True)
        ]
        first = self._links[0]
        for number, link in enumerate(self._links):
            if not np.array_equal(link.classes, first.classes):
                raise ValueError(
                    f"the models must know the same classes, but model {number} of the list knows "
                    f"{link.classes.tolist()} and the first {first.classes.tolist()}"
                )
        self.features_ = [link.features for link in self._links]
        return first

    def _learn(self):
        X, labels = self._fit_X, self._train.labels
        self._train = Points(self._sketches(X, labels), labels)
        own = torch.as_tensor(labels)[:, None]
        doubts = [doubt(self._logits(link, X)).gather(1, own)[:, 0] for link in self._links]
        self._doubt = torch.stack(doubts).mean(0)
        self._factors, self.ridge_ = [], np.empty(len(self._links))
        for number, features in enumerate(self._of_models(self._train.inputs)):
            gram = sum(part.mT @ part for part in features)
            self.ridge_[number] = self._ridge(gram)
            gram.diagonal().add_(self.ridge_[number])
            factor, info = torch.linalg.cholesky_ex(gram)
            if info:
                raise ValueError(
                    f"Φ^T Φ is singular with ridge={self.ridge}; its mean eigenvalue is "
                    f"{gram.diagonal().mean().item():.3g}, give more"
                )
            self._factors.append(factor)

    def _ridge(self, gram):
        if not isinstance(self.ridge, str):
            return float(self.ridge)
        scale = gram.diagonal().mean().item()
        if not scale > 0:
            raise ValueError("the tangent features of all training rows are zero")
        return RIDGE_CONSTANT * scale

    def _logits(self, link, X):
        return link._logits(X).double().cpu()

    def _sketches(self, X, labels):
        """Features of rows at their labels, those of all models side by side."""
        rows = [link.source.rows(Points(link.inputs(X), labels)) for link in self._links]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, 1)

    def _of_models(self, inputs):
        """Features of each model, in blocks of rows in double precision."""
        end = 0
        for link in self._links:
            start, end = end, end + link.features._n_features_out
            device = link.source.device
            yield [
                torch.as_tensor(inputs[i : i + _BLOCK, start:end], device=device).double()
                for i in range(0, len(inputs), _BLOCK)
            ]

    def _queries(self, X, y):
        y = self.predict(X) if y is None else column_or_1d(y)
        check_consistent_length(X, y)
        labels = self._encode(y, "y")
        return Points(self._sketches(X, labels), labels)

    def predict(self, X):
        """Predict classes with the model or models in use.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Rows as the estimator takes them.

        Returns
        -------
        y : ndarray of shape (n_queries,)
            As the model predicts; of several the class of the largest mean probability.
        """
        check_is_fitted(self)
        if not isinstance(self.estimator_, list):
            return super().predict(X)
        X = self._check_X(X)
        p = sum(self._logits(link, X).softmax(1) for link in self._links)
        return self.classes_[p.argmax(1).numpy()]

    def _transform(self, X):
        return self._queries(X, None).inputs

    @property
    def _n_features_out(self):
        return self._train.inputs.shape[1]

    def _pointwise(self, group):
        total = 0.0
        queries, rows = (self._of_models(p.inputs) for p in (group.queries, group.train))
        for phi_queries, phi, factor in zip(queries, rows, self._factors, strict=True):
            phi_queries = torch.cat(phi_queries)
            solved = torch.cholesky_solve(phi_queries.mT, factor)  # (n_components, n_queries)
            if group.own is not None:  # (G - φ φ^T)^-1 φ = G^-1 φ / (1 - φ^T G^-1 φ)
                solved /= 1 - (phi_queries.mT * solved).sum(0)
            total += torch.cat([part @ solved for part in phi]).mT.cpu()
        return total / len(self._links) * self._doubt[group.rows]


def seeds(random_state, n):
    """Seeds of n sketches; an int is itself the first."""
    drawn = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n).tolist()
    return [int(random_state), *drawn[1:]] if isinstance(random_state, numbers.Integral) else drawn
