"""Memorisation against generalisation: accuracies over a hyperparameter, above all alpha."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import _num_samples
from tqdm.auto import tqdm

from .._utils.arguments import ROWS, as_seeds, check_labels, whole
from .._utils.displays import LinesDisplay
from .._utils.plotting import line_style
from .._utils.results import Result
from .._utils.tables import Table, mean_and_error, text_table
from .._utils.types import Rows, Targets
from ..provenance import ProvenanceClassifier
from ..retraining._constraints import TRAINING
from ._memorisation_scores import as_sizes, memorisation_scores

# Figure 2 of the paper, and the predicted class.
MEASURES = ("index_accuracy", "train_top1", "test_top1", "test_class_accuracy")
_LINES = ("-", "--", ":", "-.")


@validate_params(
    {
        "X": [ROWS],
        "y": [ROWS],
        "X_test": [ROWS],
        "y_test": [ROWS],
        "param_name": [str],
        "param_range": ["array-like"],
        "variants": [Mapping, None],
        "k": [whole(), "array-like"],
        "n_jobs": TRAINING["n_jobs"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def memorisation_curve(
    estimator: Any,
    X: Rows,
    y: Targets,
    X_test: Rows,
    y_test: Targets,
    *,
    param_name: str = "alpha",
    param_range: Sequence = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: int | Sequence[int] | None = None,
    k: int | Sequence[int] = 5,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> Result:
    """Fit a provenance network over a hyperparameter, and measure what it memorises.

    Parameters
    ----------
    estimator : ProvenanceClassifier
        Or a Pipeline that ends in one. Clones are fitted; it stays as it is.
    X, y : array-like of shape (n_train, ...) and (n_train,)
        Training rows and their classes.
    X_test, y_test : array-like of shape (n_test, ...) and (n_test,)
        Other rows and their classes.
    param_name : str, default="alpha"
        Parameter that varies, as ``set_params`` of the estimator names it.
    param_range : sequence, default=(0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
        Its values.
    variants : dict of str to dict, default=None
        Parameters of several lines by name, such as
        ``{"sampled": {"mixing": "sampled"}, "expected": {"mixing": "expected"}}``. None is the
        estimator alone.
    seeds : int, sequence of int or None, default=None
        ``random_state`` of the classifier, with a fit for each seed. None keeps the
        ``random_state`` that the classifier has.
    k : int or sequence of int, default=5
        Numbers of exemplars for ``majority`` and ``any``.
    n_jobs : int, default=None
        Fits at a time, in processes of their own.
    verbose : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each fit, ``summary()`` one for each variant and value with
        means over seeds. ``plot(measures=...)`` draws other keys of ``scores`` than the paper's
        Figure 2, and the predicted class. Attributes:

        param_name : str
            The parameter that varies.
        values : tuple
            Its values.
        variants : tuple of str
            Names of the lines; one "" where there is one.
        seeds : tuple of int or None
            Seeds of the fits.
        scores : dict of str to ndarray of shape (n_variants, n_values, n_seeds)
            What :func:`memorisation_scores` measured, by its name.

    Raises
    ------
    TypeError
        If the estimator does not end in a ProvenanceClassifier.
    ValueError
        If the range is empty, a variant sets the parameter that varies, the estimator does not take
        a parameter, k is too large, or labels do not fit.

    See Also
    --------
    memorisation_scores : What is measured, for one fitted classifier.
    sklearn.model_selection.validation_curve : Scores of any estimator, by cross-validation.

    Notes
    -----
    Every fit has the same number of epochs. Index accuracy at a large alpha needs more epochs, so
    that a falling curve may show too little training and not a limit.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, section 4.1 and Figure 2.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.inspection import memorisation_curve
    >>> X, X_test, y, y_test = train_test_split(*load_iris(return_X_y=True), random_state=0)
    >>> clf = ProvenanceClassifier("single_branch", width="small", max_epochs=20)
    >>> result = memorisation_curve(clf, X, y, X_test, y_test, param_range=(0.3, 1), seeds=0)
    >>> index_accuracy = result.means("index_accuracy")[0][0]
    >>> bool(index_accuracy[0] > index_accuracy[1])
    True
    """
    _final_step(estimator)
    y = check_labels(y, "y", _num_samples(X))
    y_test = check_labels(y_test, "y_test", _num_samples(X_test), "X_test")
    as_sizes(k, _num_samples(X))  # before anything takes time
    seeds_of_fits = as_seeds(seeds)
    values = list(param_range)
    if not values:
        raise ValueError(f"param_range must have one or more values of {param_name}, got none")
    variants = _check_variants(variants, param_name)
    models = []
    for params in variants.values():
        for value in values:
            for seed in seeds_of_fits:
                model = clone(estimator).set_params(**params, **{param_name: value})
                if seed is not None:
                    _final_step(model).set_params(random_state=seed)
                models.append(model)
    fits = joblib.Parallel(n_jobs, return_as="generator")(
        joblib.delayed(_fit_and_measure)(model, X, y, X_test, y_test, k) for model in models
    )
    found = list(tqdm(fits, total=len(models), desc="fits", disable=not verbose))
    shape = (len(variants), len(values), len(seeds_of_fits))
    scores = {name: np.reshape([f[name] for f in found], shape) for name in found[0]}
    dims = {"variant": tuple(variants), param_name: tuple(values)}
    means: dict[str, NDArray] = {}
    for name, of_fits in scores.items():
        means |= mean_and_error(name, of_fits, 2)
    return Result(
        _text(param_name, values, variants, len(seeds_of_fits), means),
        Table(dims | {"seed": seeds_of_fits}, scores),
        _figure,
        summary=Table(dims, means | {"n_seeds": len(seeds_of_fits)}),
        param_name=param_name,
        values=tuple(values),
        variants=tuple(variants),
        seeds=seeds_of_fits,
        scores=scores,
    )


def _check_variants(variants, param_name):
    """Return the parameters of each line by its name; they must leave out the one that varies."""
    if variants is None:
        return {"": {}}
    variants = dict(variants)
    are_dicts = all(isinstance(params, Mapping) for params in variants.values())
    if not variants or not are_dicts or any(param_name in params for params in variants.values()):
        raise ValueError(
            f"variants must name one or more dicts of parameters, none with {param_name!r}, which "
            f"varies; got {variants}"
        )
    return variants


def _text(param_name, values, variants, n_seeds, means):
    """Write the means of `MEASURES`, a line for each variant and value."""
    names = []
    for variant in variants:
        for value in values:
            names.append(", ".join(filter(None, (variant, f"{param_name}={value}"))))
    cells = [""] * len(names)
    for measure in MEASURES:
        for line, mean in enumerate(means[measure].ravel()):
            cells[line] += f"  {mean:{len(measure)}.3f}"
    return text_table(
        f"Memorisation over {param_name}, means of {n_seeds} fits",
        names,
        cells,
        head="".join(f"  {measure}" for measure in MEASURES),
    )


def _fit_and_measure(model, X, y, X_test, y_test, k):
    """Fit a model, in a process of its own where there are several, and measure it."""
    return memorisation_scores(model.fit(X, y), X_test, y_test, k=k)


def _final_step(estimator):
    """Return the classifier at the end of pipelines."""
    final = estimator
    while isinstance(final, Pipeline):
        final = final.steps[-1][1]
    if not isinstance(final, ProvenanceClassifier):
        raise TypeError(
            "estimator must be a ProvenanceClassifier or a Pipeline that ends in one, got "
            f"{type(estimator).__name__}"
        )
    return final


def _figure(result, measures=MEASURES, **style):
    """Draw measures over the parameter, each in a colour, with a kind of line for each variant."""
    unknown = [name for name in measures if name not in result.scores]
    if unknown:
        raise ValueError(f"measures must be among {list(result.scores)}; got {unknown}")
    means, errors = zip(*(result.means(name) for name in measures), strict=True)
    linestyles = {name: _LINES[i % len(_LINES)] for i, name in enumerate(result.variants)}
    names = []
    styles = []
    for number, measure in enumerate(measures):
        hidden = ["_"] * (len(linestyles) - 1)  # a measure has one entry in the legend
        names += [measure.replace("_", " "), *hidden]
        for linestyle in linestyles.values():
            styles.append(line_style(number) | {"linestyle": linestyle})
    x = np.arange(len(result.values))
    if all(isinstance(v, Real) and not isinstance(v, bool) for v in result.values):
        x = np.array(result.values)
    keys = None
    if len(linestyles) > 1:
        keys = linestyles
    return LinesDisplay(
        x,
        np.concatenate(means),
        np.concatenate(errors),
        names=names,
        styles=styles,
        style=style,
        keys=keys,
        ticks=[str(value) for value in result.values],
        axes={"xlabel": result.param_name, "ylabel": "accuracy"},
        legend={"fontsize": "small"},
    )
