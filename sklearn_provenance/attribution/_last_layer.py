"""Influence through the last layer."""

import numbers

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from ..tangent._batches import as_batch
from ._base import BaseAttributor
from ._link import Link
from ._models import binary_logits
from ._penultimate import Penultimate
from ._pointwise import PointwiseAttributor
from ._softmax import curvature, hessian, likelihood_gradient, margin_gradient

# Weights of a last layer whose Hessian is formed (2 GB).
HESSIAN_LIMIT = 2**14
# Rows on which it is checked that the last layer gives the logits.
_PROBE = 32


class LastLayerAttributor(PointwiseAttributor):
    """Name the training rows from which the last layer learned a prediction.

    The features z that go into the last layer are taken as given, and what is left of the model is
    softmax regression, W z + b. Positive scores are those of rows that help the prediction:
    training on them raises the query's output.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        The classifier to explain: a ProvenanceClassifier with a class branch, a skorch
        NeuralNetClassifier, a bare module that maps a batch to logits, a scikit-learn linear
        classifier or MLPClassifier, or a Pipeline, search or FrozenEstimator around one of these.
        A module is always taken as fitted, and counts its classes from 0.
    kind : {"influence", "representer"}, default="influence"
        What a score is. ``"influence"`` is the fall of the query's log odds log(p / (1 - p)) if
        the row were left out of the training of the last layer, to first order, in nats.
        ``"representer"`` is the share of the query's logit that the row contributes, in logits
        times λ n (see the notes).
    damping : float, default=0.1
        What is added to the Hessian's diagonal, in units of its mean eigenvalue, since the Hessian
        of a well trained layer is near singular. Far below 0.01 directions decide that hold little
        but noise. For influence only.
    candidates : {"same_class", "all"}, default="same_class"
        Rows that may be named for a query: those of its class, or all.
    prefit : {"auto"} or bool, default="auto"
        Whether the estimator is fitted. "auto" uses a fitted one as it stands, and clones and
        fits another. False always fits a clone. Modules and FrozenEstimators stay as they are.
    memory : str or joblib.Memory, default=None
        Folder in which fitted clones are kept.
    batch_size : int or "auto", default="auto"
        Rows per pass through the network.
    verbose : int, default=0
        Whether to show progress.

    Attributes
    ----------
    estimator_ : estimator or torch.nn.Module
        The model in use.
    classes_ : ndarray of shape (n_classes,)
        Its class labels, in the order of the logits.
    damping_ : float
        What is added to the Hessian's diagonal, with ``kind="influence"``.
    scale_ : float
        With ``kind="representer"`` the factor, 1 / (λ n), that brings the sum of all rows' values
        as near to the logits as possible.
    residual_ : float
        With ``kind="representer"`` the norm of what that leaves of the weights, relative to the
        weights: 0 where they minimise the loss of the rows plus a penalty on their square. Where
        it is near 1 or ``scale_`` is negative, the values are gradient products and no shares.
    n_features_in_ : int
        Second dimension of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.

    See Also
    --------
    RepSimAttributor : Cosine of the same features.

    Notes
    -----
    Influence of the row (x_i, y_i) is ∇m(x_*)^T (H + δ I)^-1 ∇log p(y_i | x_i), with the gradients
    in the weights and bias of the last layer, m the log odds of the query's label and H the
    Hessian of the cross-entropy summed over the rows given to fit. The outputs are linear in the
    weights, so H is exact and equals its Gauss-Newton form. Its size is the square of the number
    of weights; more than 16384 weights are refused.

    The representer values are α_ic <z_i, z> for the query's class c, α_ic = y_ic - p_ic: where W
    minimises the mean cross-entropy of n rows plus ``λ |W|² / 2``, their sum over the rows divided
    by λ n is the logit without its bias. The order of rows does not depend on λ.

    How three baselines are related: a representer value is the influence with a multiple of the
    identity in place of the Hessian and the logit in place of the log odds. RepSim, which is also
    the last-layer influence of [PN] (Algorithm 1), goes on to leave out α, that is how far the
    row's label and probability are apart, and the norms of the features. Influence is large where
    the model is in doubt about a row and few rows like it are there; RepSim where a row looks
    alike.

    With ``explain(X=None)`` the Hessian is that of the other rows.

    References
    ----------
    Koh, Liang (2017). Understanding black-box predictions via influence functions, ICML.

    Yeh, Kim, Yen, Ravikumar (2018). Representer point selection for explaining deep neural
    networks, NeurIPS, theorem 3.1.

    [PN] Provenance Networks: End-to-End Exemplar-Based Explainability, section 7.12.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import LastLayerAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000, tol=1e-8).fit(X, y)
    >>> attributor = LastLayerAttributor(model, kind="representer", candidates="all").fit(X, y)
    >>> values = attributor.attribute(X[:1])
    >>> logit = model.coef_[0] @ X[0]
    >>> bool(abs(values.sum() * attributor.scale_ - logit) < 1e-3)  # the shares add up
    True
    """

    _method = "LastLayer"

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "kind": [StrOptions({"influence", "representer"})],
        "damping": [Interval(numbers.Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator,
        *,
        kind="influence",
        damping=0.1,
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
        self.kind = kind
        self.damping = damping

    @property
    def _score_name(self):
        if self.kind == "influence":
            return "last-layer influence (nats)"
        return "representer value (logits times λ n)"

    def _make_link(self, X, y):
        try:
            features = Penultimate(self.estimator_, X, self.batch_size)
        except TypeError as error:
            raise TypeError(
                f"{error}. LastLayerAttributor needs a last layer and has no such parameter; "
                "RepSimAttributor has"
            ) from error
        self._head = Head(features, X)
        return Link(self.estimator_, X, y, features=features, verbose=self.verbose)

    def _transform(self, X):
        return self._link.inputs(X)

    @property
    def _n_features_out(self):
        return self._train.inputs.shape[1]

    def _learn(self):
        head, labels = self._head, torch.as_tensor(self._train.labels)
        features = torch.as_tensor(self._train.inputs)
        logits = head.logits(features)
        self._gradients = likelihood_gradient(logits, labels) @ head.mixing  # (n_train, O)
        if self.kind == "influence":
            self._invert_hessian(logits, head.with_bias(features))
        else:
            self._find_scale(features)

    def _invert_hessian(self, logits, features):
        size = self._head.weight.numel()
        if size > HESSIAN_LIMIT:
            raise ValueError(
                f"the last layer has {size} weights, and its Hessian is formed for at most "
                f'{HESSIAN_LIMIT}; kind="representer" needs none'
            )
        matrix = hessian(logits, features, self._head.n_outputs)
        self.damping_ = self.damping * matrix.diagonal().mean().item()
        if not self.damping_ > 0:
            raise ValueError(
                "the Hessian of the last layer is zero: its features are, or the model is certain "
                "of every training row"
            )
        matrix.diagonal().add_(self.damping_)
        self._factor, info = torch.linalg.cholesky_ex(matrix)
        if info:
            raise ValueError(
                f"the Hessian of the last layer is singular with damping={self.damping}; give more"
            )

    def _find_scale(self, features):
        gradient = self._gradients.mT @ features  # (O, F): the sum of α z^T is a multiple
        weight = self._head.weight[:, : features.shape[1]]
        if len(weight) > 1:
            weight = weight - weight.mean(0)  # what softmax does not see
        self.scale_ = ((gradient * weight).sum() / gradient.square().sum()).item()
        self.residual_ = ((weight - self.scale_ * gradient).norm() / weight.norm()).item()

    def _pointwise(self, group):
        head, gradients = self._head, self._gradients[group.rows]
        labels = torch.as_tensor(group.queries.labels)
        queries, rows = (torch.as_tensor(p.inputs) for p in (group.queries, group.train))
        if self.kind == "representer":
            alpha = gradients @ head.mixing[labels].mT  # (n_rows, n_queries)
            return alpha.mT * (queries @ rows.mT)
        logits = head.logits(queries)
        queries, rows = head.with_bias(queries), head.with_bias(rows)
        outer = margin_gradient(logits, labels) @ head.mixing  # (n_queries, O)
        if group.own is not None:
            outer = self._without_own(outer, logits, queries)
        directions = (outer[:, :, None] * queries[:, None]).flatten(1)  # (n_queries, O·F)
        solved = torch.cholesky_solve(directions.mT, self._factor).mT
        scores = queries.new_zeros(len(queries), len(rows))
        for own, gradient in zip(solved.chunk(head.n_outputs, 1), gradients.mT, strict=True):
            scores += (own @ rows.mT) * gradient
        return scores

    def _without_own(self, outer, logits, features):
        """Gradients g' with H^-1 (g' ⊗ z) = (H - A ⊗ z z^T)^-1 (g ⊗ z): g' = (I - A B)^-1 g.

        B = (I ⊗ z)^T H^-1 (I ⊗ z).
        """
        n_outputs, size = self._head.n_outputs, features.shape[1]
        inverse = torch.cholesky_inverse(self._factor).view(n_outputs, size, n_outputs, size)
        own = features.new_empty(len(features), n_outputs, n_outputs)
        for i in range(n_outputs):
            for j in range(n_outputs):
                own[:, i, j] = ((features @ inverse[i, :, j]) * features).sum(1)
        left = torch.eye(n_outputs, dtype=own.dtype) - curvature(logits, n_outputs) @ own
        return torch.linalg.solve(left, outer)


class Head:
    """The last layer as softmax regression.

    Parameters
    ----------
    features : Penultimate
        Gives the layer and what goes into it.
    X : array-like of shape (n, ...)
        Rows; on the first few it is checked that the layer gives the logits.

    Attributes
    ----------
    weight : torch.Tensor of shape (n_outputs, n_features + 1) or (n_outputs, n_features)
        Weights, and the bias in the last column if there is one.
    mixing : torch.Tensor of shape (n_classes, n_outputs)
        From outputs to logits.

    Raises
    ------
    ValueError
        If the logits are something else.
    """

    def __init__(self, features, X):
        layer = features.layer
        weight = layer.weight.detach().double().cpu()
        self.has_bias = layer.bias is not None
        if self.has_bias:
            weight = torch.cat([weight, layer.bias.detach().double().cpu()[:, None]], 1)
        self.weight = weight
        self.n_outputs = len(weight)
        self.mixing = torch.eye(self.n_outputs, dtype=torch.float64)
        if features.network.forward is binary_logits:
            self.mixing = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
        x = as_batch(features.inputs(X[:_PROBE]), features.network)
        inputs, truth = (t.double().cpu() for t in features.forward(x))
        if truth.shape[1] < 2:
            raise ValueError("the last layer must tell classes apart, but there is one logit")
        if not (
            len(self.mixing) == truth.shape[1]
            and torch.allclose(self.logits(inputs).softmax(1), truth.softmax(1), atol=1e-3)
        ):
            raise ValueError(
                "the logits are not the outputs W z + b of a last layer, one for each class, so "
                "influence through it is not known"
            )

    def with_bias(self, features):
        """Features with the 1 that the bias multiplies, if there is one."""
        if not self.has_bias:
            return features
        return torch.cat([features, torch.ones_like(features[:, :1])], 1)

    def logits(self, features):
        """Logits (n, n_classes) of features (n, n_features)."""
        return self.with_bias(features) @ self.weight.mT @ self.mixing.mT
