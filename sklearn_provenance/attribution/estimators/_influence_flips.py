"""The smallest sets of rows without which an InfluenceAttributor predicts another answer."""

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import nn
from tqdm.auto import tqdm

from ..._utils.arguments import as_seeds, whole
from ..._utils.budget import budgeted
from ..._utils.containers import without_frozen
from ..._utils.results import Result
from ..._utils.rows import check_rows, n_rows
from ..._utils.types import Device, Path, RandomState, Rows
from ...retraining import Recipe
from ..objectives._minima import each_row, label_of
from ..objectives._picks import greedy_removals
from ._certificate import RemovalsOfModels, certificate, check_queries, random_sets
from ._flipping_sets import FlippingSets
from ._influence_checks import check_removed
from ._paths import padded_paths


class FlippingMixin:
    """``flipping_set`` and ``certify`` of InfluenceAttributor."""

    @budgeted
    def flipping_set(
        self, X: Rows, max_rows: int | None = None, threshold: float | None = None
    ) -> FlippingSets:
        """Find a small set of rows without which each prediction is predicted to change.

        Rows are removed greedily, each the one that lowers the margin most given those before
        it. The set is the shortest beginning of this order that is enough; a smaller set of other
        rows may exist.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        max_rows : int, default=None
            Rows that a set may have. None takes a tenth of the training rows.
        threshold : float, default=None
            Number that the prediction of a regressor has to pass. A classifier's predicted class
            has to change.

        Returns
        -------
        sets : FlippingSets
            An Explanation with the rows of each set, the margins along the way (``margins``) and
            the margin without the set (``predicted``). The whole row is -1 and nan where no set
            of at most ``max_rows`` rows was found.

        Raises
        ------
        ValueError
            If ``threshold`` is missing for a regressor or given for a classifier, or ``max_rows``
            is larger than the number of training rows.
        """
        check_is_fitted(self)
        classifies = hasattr(self, "classes_")
        if classifies and threshold is not None:
            raise ValueError(f"threshold must be None for a classifier, got {threshold!r}")
        if not classifies and threshold is None:
            raise ValueError("threshold must be a number for a regressor, got None")
        n_train = len(self.training_.y)
        if max_rows is None:
            max_rows = max(1, n_train // 10)
        if not whole(1, n_train).is_satisfied_by(max_rows):
            raise ValueError(
                f"max_rows must be an integer between 1 and {n_train}, the number of training "
                f"rows; got {max_rows!r}"
            )
        if self._network is not None:
            return self._network.flipping_set(X, max_rows, threshold)
        X = check_rows(self, X)
        paths = []
        labels = np.empty(n_rows(X), dtype=np.int64)
        with tqdm(total=n_rows(X), desc="queries", disable=not self.verbose) as bar:
            for first, designs in self._designs(X):
                if classifies:
                    outputs = self._minima.outputs(designs)
                    part = slice(first, first + len(outputs))
                    labels[part] = decided(self._minima.objective.response, outputs)
                for number, query in each_row(first, designs):
                    label = label_of(labels if classifies else None, number)
                    allowed = self._allowed(label)
                    paths.append(self._path(query, label, allowed, max_rows, threshold))
                    bar.update()
        indices, margins = padded_paths(paths)
        described = self._shown(X, X, labels if classifies else None, indices)
        return FlippingSets(
            indices,
            margins[:, :-1] - margins[:, 1:],
            margins=margins,
            threshold=threshold,
            **described,
        )

    def _path(self, query, label, allowed, max_rows, threshold):
        """Remove rows until the prediction changes; return them and the margins on the way."""
        response = self._minima.objective.response
        margins = [self._minima.margin(query, label)]
        sign = 1  # lowers the margin
        if threshold is not None and not margins[0] > threshold:
            sign = -1
        rows = []
        for row, minima in greedy_removals(self._minima, query, label, allowed, sign):
            rows.append(row)
            margins.append(minima.margin(query, label))
            if threshold is None:
                outputs = minima.outputs([part[None] for part in query])
                changed = decided(response, outputs)[0] != label
            else:
                changed = sign * (margins[-1] - threshold) < 0
            if changed:
                return rows, margins
            if len(rows) == max_rows:
                break
        return [], margins[:1]

    def certify(
        self,
        X: Rows,
        sets: FlippingSets,
        *,
        model: object = None,
        recipe: Recipe | None = None,
        seeds: int | tuple[int, ...] | None = None,
        n_random: int = 19,
        random_state: RandomState = 0,
        device: Device = "auto",
        n_jobs: int | None = None,
        store: Path | None = None,
        verbose: bool = False,
    ) -> Result:
        """Train again without sets of rows, and compare what happens with what was predicted.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            The queries that the sets were found for.
        sets : FlippingSets
            What :meth:`flipping_set` found for them.
        model : torch.nn.Module or callable, default=None
            For a module: a module with its weights before training, or a function that makes one.
            It stands for all modules of a list. Other estimators are cloned, each of a list; None
            must be given.
        recipe : Recipe, default=None
            How a module is trained.
        seeds : int, tuple of int or None, default=None
            Seeds of the trainings, whose margins are averaged. None leaves ``random_state`` of an
            estimator as it is, and is 0 for a module; 0, 1, and so on for a list of modules.
        n_random : int, default=19
            Random sets of the same size, with as many rows of each class, that are removed for
            comparison. 0 leaves the comparison out.
        random_state : int, RandomState instance or None, default=0
            Draws the random sets.
        device : str or torch.device, default="auto"
            Where modules are trained.
        n_jobs : int, default=None
            Processes that fit clones.
        store : path-like, default=None
            Folder in which outputs of trained copies are kept, so that a run can be continued.
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        Result
            ``to_frame()`` has a line for each set: its query, size, the margins ``before``,
            ``predicted`` and ``realised``, the share ``flipped`` of the trainings that predict
            something else than what was explained (of a regressor: that pass the threshold), and
            ``p_value``. ``summary()`` has one line: ``r2`` of predicted and realised margins,
            ``r2_falls`` of how far they fall from those with all rows (both are nan of a single
            set), the mean of ``flipped`` and the share of sets with a p-value of at most .05
            (``significant``), which is nan with fewer than 19 random sets, as none can have
            it. ``plot()`` draws predicted beside realised margins. Its attributes have these names.
            The p-value is (1 + b) / (1 + n_random), where b of the random sets move the margin as
            far in the predicted direction as the set does.

        Raises
        ------
        ValueError
            If the sets are those of other queries, or a module is not given with its weights
            before training.
        """
        check_is_fitted(self)
        if getattr(self, "_weighted", False):
            raise ValueError(
                "certify must have an estimator that was fitted without sample_weight, because "
                "copies are trained without weights. Fit a clone to the other rows with their "
                "weights, and compare it with predict_without"
            )
        X = check_rows(self, X)
        if not isinstance(sets, FlippingSets) or sets.n_queries != n_rows(X):
            raise ValueError(
                f"sets must be what flipping_set returned for these {n_rows(X)} queries; got "
                f"{type(sets).__name__} of {getattr(sets, 'n_queries', 'unknown')} queries"
            )
        check_queries(sets, X)
        if not whole(0).is_satisfied_by(n_random):
            raise ValueError(f"n_random must be an integer of at least 0, got {n_random!r}")
        check_removed(sets.indices, len(self.training_.y), n_rows(X))
        trained = self._untrained(model, recipe)
        if seeds is None and model is not None and isinstance(self.estimator_, list):
            seeds = tuple(range(len(self.estimator_)))
        copies = RemovalsOfModels(
            trained,
            self.training_.X,
            self.training_.y,
            X,
            as_seeds(seeds),
            store,
            recipe=recipe,
            device=device,
            n_jobs=n_jobs,
            forward=self.forward,
            verbose=verbose,
        )
        labels = None
        if hasattr(self, "classes_"):
            labels = self.training_.y
        compared = random_sets(sets, labels, len(self.training_.y), n_random, random_state)
        response = None
        if self._network is None:
            response = self._minima.objective.response
        return certificate(copies, sets, compared, response)

    def _untrained(self, model, recipe):
        """List what is trained again."""
        models = self.estimator_
        if not isinstance(models, list):
            models = [models]
        if any(isinstance(one, nn.Module) for one in models):
            if model is None:
                raise ValueError(
                    "model must be the module with its weights before training, or a function that "
                    "makes one, for a torch.nn.Module; got None"
                )
            return [model]
        if model is not None or recipe is not None:
            raise ValueError(
                "model and recipe must be None for an estimator, which is cloned; got "
                f"{type(model).__name__} and {type(recipe).__name__}"
            )
        return [clone(without_frozen(one)) for one in models]


def decided(response, outputs):
    """Return positions (n,) of the classes that outputs (n, K) speak for."""
    answers = response.answer(outputs)
    if answers.ndim == 1:  # one decision value
        return (answers > 0).astype(np.int64)
    return answers.argmax(1)
