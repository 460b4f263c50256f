"""Influence functions with an eigenvalue-corrected Kronecker-factored Fisher matrix: EK-FAC."""

import numbers
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from ..._utils.arguments import real, store_arguments, whole
from ..._utils.kept import MEMORY_LIMIT, check_fits
from ..._utils.rows import n_rows
from ..._utils.types import RandomState, Rows, Targets
from ...tangent import TangentFeatures
from ...tangent._cache import Cache
from ...tangent._coverage import fisher_coverage
from ...tangent._curvature import fisher_bytes
from ...tangent._outputs import MEASUREMENTS
from ..features import make_features
from ..features._exact import DENSE_LIMIT
from ..features._settings import Settings, sketch_of
from ..models._sequences import drawn_rows, likelihood_of
from ..rules._ekfac import EKFACRule
from ..rules._mean import parts_of
from ._base import PARAMETERS, BaseAttributor
from ._docs import documented
from ._pointwise import PointwiseAttributor


def _has_root(attributor):
    """Return True if a root of the inverse Fisher matrix is known, and raise otherwise."""
    if attributor.n_iterations != 0:
        raise AttributeError(
            f"n_iterations must be 0 for transform, got {attributor.n_iterations}: conjugate "
            "gradients give no square root of the inverse Fisher matrix"
        )
    return True


class _RootTransform:
    """``transform`` that is there where a root of the inverse Fisher matrix is known.

    Both methods are in a class of their own: scikit-learn wraps those of a transformer itself, for
    ``set_output``, and they would then always be there.
    """

    @available_if(_has_root)
    def transform(self, X: Rows) -> NDArray[np.floating]:
        """Express rows in the coordinates whose inner products make the scores.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Rows as the estimator takes them, at their predicted labels.

        Returns
        -------
        features : ndarray of shape (n_queries, n_parameters)
            (F + λ I)^-1/2 ∇m in the eigenbases. It is there with ``n_iterations=0`` only.

        Raises
        ------
        ValueError
            If there would be too many columns.
        """
        return super().transform(X)

    @available_if(_has_root)
    def fit_transform(
        self, X: Rows, y: Targets | None = None, **fit_params: Any
    ) -> NDArray[np.floating]:
        """Fit, and transform the rows.

        Parameters
        ----------
        X : array-like of shape (n_train, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n_train,)
            Their labels.
        **fit_params : dict
            What else ``fit`` takes.

        Returns
        -------
        features : ndarray of shape (n_train, n_parameters)
            As :meth:`transform` gives them.
        """
        return super().fit_transform(X, y, **fit_params)


