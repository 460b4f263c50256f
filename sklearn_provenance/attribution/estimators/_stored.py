"""Attributors whose rows lie in a store: save, load, append and drop."""

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from ..._utils.cluster import using
from ..._utils.dask_rows import check_chunks, computed
from ..._utils.hashing import fingerprint
from ..._utils.rows import as_given, check_rows, take_rows
from ..._utils.training import TrainingData
from ..._utils.types import Path, Rows, Targets
from ...retrieval import make_index
from ...tangent import TangentFeatures
from ..features._exact import DENSE_LIMIT
from ..rules._pools import SearchedGainRule
from ..stores import AttributionStore, IndexFile, StoredRows, StoreFolder
from ..stores._content import NewRows, as_ids, check_identity, plain
from ..stores._index_file import can_be_kept, files_after
from ..stores._measure import Measure
from ..stores._model_file import model_bytes, read_model
from ..stores._probe import Probe
from ..stores._store import drop_rows
from ._stored_params import (
    features_from_json,
    features_to_json,
    listed,
    params_from_json,
    params_to_json,
)

# Weights of a network up to which a store keeps whole gradients for features="auto".
_WHOLE = 4096
# Parameters on which stored features do not depend, and which load may be given.
_FREE = {
    *("noise_variance", "solver", "pool_size", "index", "ridge", "candidates"),
    *("memory", "memory_limit", "batch_size", "verbose"),
}


