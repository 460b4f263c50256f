"""An ensemble taken apart: what it says as a sum over its training rows, or without each of them.

Shapes in comments: q queries, n training rows, K outputs.
"""

import numpy as np
from scipy.sparse import diags

from ..._utils.rows import few_rows, n_rows, take_rows
from ..ensembles import ensemble
from ..ensembles._base import Output, Probability
from ..ensembles._mean import Mean
from ._parts import ForestAnswers, InfluenceAnswers, NeighborAnswers, NestedAnswers, neighbors_of

# How near the combined outputs of parts must be to those of the ensemble.
_TOLERANCE = 1e-6


class Decomposition:
    """The parts of a fitted ensemble, and what each says of its training rows.

    Parameters
    ----------
    estimator : estimator
        The fitted ensemble.
    X, y : array-like
        The rows that it was fitted on.

    Raises
    ------
    TypeError
        If the estimator is no ensemble, or one of its parts is of a kind that is not known.
    ValueError
        If these are not the rows that it was fitted on, or it combines parts in another way.
    """

    def __init__(self, estimator, X, y):
        self.name = type(estimator).__name__
        self.known = ensemble(estimator, X, y)
        self.n_rows = len(y)
        rows = self.known.prepare(X)
        self._check_combined(estimator, X, rows)
        self.parts = [self._answers(part, rows) for part in self.known.parts]
        mean = isinstance(self.known.combine, Mean)
        self.has_weights = mean and all(part.has_weights for part in self.parts)
        self.has_removals = all(part.has_removals for part in self.parts)

    @property
    def response(self):
        """What of the combined outputs is explained."""
        return self.known.response

    @property
    def assumptions(self):
        """What is held fixed, here and in the parts."""
        fixed = list(self.known.assumptions)
        for part in self.parts:
            fixed += part.assumptions
        return tuple(dict.fromkeys(fixed))

    def _answers(self, part, rows):
        """Return what a part answers, by its kind."""
        name = type(part.estimator).__name__
        for kind in (ForestAnswers, InfluenceAnswers):
            try:
                return kind(part, rows)
            except TypeError:  # of another kind
                continue
            except ValueError as error:
                error.add_note(f"This is {name}, a part of {self.name}")
                raise
        whole = part.weights is None or part.drawn is not None
        if hasattr(neighbors_of(part.estimator), "n_samples_fit_") and whole:
            return NeighborAnswers(part, rows)
        if part.weights is None and part.rows is None:
            inner = self._nested(part, rows)
            if inner is not None:
                return NestedAnswers(inner, part)
        raise TypeError(
            f"the parts of {self.name} must be forests, trees or neighbors, or minimise a smooth "
            f"objective as linear models do; got {name}. Explain the parts by themselves"
        )

    @staticmethod
    def _nested(part, rows):
        try:
            inner = Decomposition(part.estimator, part.take_columns(rows), part.targets)
        except TypeError:
            return None
        fits = {"predict_proba": Probability, "predict": Output}.get(part.method)
        return inner if fits is not None and isinstance(inner.response, fits) else None

    def _check_combined(self, estimator, X, rows):
        """Refuse an ensemble that combines its parts otherwise than is known."""
        few = few_rows(n_rows(X))
        X, rows = take_rows(X, few), take_rows(rows, few)
        outputs = []
        for part in self.known.parts:
            output = np.asarray(getattr(part.estimator, part.method)(part.take_columns(rows)))
            outputs.append(output.reshape(len(few), -1).astype(np.float64))
        found = self.known.combine(outputs)
        if self.known.classes is None:
            expected = np.asarray(estimator.predict(X)).reshape(found.shape)
        elif isinstance(self.response, Probability):
            expected = estimator.predict_proba(X)
        else:
            expected = np.asarray(estimator.decision_function(X))
            if expected.ndim == 1:  # of the second of two classes
                found = found[:, 1]
        if not np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ValueError(
                f"the predictions of {self.name} must be those of its parts, combined as "
                "scikit-learn combines them, but they are not. Explain the parts by themselves"
            )

    def weights(self, X, own=None):
        """Compute weights (q, n) of the training rows in the prediction, csr."""
        X = self.known.prepare(X)
        total, votes = 0, np.zeros(n_rows(X))
        for share, part, known in zip(
            self.known.combine.shares, self.parts, self.known.parts, strict=True
        ):
            weights = part.weights(X, own)
            if own is not None and self.known.out_of_bag:
                weights = diags((known.weights[own] == 0).astype(float)) @ weights
            has_say = np.asarray(weights.sum(1)).ravel() > 0
            votes += share * has_say
            total = total + share * weights
        scale = np.divide(1, votes, out=np.zeros_like(votes), where=votes > 0)
        return (diags(scale) @ total).tocsr()

    def outputs(self, X):
        """Return what the ensemble says (q, K)."""
        X = self.known.prepare(X)
        return self.known.combine([part.outputs(X) for part in self.parts])

    def outputs_without(self, X):
        """Return what the ensemble would say (n, q, K) without each row."""
        X = self.known.prepare(X)
        return self.known.combine([part.outputs_without(X) for part in self.parts])

    def queries_within(self, n_bytes):
        """Count the queries whose outputs without each row may be held at a time."""
        n_outputs = 1 if self.known.classes is None else len(self.known.classes)
        return max(1, int(n_bytes / 4 / (8 * self.n_rows * n_outputs * (len(self.parts) + 2))))

    def drops(self, X, labels):
        """Compute falls (q, n) of what is explained without each row; nan where not known."""
        before, after = self.outputs(X), self.outputs_without(X)
        drops = np.empty((len(before), self.n_rows))
        for number, label in enumerate(labels):
            margin = self.response.margin(before[number], label)
            drops[number] = margin - self.response.margin(after[:, number], label)
        return drops
