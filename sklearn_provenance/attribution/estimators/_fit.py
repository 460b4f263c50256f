"""What attributors learn from training rows."""

import copy
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import nn

from ..._utils.arguments import check_readable
from ..._utils.budget import within
from ..._utils.cluster import using
from ..._utils.dask_rows import check_chunks, computed
from ..._utils.feature_names import column_names
from ..._utils.fitted import column_of_targets, predicts_numbers, resolve
from ..._utils.kept import Kept
from ..._utils.labels import positions
from ..._utils.modules import state_sums
from ..._utils.row_arrays import is_file
from ..._utils.rows import as_given, axis_names, check_rows, copied, n_rows, own
from ..._utils.tensor_rows import check_count_of_tensors
from ..._utils.training import TrainingData
from ..._utils.types import Path, Rows, Targets
from ...tangent._outputs import warns_of_probabilities_once
from ..features._settings import Settings
from ..features._training import TrainingRows
from ..models import SUPPORTED, adapt, measured_model
from ..models._sequences import likelihood_of, value_of_row
from ..models._single_output import check_one_target
from ..stores import AttributionStore
from ._stored import StoredMixin


class FitMixin(StoredMixin):
    """``fit`` of attributors; a subclass has ``_make_features`` and ``_make_rule``."""

    # The estimator is an estimator of its own, whose parameters are validated when it is fitted.
    @_fit_context(prefer_skip_nested_validation=False)
    @warns_of_probabilities_once()
    def fit(
        self,
        X: Rows,
        y: Targets,
        sample_id: Targets | None = None,
        store: Path | AttributionStore | None = None,
        *,
        client: Any = None,
    ) -> Self:
        """Take the rows to attribute to, and fit the estimator if it is not fitted.

        Parameters
        ----------
        X : array-like of shape (n_train, ...)
            Rows as the estimator takes them: an array, tensor, sparse matrix, data frame, list of
            texts, or a mapping of tensors. A Dask array of numbers is read chunk by chunk where
            memory maps are, and otherwise computed; see :ref:`sizes`.
        y : array-like of shape (n_train,)
            Their labels, among the classes that the estimator knows.
        sample_id : array-like of shape (n_train,), default=None
            Your own identifiers of the rows, handed on to every :class:`Explanation`. None takes
            the index of a data frame, unless it just counts the rows.
        store : str, pathlib.Path or AttributionStore, default=None
            Folder in which the features of the rows are put, and from which they are read: neither
            rows nor features have to fit in memory. A fit that was killed is taken up where it
            was, and one that was complete is not done again. It is for InfoGain, InfoLoss, RelatIF
            and RepSim.
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, whose workers measure the rows
            piece by piece, and write them into the store; see :ref:`workers`. It is for explicit
            features, as ``store`` is.

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
        MemoryError
            If what the method must keep of the rows, or a chunk of a Dask array, is larger than
            ``memory_limit``.
        sklearn.exceptions.NotFittedError
            With ``prefit=True`` or a FrozenEstimator, if the estimator is not fitted.
        """
        # What fit learns goes to a copy, so that a fit that fails changes nothing.
        fresh = copy.copy(self)
        for name in getattr(self, "_learned", ()):
            vars(fresh).pop(name, None)
        before = set(vars(fresh))
        if store is not None:
            fresh._open_store(store)
        if client is not None and not self._stores:
            raise ValueError(
                "client is for attributors that compare explicit features of rows; "
                f"{type(self).__name__} does not"
            )
        with using(client), within(self.memory_limit):
            fresh._fit(X, y, sample_id)
        if client is not None and store is None and getattr(fresh, "features_", None) is None:
            raise ValueError(
                "client needs explicit features of rows to share: pass "
                "features=TangentFeatures(...), or a store"
            )
        fresh._learned = {"_learned", *vars(fresh)} - before
        self.__dict__ = fresh.__dict__
        return self

    # Whether what fit keeps of its arguments are copies; not where another has made them.
    _owns_arguments = True

    def _fit(self, X, y, sample_id):
        """Learn everything, in the order of the picture in CONTRIBUTING.rst."""
        self._check_parameters()
        y = as_given(y, "y")
        check_readable(sample_id, "sample_id")
        given = X
        X = check_rows(self, X, reset=True)
        check_count_of_tensors(given, y)
        check_chunks(X, self.memory_limit)
        if self._owns_arguments:
            X, y, sample_id = own(X), own(y), own(sample_id)
        check_one_target(y)
        column = column_of_targets(self.estimator, y)
        y = self._check_targets(y if column is None else column.ravel())
        check_consistent_length(np.empty(n_rows(X)), y)
        if sample_id is None:
            sample_id, _ = axis_names(X)
        else:
            sample_id = column_or_1d(computed(sample_id, "sample_id"))
            check_consistent_length(y, sample_id)
        self.training_ = TrainingData(X, y, sample_id)
        targets = y
        if column is not None:
            targets = column
        self._start()
        if self._store is not None:
            self._learn_stored(X, y, targets)
        elif isinstance(self.estimator, list | tuple) and not self._joins_models:
            self._learn_models(X, y, targets)
        else:
            self._learn_model(X, y, targets)
        self._finish(X)
        if self._store is not None:
            self._build_indexes()

    def _start(self):
        """Begin to learn."""
        self._kept = Kept(self.memory_limit)
        self._members = []

    def _finish(self, X):
        """Note what queries look for, and make rules ready for them."""
        # Users may change the weights of modules of their own, which every query looks for.
        modules = [model.users_module for model in self._features.models]
        self._watched = [(m, state_sums(m)) for m in modules if m is not None]
        self._feature_names = self._names_of_features(X)
        self.method_ = self._rule.name
        # Explanations find the rows ready, where these fit.
        self._kept.prepare((key, partial(self._fitted_rule, *key)) for key in self._rule_keys())

    def _learn_model(self, X, y, targets):
        """Make the features of the model in use, training rows and the rule that scores them."""
        self.estimator_ = self._resolve(self.estimator, X, targets)
        self._features, inputs = self._make_features(X, y)
        self._check_memory(inputs)
        self._check_rule_fits(inputs)
        self._learn_classes()
        labels = self._measured_at(y)
        if not _is_part(inputs, X):
            inputs = copied(inputs)
        self._rows = TrainingRows(self._features, inputs, labels, self._kept)
        if not self._features.per_label:
            self._rows.own()  # is kept; what cannot be used is refused here and not by a query
        self._rule = self._make_rule()
        self._rule.check(len(y), *self._features.components(self._rows.inputs))

    def _learn_classes(self):
        """Find the classes of the model in use, and which rows may be named."""
        self.classes_ = self._features.model.classes
        self._same_class = self.candidates != "all" and self.classes_ is not None
        if self.candidates == "same_class" and not self._same_class:
            raise ValueError(
                'candidates="same_class" needs classes, but y holds numbers; pass candidates="all"'
            )
        self.candidates_ = "same_class" if self._same_class else "all"

    # Whether the features and the rule take several models, so that scores need no averaging.
    _joins_models = False

    def _check_memory(self, inputs):
        """Refuse what must be kept and would not fit, before a pass over the rows."""

    def _check_rule_fits(self, inputs):
        """Refuse rows that the rule cannot be fitted on, before they are measured."""

    def _check_parameters(self):
        """Refuse parameters that are valid alone and make no sense together."""

    def _check_targets(self, y):
        """Read y as labels, or as numbers where the estimator predicts numbers."""
        y = column_or_1d(y, warn=True)
        if likelihood_of(self.forward) is not None:
            unusable = y
            if y.dtype.kind in "iu":
                unusable = y[y < 0]
            if len(unusable):
                raise ValueError(
                    "y must hold zeros, or the number of a group of rows that each row belongs to, "
                    "for a language model, whose rows say what was learned of them; got "
                    f"{unusable[0]!r}. Pass np.zeros(n_rows, int)"
                )
        if predicts_numbers(self.estimator):
            return check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        check_classification_targets(y)
        return y

    def _resolve(self, estimator, X, y):
        """Return the estimator itself, or a fitted clone of it; each of a list."""
        if isinstance(estimator, list | tuple):
            return [self._resolve(model, X, y) for model in estimator]
        if not isinstance(estimator, nn.Module) and not hasattr(estimator, "predict"):
            raise TypeError(f"estimator must be {SUPPORTED}; got {type(estimator).__name__}")
        return resolve(estimator, self.prefit, X, y, self.memory)

    def _fitted_model(self, estimator=None):
        """Return a fitted estimator, ``estimator_`` by default, as attribution sees it."""
        if estimator is None:
            estimator = self.estimator_
        model = adapt(estimator)
        if likelihood_of(self.forward) is not None:
            if self._instead_of_sequences is not None:
                raise TypeError(self._instead_of_sequences)
            return measured_model(model, self.forward, self.training_.y)
        if self.forward is not None:
            model = model.with_forward(self.forward)
        return model

    # Why the method makes no sense for rows of a language model, and which does; None if it does.
    _instead_of_sequences: str | None = None

    def _settings(self, **measured):
        """Return the parameters that features take, and how rows are measured."""
        is_sequence = likelihood_of(self.forward) is not None
        if is_sequence and not callable(measured.get("measurement")):
            measured["measurement"] = value_of_row
        return Settings(
            batch_size=self.batch_size,
            verbose=self.verbose,
            memory=self.memory,
            memory_limit=self.memory_limit,
            probe=self._probe,
            **measured,
        )

    def _make_features(self, X, y):
        """Make features of the model in use, and what their ``points`` takes for rows X."""
        raise NotImplementedError

    def _make_rule(self):
        """Make the rule that scores rows, not yet fitted."""
        raise NotImplementedError

    def _names_of_features(self, X):
        """Return names of the features whose parts in scores explanations show, or None."""
        if not (self._rule.is_inner_product or self._rule.has_pair_parts):
            return None
        names = self._features.feature_names(column_names(X))
        # A transformer of the user's may give another number of names than of columns.
        if names is not None and len(names) != self._rows.inputs.shape[1]:
            return None
        return names

    def _rule_keys(self):
        """List (label, everything), as `_rule_at` takes them, of rules whose rows are measured."""
        if not self._rule.needs_all_rows and self._same_class:
            return [(label, False) for label in np.unique(self._rows.labels)]
        if not self._features.per_label:
            return [(None, True)]
        # Each label would take a pass over all rows, and queries may ask for one of them.
        return []

    def _measured_at(self, y):
        """Return positions of labels among the classes; targets of a regression as they are."""
        if self.classes_ is None:
            return np.array(y, dtype=np.float64)  # a copy that may be written to
        return positions(self.classes_, y, "y")


def _is_part(inputs, X):
    """Return whether inputs of features are the rows that fit has copied already."""
    both = isinstance(inputs, np.ndarray) and isinstance(X, np.ndarray)
    return both and not is_file(X) and np.may_share_memory(inputs, X)