class StoredMixin:
    """What attributors do whose rows are features in a store."""

    # Whether the rule needs nothing of rows but features at their own labels.
    _stores = False
    # Whether the rule depends on rows that may not be named.
    _rule_needs_all_rows = False
    # While fit or load work with a store: the rows that are looked at, and the store.
    _probe = None
    _store = None

    def save(self, path: Path) -> None:
        """Write a store of what the attributor has learned of its rows.

        The same as ``fit(X, y, store=path)`` with the rows and the model in use. Of an attributor
        that has a store already, the store is copied.

        Parameters
        ----------
        path : str, pathlib.Path or AttributionStore
            Folder, which must be new or empty; an AttributionStore says how features are kept.

        Raises
        ------
        ValueError
            If the method has no features of rows to store, or the folder holds something else.
        """
        self._check_fitted()
        if self._store is not None:
            self._store.copy(getattr(path, "path", path))
            return
        params = self.get_params(deep=False) | {"estimator": self.estimator_, "prefit": True}
        training = self.training_
        fresh = type(self)(**params)
        self._refuse_other_features(fresh)
        fresh.fit(training.X, training.y, training.sample_id, store=path)

    def _refuse_other_features(self, fresh):
        """Raise where a store would hold other features than those in use."""
        kind = getattr(self, "features", None)
        if isinstance(kind, str) and kind != "penultimate" and self.features_ is None:
            n_components, _ = self._features.components(getattr(self._rows, "inputs", None))
            if n_components > _WHOLE:
                raise ValueError(
                    f"features must be explicit to be saved; the gradients in use are "
                    f"{n_components} numbers a row. Fit with features=TangentFeatures(...)"
                )

    @classmethod
    def load(cls, path: Path, estimator: Any = None, **params: Any) -> Self:
        """Read a store, as an attributor that is fitted on its rows.

        Parameters
        ----------
        path : str or pathlib.Path
            Folder of the store.
        estimator : estimator or torch.nn.Module, default=None
            The fitted model that the store was built with. None reads the one in the store, which
            has linear models, multilayer perceptrons and pipelines of scikit-learn, and modules of
            torch's own layers. They are read without running code of whoever wrote the store.
        **params
            Parameters in place of those that the store was built with, such as ``noise_variance``
            or ``memory_limit``, and those that it cannot hold: functions and transformers.

        Returns
        -------
        attributor : object
            Fitted: ``training_`` has labels and identifiers, and no rows.

        Raises
        ------
        FileNotFoundError
            If there is no store.
        ValueError
            If the store is damaged, newer, or of another attributor, or the model is another.
        """
        store = StoreFolder(path)
        content = store.content()
        notes = content.notes
        if notes["attributor"] != cls.__name__:
            raise ValueError(
                f"the store must be of {cls.__name__}; got one of {notes['attributor']}. Use its "
                "class to load it"
            )
        if estimator is None:
            saved = store.file(content.manifest, "model")
            if saved is None:
                raise ValueError(
                    "estimator must be given, because the store holds none: only models of "
                    "scikit-learn's and torch's own layers can be stored"
                )
            estimator = read_model(saved)
        kept = params_from_json(notes["params"])
        wrong = [name for name in params if name in kept and name not in _FREE]
        wrong = [name for name in wrong if params[name] != kept[name]]
        if wrong:
            raise ValueError(
                f"{wrong[0]} must be {kept[wrong[0]]!r}, with which the store was built; got "
                f"{params[wrong[0]]!r}"
            )
        missing = [name for name in notes["given"] if name not in params]
        if missing:
            raise ValueError(
                f"{', '.join(missing)} must be given to load, because the store cannot hold "
                "functions and other objects"
            )
        if "features" in cls._parameter_constraints and "features" not in params:
            params["features"] = features_from_json(notes["features"])
        attributor = cls(estimator, **kept | params)
        attributor._validate_params()
        attributor._learn_from(store, content)
        return attributor

    def append_rows(
        self,
        X: Rows,
        y: Targets,
        sample_id: Targets | None = None,
        *,
        client: Any = None,
    ) -> Self:
        """Add training rows to the store of the attributor.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n,)
            Their labels.
        sample_id : array-like of shape (n,), default=None
            Identifiers of the rows, which the store does not have yet. With identifiers the call
            may be repeated: rows that are there already are not added again. None goes on counting.
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, as of ``fit``.

        Returns
        -------
        self : object
            The attributor, fitted on all rows of the store.

        Raises
        ------
        ValueError
            If the attributor has no store, or the store has other rows with these identifiers.
        """
        self._check_stored()
        X = check_rows(self, X)
        check_chunks(X, self.memory_limit)
        y = plain(self._check_targets(as_given(y, "y")), "y")
        if sample_id is not None:
            sample_id = as_ids(computed(sample_id, "sample_id"), len(y))
        check_consistent_length(*(part for part in (y, sample_id) if part is not None))
        rows = NewRows(X, y, sample_id, self._measure(y))
        with using(client):
            content = self._store.append(
                rows, self._identity(), self._progress(), self._files_after
            )
        return self._again(content)

    def drop_rows(self, sample_id: ArrayLike, *, ignore_missing: bool = False) -> Self:
        """Remove training rows from the store of the attributor.

        Rows are numbered anew from 0 then; identifiers stay.

        Parameters
        ----------
        sample_id : array-like of shape (n,)
            Identifiers of the rows; their numbers at the time of ``fit`` if none were given.
        ignore_missing : bool, default=False
            Whether identifiers that the store does not have are passed over, which makes the call
            one that may be repeated.

        Returns
        -------
        self : object
            The attributor, fitted on the rows that are left.

        Raises
        ------
        ValueError
            If the attributor has no store, the store does not have an identifier, or no row would
            be left.
        """
        self._check_stored()
        drop_rows(self._store, sample_id, ignore_missing, self._files_after)
        return self._again(self._store.content())

    def _index_file(self, label):
        """Return where the store keeps the search index of the rows of a class, or of all."""
        return IndexFile(self._store, self._rows.content.manifest, label)

    def _files_after(self, old, new, left=None):
        """Let search indexes in the store follow its rows; see :func:`files_after`."""
        if left is None:
            left = np.ones(len(old.y), dtype=bool)
        index = getattr(self, "index", None)
        return files_after(self._store, index, old, new, left, self._measured_at)

    def _build_indexes(self):
        """Build the search indexes of the rows of the store, which are kept there."""
        if isinstance(self._rule, SearchedGainRule) and can_be_kept(make_index(self.index)):
            for key in self._rule_keys():
                _ = self._rule_at(*key).built

    def _check_stored(self):
        self._check_fitted()
        if self._store is None:
            raise ValueError("the attributor has no store; call fit with store=path first")

    def _again(self, content):
        """Learn anew from a store whose rows have changed; the attributor stays if that fails."""
        fresh = copy.copy(self)
        fresh._learn_from(self._store, content)
        fresh._build_indexes()
        self.__dict__ = fresh.__dict__
        return self

    def _open_store(self, store):
        """Say that fit works with a store."""
        if not self._stores:
            raise ValueError(
                f"store is for attributors that compare explicit features of rows; "
                f"{type(self).__name__} does not"
            )
        if not isinstance(store, AttributionStore):
            store = AttributionStore(store)
        self._store = store.folder
        self._probe = Probe()

    def _learn_stored(self, X, y, targets):
        """Learn of rows that are put into a store, and read from there."""
        self.estimator_ = self._resolve(self.estimator, X, targets)
        self._features, inputs = self._make_features(X, y)
        if inputs is None and self._rule_needs_all_rows:  # a row tells the width of features
            inputs = self._features.inputs(take_rows(X, slice(0, 1)))
        self._check_rule_fits(inputs)
        self._learn_classes()
        self._check_labels_stored()
        y = plain(y, "y")
        ids = as_ids(self.training_.sample_id, len(y))
        notes = {
            "attributor": type(self).__name__,
            "identity": self._identity(),
            "n_features_in": getattr(self, "n_features_in_", None),
            "feature_names_in": listed(getattr(self, "feature_names_in_", None)),
            "features": features_to_json(self),
            **params_to_json(self),
        }
        files = {"probe": self._probe.to_bytes(), "model": model_bytes(self.estimator_)}
        files = {name: part for name, part in files.items() if part is not None}
        rows = NewRows(X, y, ids, self._measure(y))
        content = self._store.build(rows, notes, files, self._progress())
        self._take_content(content)

    def _learn_from(self, store, content):
        """Learn of the rows in a store."""
        notes = content.notes
        for name in ("n_features_in", "feature_names_in"):
            if notes[name] is not None:
                value = notes[name]
                if isinstance(value, list):
                    value = np.array(value, dtype=object)
                setattr(self, f"{name}_", value)
        self._check_parameters()
        self._store = store
        self._probe = Probe.from_bytes(store.file(content.manifest, "probe"))
        self.training_ = TrainingData(None, content.y)
        self.estimator_ = self._resolve(self.estimator, None, None)
        self._start()
        self._features, _ = self._make_features(None, content.y)
        check_identity(self._identity(), notes)
        self._learn_classes()
        self._check_labels_stored()
        self._take_content(content)
        self._finish(None)

    def _check_labels_stored(self):
        """Refuse candidates that would have to be measured at other labels than their own."""
        if not self._features.per_label:
            return
        if self._rule_needs_all_rows:
            raise ValueError(
                f"{type(self).__name__} compares rows of all classes at the label of a query, and "
                'a store holds them at their own: pass measurement="margin"'
            )
        if not self._same_class:
            raise ValueError(
                'candidates="all" compares rows at the label of a query, and a store holds them at '
                'their own: pass measurement="margin", or candidates="same_class"'
            )

    def _take_content(self, content):
        """Learn what the rows of a store tell."""
        sample_id = None if content.counts else content.sample_id
        self.training_ = TrainingData(self.training_.X, content.y, sample_id)
        labels = self._measured_at(content.y)
        self._rows = StoredRows(self._features, content, labels, self._kept)
        self._rows.own()
        self._rule = self._make_rule()
        self._rule.check(len(content.y), *self._features.components(self._rows.inputs))

    def _identity(self):
        """Compute a digest of all that features depend on besides rows and labels."""
        identity = self._features.identity()
        found = None if identity is None else fingerprint(identity)
        if found is None:
            raise ValueError(
                "the model must be one that can be told from others, to have a store; remove what "
                "the warning names"
            )
        return found

    def _measure(self, y):
        """Return what measures slices of rows with labels y."""
        return Measure(self._features, self._measured_at(y))

    def _own_features(self):
        """Return whether ``features`` is something that a store cannot hold."""
        kind = getattr(self, "features", None)
        if isinstance(kind, TangentFeatures):
            return kind.forward is not None or not isinstance(kind.parameters, str)
        return kind is not None and not isinstance(kind, str)

    def _progress(self):
        return "rows of the store" if self.verbose else None

    def _explicit_kind(self, kind):
        """Return the features that a store holds where ``features`` is a word."""
        if self._store is None or not isinstance(kind, str):
            return kind
        model = self._fitted_model()
        if model.module is None:
            raise ValueError(
                "features must be given for a store, because this model has no gradients: a "
                "transformer or callable that gives rows of numbers"
            )
        n_weights = sum(p.numel() for p in model.module.parameters())
        if n_weights <= (_WHOLE if kind == "auto" else DENSE_LIMIT):
            return TangentFeatures(n_components="exact")
        if kind == "auto":
            return TangentFeatures()
        raise ValueError(
            f'features="exact" would store {n_weights} numbers a row; pass '
            "features=TangentFeatures(...)"
        )
