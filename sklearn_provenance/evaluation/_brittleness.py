"""Leave-subset-out brittleness: does a prediction fall without the rows that explain it?"""

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import validate_params

from .._utils.arguments import ROWS, as_seeds, check_sizes
from .._utils.displays import LinesDisplay
from .._utils.labels import label_columns
from .._utils.results import Result
from .._utils.tables import Table, heads, mean_and_error, nan_mean, number_cells, text_table
from ..attribution._training_rows import check_rows
from ..retraining._constraints import MODEL, TRAINING
from ..retraining._removals import Removals
from ..retraining._results import margin
from ._protocol import as_attributors, check_queries, picked_rows


@validate_params(
    MODEL
    | TRAINING
    | {
        "X": [ROWS],
        "y": [ROWS],
        "X_queries": [ROWS],
        "y_queries": [ROWS],
        "early_stop": ["boolean"],
    },
    prefer_skip_nested_validation=False,
)
def brittleness(
    attributors,
    X,
    y,
    X_queries,
    y_queries,
    *,
    model,
    sizes=(50, 100, 150, 200, 250, 300),
    recipe=None,
    seeds=0,
    early_stop=True,
    forward=None,
    group_size="auto",
    device="auto",
    n_jobs=None,
    store=None,
    verbose=False,
):
    """Remove the rows that explain a prediction, train again, and see whether it falls.

    For every query that the model trained on all rows gets right, each attributor names the rows
    behind its label. The first 50 are removed, the model is trained on the rest, from the same
    initialisation and in the same order of rows, and asked about the query; then the first 100,
    and so on. A method that names what the prediction rests on makes it fall early.

    Parameters
    ----------
    attributors : attributor or dict of str to attributor
        Fitted on X and y. Their ``explain`` is asked for the true labels of the queries. A
        :class:`~sklearn_provenance.attribution.RandomAttributor` among them says what removing any
        rows does. A ProvenanceClassifier will do, too; it explains the label that it predicts.
    X : array-like of shape (n_rows, ...)
        Training rows, as ``model`` takes them: those that the attributors were fitted on.
    y : array-like of shape (n_rows,)
        Their labels.
    X_queries : array-like of shape (n_queries, ...)
        Queries, none of them among the training rows.
    y_queries : array-like of shape (n_queries,)
        Their true labels.
    model : torch.nn.Module, callable or classifier
        What is trained again, as ``retrain`` takes it: a module with its weights *before*
        training, a function that makes one, or a scikit-learn classifier.
    sizes : sequence of int, default=(50, 100, 150, 200, 250, 300)
        How many rows are removed, ascending.
    recipe : Recipe, default=None
        How a network is trained.
    seeds : int, sequence of int or None, default=0
        Seed of every training: of the order of rows, of dropout, of the initialisation if ``model``
        is a function, and a classifier's ``random_state`` (None leaves it as it is). With several
        seeds everything is repeated and averaged; queries are those that are right with all.
    early_stop : bool, default=True
        Whether a query that has fallen is left alone at larger sizes, as the paper does. It counts
        as fallen there, so that the curve can only rise. False tries every size for every query.
    forward : callable, default=None
        ``forward(module, x)`` gives a network's logits; None calls the module.
    group_size : int or "auto", default="auto"
        Copies of a network that are trained together, as in ``retrain``.
    device : str or torch.device, default="auto"
        Where networks are trained; ``"auto"`` is CUDA where there is a device.
    n_jobs : int, default=None
        Processes that fit copies of a classifier.
    store : path-like, default=None
        Folder in which outputs of copies are kept as they come. A run that was interrupted goes on
        where it was, and a later run with other methods, sizes or seeds trains only what is new.
    verbose : bool, default=False
        Whether to show progress, with a bar for each size.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each method, query and size. ``summary()`` has one for each
        method and size: the fraction of the queries that fell, the mean drop of those for which a
        model was trained at this size, ``n_trained``, and their standard errors, which count
        queries as independent draws, and the full model and the order of training as given.
        ``plot(what="margin_drop")`` draws the drops. Attributes:

        methods : tuple of str
            Names of the attributors.
        sizes : ndarray of shape (n_sizes,)
            Rows removed.
        queries : ndarray of shape (n_queries,)
            Which of the queries given the full model classifies correctly; the others are left out.
        n_given : int
            Number of queries given.
        flipped : ndarray of shape (n_methods, n_queries, n_sizes)
            1 where the query was misclassified, else 0; with several seeds the share of them. With
            early stopping it stays 1 at larger sizes, where nothing was trained. nan where training
            diverged.
        margin_drop : ndarray of shape (n_methods, n_queries, n_sizes)
            Nats by which the margin of the true label dropped, the mean over seeds; nan where
            nothing was trained.
        early_stop : bool
            Whether queries that fell were left alone at larger sizes.
        n_copies : int
            Different models trained, those on all rows included.

    Raises
    ------
    TypeError
        If an attributor cannot explain, or the model is a FrozenEstimator.
    ValueError
        If attributors were fitted on other rows, a query has fewer candidates than are to be
        removed, sizes or labels do not fit, no query is classified correctly, or ``store`` holds
        another experiment.

    See Also
    --------
    brittleness_scorer : The drop of margins as ``scoring`` of a grid search.
    linear_datamodeling_score : Whether scores predict what removing any rows does.

    Notes
    -----
    "Misclassified" means that another class has the largest logit. Margins are log odds of the true
    label, log(p / (1 - p)), in nats; a drop is the margin of the full model minus that of the copy.
    It is infinite where a classifier's copy has lost all rows of the label.

    The paper leaves a query alone once it is misclassified ("terminated early") and reports the
    proportion of all queries that are misclassified; we read this as the fraction that fell at this
    size or a smaller one. Training is noisy, and a query that fell by chance stays fallen: the
    fraction is biased upwards for every method, Random included, and drops at larger sizes are
    those of the queries that held out. ``early_stop=False`` is free of both, for up to
    ``len(sizes)`` trainings for each query and method; the paper's fraction is then the mean of
    ``np.maximum.accumulate(result.flipped, -1)``.

    Copies of one size are trained in one call, those of all methods and queries together, and a set
    that two methods name is removed once.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", section 4.1 and appendix E.
    .. [1] Singla, Sandoval-Segura, Goldblum, Geiping, Goldstein (2023). A simple and efficient
       baseline for data attribution on images.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import RandomAttributor, RepSimAttributor
    >>> from sklearn_provenance.evaluation import brittleness
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> methods = {"RepSim": RepSimAttributor(model), "Random": RandomAttributor(model)}
    >>> methods = {name: method.fit(X[::2], y[::2]) for name, method in methods.items()}
    >>> queries = X[71:90:2], y[71:90:2]
    >>> result = brittleness(methods, X[::2], y[::2], *queries, model=model, sizes=(8, 16))
    >>> result.flipped.shape
    (2, 9, 2)
    """
    attributors = as_attributors(attributors, "explain")
    y = check_rows(attributors, X, y)
    y_queries = check_queries(X_queries, y_queries)
    sizes = check_sizes(sizes, len(y) - 1)  # one row has to be left
    copies = Removals(
        model,
        X,
        y,
        X_queries,
        as_seeds(seeds),
        store,
        recipe=recipe,
        forward=forward,
        group_size=group_size,
        device=device,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    columns = label_columns(y_queries, len(y_queries), copies.classes)
    queries = np.flatnonzero((copies.full.argmax(2) == columns).all(0))
    if not len(queries):
        raise ValueError(
            f"The model classifies none of the {len(columns)} queries correctly, so that no "
            "prediction can fall."
        )
    kept = _safe_indexing(X_queries, queries), y_queries[queries]
    picks = [picked_rows(name, a, *kept, int(sizes[-1])) for name, a in attributors.items()]
    flipped, drops = remove_ascending(
        copies, queries, y_queries, np.stack(picks), sizes, early_stop
    )
    flipped = nan_mean(flipped, 1)  # over seeds
    drops = nan_mean(drops, 1)
    methods = tuple(attributors)
    values = {"flipped": flipped, "margin_drop": drops}
    fell = mean_and_error("flipped", flipped, 1)
    counts = {"n_queries": len(queries), "n_trained": (~np.isnan(drops)).sum(1)}
    return Result(
        text_table(
            f"Brittleness, {len(queries)} of {len(columns)} queries are classified correctly; "
            "fraction misclassified without the first rows",
            methods,
            number_cells(fell["flipped"], 7, 2),
            head=heads(sizes, 7),
        ),
        Table({"method": methods, "query": queries, "size": sizes}, values),
        _figure,
        summary=Table(
            {"method": methods, "size": sizes},
            fell | mean_and_error("margin_drop", drops, 1) | counts,
        ),
        methods=methods,
        sizes=sizes,
        queries=queries,
        n_given=len(columns),
        early_stop=early_stop,
        n_copies=copies.n_copies,
        **values,
    )


def remove_ascending(copies, queries, labels, picks, sizes, early_stop):
    """Remove more and more rows for each query.

    Parameters
    ----------
    copies : Removals
        Trains.
    queries : ndarray of shape (n_queries,), int
        Which of the evaluation rows are queries.
    labels : ndarray of shape (n_eval,)
        True labels of the evaluation rows.
    picks : ndarray of shape (n_methods, n_queries, k), int
        Rows to remove, best first.
    sizes : ndarray of shape (n_sizes,), int
        How many of them, ascending.
    early_stop : bool
        Whether queries that fell are left alone.

    Returns
    -------
    flipped : ndarray of shape (n_methods, n_seeds, n_queries, n_sizes)
        1 where another class won, with ``early_stop`` also at larger sizes; nan where the copy
        diverged.
    drops : ndarray of shape (n_methods, n_seeds, n_queries, n_sizes)
        Margin of the full model minus that of the copy; nan where none was trained.
    """
    y = labels[queries]
    classes = copies.classes
    columns = label_columns(y, len(y), classes)
    full = np.stack([margin(logits[queries], y, classes) for logits in copies.full])
    shape = (len(picks), len(copies.seeds), len(queries), len(sizes))
    flipped = np.zeros(shape)
    drops = np.full(shape, np.nan)
    pending = np.ones(shape[:3], bool)
    for i, size in enumerate(sizes):
        method, seed, query = at = np.nonzero(pending)
        if not len(query):
            break
        logits = copies.without(picks[method, query, :size], seed)
        logits = logits[np.arange(len(query)), queries[query]]  # each about its own query
        lost = np.isnan(logits).any(1)  # the copy diverged, and predicts nothing
        flipped[(*at, i)] = np.where(lost, np.nan, logits.argmax(1) != columns[query])
        before = full[seed, query]
        after = margin(logits, y[query], classes)
        with np.errstate(invalid="ignore"):  # trees are certain: infinity stays what it was
            drops[(*at, i)] = np.where(before == after, 0.0, before - after)
        if early_stop:
            pending &= flipped[..., i] != 1
    if early_stop:
        fallen = np.maximum.accumulate(flipped == 1, -1)
        flipped = np.where(fallen, 1.0, flipped)
    return flipped, drops


def _figure(result, what="flipped", **style):
    """Means over the number of rows removed, a line for each method."""
    labels = {"flipped": "fraction misclassified", "margin_drop": "drop of the margin (nats)"}
    means, errors = result.means(what)
    label = labels[what]
    if what == "margin_drop" and result.early_stop:
        label += ",\nqueries not yet misclassified"
    axes = {"xlabel": "training rows removed", "ylabel": label, "xticks": result.sizes}
    return LinesDisplay(
        result.sizes, means, errors, names=result.methods, style=style, dodge=True, axes=axes
    )