@documented
class EKFACAttributor(_RootTransform, PointwiseAttributor):
    """Name the training rows with the largest influence on a prediction (EK-FAC).

    The score of a training row i is ∇m(x_*)ᵀ (F + λ I)⁻¹ ∇log p(y_i | x_i), with gradients in all
    weights of the trained network, m the measurement of the query and F the Fisher matrix, which
    is the Gauss-Newton Hessian of the mean cross-entropy. EK-FAC takes F to be zero between layers
    and, inside a layer, diagonal in an eigenbasis of Kronecker factors. With ``n_iterations`` it is
    a first guess, from which conjugate gradients go on towards the inverse of F itself.

    Positive scores are those of rows that help: training on them raises the measurement of the
    query's label. Divided by the number of training rows, a score is to first order the fall of
    the measurement (in nats for the margin) if the row had been left out of training. That unit
    is to be taken with care where a network has not converged; damping shrinks it as well.

    Parameters
    ----------
    {estimators}
    damping : float or "auto", default="auto"
        λ. "auto" is 0.1 times the mean eigenvalue of each layer's Fisher matrix, and 10 times it
        where ``n_iterations`` is not 0, which is for networks: a linear model with a penalty of its
        own takes less. A number is absolute, the same for all layers. It matters: with much smaller
        values, directions in which the training rows barely vary dominate the score.
    n_iterations : int, default=0
        Iterations of conjugate gradients that correct EK-FAC. 0 is EK-FAC; with many, the scores
        become those of the formula above. Each takes about twice as many multiplications as the
        scores themselves, for each query. With "auto" damping 5 to 10 are enough.
    {query_measurement}
    fisher : {"true", "empirical"}, default="true"
        Labels that F is made of: drawn from the model's probabilities, which makes it the
        Gauss-Newton Hessian, or those of the rows.
    n_samples : int, "exact" or "auto", default="auto"
        For ``fisher="true"`` the random gradients for each row, see the notes. "exact" takes the
        expectation over labels instead, at a backward pass for every class. "auto" is that
        where it takes seconds: if rows times classes times the size of the network (parameters,
        those of convolutions times positions) is at most 10^10, or 10^12 where ``n_iterations`` is
        not 0. Otherwise it is 1.
    random_state : int, RandomState instance or None, default=0
        Seed of the random gradients.
    {parameters}
    {candidates}
        F is of all rows given to fit in any case.
    {forward} {prefit} {memory}
        That is F, so that a loop over ``damping`` computes it once.
    {memory_limit} {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_}
    damping_ : dict
        λ of each layer, by the name of its first parameter.
    n_samples_ : int, "exact" or None
        ``n_samples`` in use; None with the empirical Fisher matrix.
    coverage_ : Coverage
        How F treats each of the network's parameters (``routes``), and what share of them it
        treats in each way (``shares``, together 1); see the notes.
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    GradDotAttributor : The same with the identity in place of the Fisher matrix.
    LastLayerAttributor : Influence through the last layer alone, with its exact Hessian.

    Notes
    -----
    A layer's gradient is a matrix G = Σ_t g_t a_tᵀ over positions t. With Q_A and Q_S eigenvectors
    of two Kronecker factors, its block of F has the eigenvectors Q_A ⊗ Q_S and the eigenvalues
    Λ = E[(Q_Sᵀ G Q_A)²]. Where the eigenvectors come from is said by ``coverage_``:

    - "kronecker": from E[Σ_t a_t a_tᵀ] and E[Σ_t g_t g_tᵀ], as published; linear, convolution and
      embedding layers.
    - "formed": from E[Gᵀ G] and E[G Gᵀ], for layers whose gradients have no factors
      (normalisation, grouped convolutions, parameters of modules that are not known here). Where
      G is a vector, that is the exact block of F.
    - "diagonal": one side of G has more than 8192 coordinates, which are left as they are.
    - "none": parameters without influence on the logits, or without gradient on any row.

    A random gradient is Σ_c ±√p_c ∇log p(c | x) with random signs, over all classes c. Its second
    moment is that of ∇log p(y | x) for a label y drawn from the model's probabilities p, but less
    noisy: where the model is nearly certain, other labels would hardly ever be drawn.

    Of language models, ``forward=log_odds`` or ``log_likelihood`` of
    :mod:`sklearn_provenance.text`, log p is that of a row's marked tokens together, and F is made
    of rows whose marked tokens are drawn from the model's probabilities, ``n_samples`` times, as
    Grosse et al. do.

    With ``n_iterations`` F is what its definition says: the mean of s² g gᵀ over rows and labels,
    whose gradients g reach over all layers, with s² = p(c | x) of the label, or those of the random
    gradients where ``n_samples`` is a number. Preconditioned conjugate gradients solve
    (F + λ I) v = ∇m(x_*) for each query, with EK-FAC's inverse as the preconditioner; they need
    products of F with vectors, and F is never formed. The first step gives a multiple of EK-FAC's
    v, and n iterations are one step more. Each lowers the error of v in the norm of F + λ I, but
    one or two may rank rows worse than none. Neumann steps would diverge, because EK-FAC leaves
    out too much between layers.

    ``transform`` gives (F + λ I)^-1/2 ∇m in the eigenbases, at the predicted label. With
    ``n_iterations`` no such root is known, and there is no ``transform``. With
    ``explain(X=None)`` F is that of all rows, the one that is explained among them.

    ``fit`` takes two passes over the rows, with products of each side's features in both. Scores
    take as many multiplications as there are pairs of a query and a candidate, times parameters,
    which exceeds ``fit`` soon; memory holds the gradients of some queries at a time, up to half of
    ``memory_limit``. With ``n_iterations`` half of this is for factors of the rows, which are
    computed in every iteration where they do not fit.

    Features are in the network's precision; moments, eigenvectors and sums over batches and
    layers are computed in double precision.

    References
    ----------
    Martens, Grosse (2015). Optimizing neural networks with Kronecker-factored approximate
    curvature, ICML.

    George, Laurent, Bouthillier, Ballas, Vincent (2018). Fast approximate natural gradient descent
    in a Kronecker-factored eigenbasis, NeurIPS, section 3.

    Grosse, Bae, Anil et al. (2023). Studying large language model generalization with influence
    functions, arXiv:2308.03296, sections 2.2 and 3.1.

    Martens (2010). Deep learning via Hessian-free optimization, ICML: conjugate gradients with
    products of the Gauss-Newton matrix.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn_provenance.attribution import EKFACAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), max_iter=1500, random_state=0)
    >>> attributor = EKFACAttributor(model).fit(X, y)
    >>> attributor.explain(X[:2], k=3).indices.shape
    (2, 3)
    >>> attributor.coverage_.shares["kronecker"]
    1.0
    """

    _averages_models = True
    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "measurement": [StrOptions(set(MEASUREMENTS)), callable],
        "damping": [real(closed="neither"), StrOptions({"auto"})],
        "n_iterations": [whole(0)],
        "fisher": [StrOptions({"true", "empirical"})],
        "n_samples": [
            whole(),
            StrOptions({"exact", "auto"}),
        ],
        "random_state": ["random_state"],
        "parameters": PARAMETERS,
    }

    def __init__(
        self,
        estimator: Any,
        *,
        damping: float | str = "auto",
        n_iterations: int = 0,
        measurement: str | Callable = "margin",
        fisher: str = "true",
        n_samples: int | str = "auto",
        random_state: RandomState = 0,
        parameters: str | type | Sequence[str | type] = "auto",
        candidates: str = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _check_parameters(self):
        if self.fisher == "empirical" and self.n_samples != "auto":
            raise ValueError(
                f'n_samples={self.n_samples!r} is for fisher="true": with fisher="empirical" '
                "labels are those of the rows, and nothing is drawn"
            )
        if self.n_samples == "exact" and likelihood_of(self.forward) is not None:
            raise ValueError(
                'n_samples must be a number or "auto" for a language model, because the '
                "expectation over all words at each token would take a backward pass for each "
                "word; got 'exact'"
            )

    def _make_features(self, X, y):
        # Factors of the rows are needed, so that no kernel is looked for on disk.
        settings = self._settings(measurement=self.measurement, parameters=self.parameters)
        settings = replace(settings, memory=None)
        model = self._fitted_model()
        return make_features(model, "factors", X, y, settings, "log_probability")

    def _check_memory(self, inputs):
        n = n_rows(inputs)
        model = self._features.model
        needed = fisher_bytes(self._features.tangent.layers)
        if isinstance(self.n_samples, numbers.Integral) and model.classes is not None:
            needed += self.n_samples * n * len(model.classes)  # random signs
        what = f"the Fisher matrix of this {type(model.module).__name__} takes"
        advice = "pass a smaller n_samples or network"
        check_fits(needed, what, self.memory_limit, advice)

    def _make_rule(self):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        n_samples = None if self.fisher == "empirical" else self.n_samples
        settings = Settings(parameters=self.parameters)
        known = sketch_of(TangentFeatures(), self._features.model, settings)
        cache = Cache(self.memory, "fisher", known)
        settings = {"batch_size": self.batch_size, "verbose": bool(self.verbose)}
        return EKFACRule(
            self.damping,
            self.n_iterations,
            n_samples,
            seed,
            cache,
            self.memory_limit,
            settings,
            self._residual(),
            self._draw(),
        )

    def _draw(self):
        """Return what draws the tokens of a language model's rows; None for other models."""
        model = self._features.model
        if model.likelihood is None:
            return None
        return partial(drawn_rows, model)

    def _fit(self, X, y, sample_id):
        super()._fit(X, y, sample_id)
        for part, rule in self._fitted_rules():
            module = part._features.model.module
            part.n_samples_ = rule.n_samples
            part.damping_ = {rule.fisher[n].names[0]: value for n, value in rule.dampings.items()}
            part.coverage_ = fisher_coverage(rule.fisher, rule.dampings, module)
        self._gather()

    def _transform(self, X):
        if self._n_features_out > DENSE_LIMIT:
            raise ValueError(
                f"the gradient of this model has {self._n_features_out} numbers a row, and "
                f"transform gives at most {DENSE_LIMIT}"
            )
        queries = self._queries(X)
        pairs = zip(self._fitted_rules(), parts_of(queries), strict=True)
        return np.hstack([rule.whitened(points) for (_, rule), points in pairs])

    @property
    def _n_features_out(self):
        sizes = [
            rule.fisher[n].moments.numel()
            for _, rule in self._fitted_rules()
            for n in rule.dampings
        ]
        return sum(sizes)
