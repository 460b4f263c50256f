"""What models trained on coresets are worth: measures on test rows, tables and figure."""

import numpy as np
from sklearn.metrics import r2_score, root_mean_squared_error

from .._utils.arguments import check_labels
from .._utils.displays import LinesDisplay
from .._utils.labels import label_columns
from .._utils.plotting import COLORS, MARKERS
from .._utils.results import Result
from .._utils.rows import n_rows
from .._utils.tables import Table, heads, mean_and_error, number_cells, text_table
from ..retraining._estimators import check_targets

_AXES = {
    "accuracy": "test accuracy",
    "r2": "test R²",
    "rmse": "test RMSE (units of the target)",
}


class AccuracyOnTest:
    """Share of test rows whose label is predicted."""

    names = ("accuracy",)
    title = "Test accuracy"

    def __init__(self, y_test, X_test, classes):
        self.y = check_labels(y_test, "y_test", n_rows(X_test), "X_test")
        label_columns(self.y, len(self.y), classes)

    def measure(self, logits, classes):
        """Return the measures of a copy's logits (n_test, n_classes)."""
        columns = label_columns(self.y, len(self.y), classes)
        return (np.mean(logits.argmax(1) == columns),)


class ErrorsOnTest:
    """R² and root mean squared error of predicted numbers."""

    names = ("r2", "rmse")
    title = "Test R²"

    def __init__(self, y_test, X_test):
        self.y = check_targets(y_test, n_rows(X_test), "y_test", "X_test")
        if np.ptp(self.y) == 0:
            raise ValueError(
                "y_test must hold different targets, since R² compares with their spread; got "
                f"{len(self.y)} times {self.y[0]:g}"
            )

    def measure(self, numbers, classes):
        """Return the measures of a copy's predictions (n_test,)."""
        return r2_score(self.y, numbers), root_mean_squared_error(self.y, numbers)


def measure_on_test(y_test, X_test, classes):
    """Return what measures copies on the test rows; ``classes`` is None for a regressor."""
    if classes is None:
        return ErrorsOnTest(y_test, X_test)
    return AccuracyOnTest(y_test, X_test, classes)


def coreset_result(methods, balanced, sizes, seeds, subsets, test, measured):
    """Make the result of measures (n_copies, n_measures).

    Parameters
    ----------
    methods, balanced, sizes, seeds : sequence
        What copies differ by, the last one fastest.
    subsets : dict of (str, bool, int) to list of ndarray
        Rows that they were trained on.
    test : AccuracyOnTest or ErrorsOnTest
        Names the measures.
    measured : ndarray of shape (n_copies, n_measures)
        Values.

    Returns
    -------
    Result
        As :func:`coreset_selection` returns it.
    """
    shape = len(methods), len(balanced), len(sizes), len(seeds)
    dims = {"method": methods, "balanced": balanced, "size": sizes}
    values = {
        name: column.reshape(shape) for name, column in zip(test.names, measured.T, strict=True)
    }
    means = {}
    for name, column in values.items():
        means |= mean_and_error(name, column, -1)
    main = means[test.names[0]].reshape(-1, len(sizes))
    return Result(
        text_table(
            f"{test.title} of models trained on coresets, means over {len(seeds)} seeds",
            [f"{name}, balanced" if quotas else name for name in methods for quotas in balanced],
            number_cells(main, 7, 3),
            head=heads(sizes, 7),
        ),
        Table(dims | {"seed": seeds}, values),
        _figure,
        summary=Table(dims, means | {"n_seeds": len(seeds)}),
        methods=methods,
        balanced=balanced,
        sizes=np.array(sizes),
        seeds=seeds,
        subsets=subsets,
        **values,
    )


def _figure(result, what=None, **style):
    """Draw the first measure or another."""
    if what is None:
        what = next(name for name in _AXES if hasattr(result, name))
    means, errors = result.means(what)
    return coreset_lines(
        result.sizes, means, errors, result.methods, result.balanced, style, _AXES[what]
    )


def coreset_lines(sizes, means, errors, methods, balanced, style=None, label="test accuracy"):
    """Draw a measure over size, a line for each method; dashed where classes have equal shares.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Rows selected.
    means, errors : ndarray of shape (n_methods, n_balanced, n_sizes)
        Accuracies or another measure, and half the heights of their bars.
    methods : sequence of str
        Names of the methods.
    balanced : sequence of bool
        Whether classes have equal shares.
    style : dict, default=None
        Keywords of each line.
    label : str
        What is measured.

    Returns
    -------
    LinesDisplay
        Not drawn yet.
    """
    names = []
    styles = []
    for number, name in enumerate(methods):
        style_of_method = {
            "color": COLORS[number % len(COLORS)],
            "marker": MARKERS[number % len(MARKERS)],
            "markerfacecolor": None,
        }
        dashes = {False: "-", True: "--"}
        again = number // len(COLORS)
        if again:  # the colours come again, with hollow markers and other dashes
            style_of_method["marker"] = MARKERS[(number + again) % len(MARKERS)]
            style_of_method["markerfacecolor"] = "none"
            dashes = {False: "-.", True: ":"}
        for quotas in balanced:
            styles.append(style_of_method | {"linestyle": dashes[quotas]})
        names += [name, "_"][: len(balanced)]  # one of both is in the legend
    keys = None
    if any(balanced):
        keys = {"classes balanced": "--"}
    return LinesDisplay(
        sizes,
        means.reshape(-1, len(sizes)),
        errors.reshape(-1, len(sizes)),
        names=names,
        styles=styles,
        style=style,
        keys=keys,
        ticks=[str(size) for size in sizes],
        axes={"xscale": "log", "xlabel": "training rows selected", "ylabel": label},
        legend={"fontsize": "small"},
    )
