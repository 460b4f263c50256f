"""Curves of training: what is drawn is what the history holds."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE
from sklearn_provenance.inspection import ConvergenceDisplay

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = np.arange(40) % 2
OPTIONS = {"width": "small", "max_epochs": 3, "device": "cpu", "random_state": 0}


def fit(architecture="class_conditional", y=Y, cls=ProvenanceClassifier, **options):
    first = (architecture,) if cls is ProvenanceClassifier else ()
    return cls(*first, **OPTIONS | options).fit(X, y)


@pytest.fixture(scope="module")
def classifier():
    return fit()


def drawn(display):
    """Values of the lines by metric and name, and their epochs."""
    return {
        (metric, name): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for metric, lines in zip(display.metrics, display.lines_, strict=True)
        for name, line in zip(display.names, lines, strict=True)
    }


def recorded(estimator, metric):
    history = estimator.history_
    return [line["epoch"] for line in history], [line[metric] for line in history]


@pytest.mark.parametrize(
    ("make", "metrics"),
    [
        (fit, ["index_accuracy", "class_accuracy"]),
        (lambda: fit("class_independent"), ["index_accuracy", "class_accuracy"]),
        (lambda: fit("single_branch"), ["index_accuracy"]),
        (
            lambda: fit(index_loss="sampled", n_negatives=5),
            ["index_accuracy_among_drawn", "class_accuracy"],
        ),
        (lambda: fit(y=X[:, 0], cls=ProvenanceRegressor), ["index_accuracy", "output_loss"]),
        (
            lambda: ProvenanceVAE(2, **OPTIONS).fit(load_digits().data[:40], Y),
            ["index_accuracy", "class_accuracy", "reconstruction_loss", "kl_loss"],
        ),
    ],
    ids=["class_conditional", "class_independent", "single_branch", "sampled", "regressor", "vae"],
)
def test_the_default_is_what_an_estimator_has(make, metrics):
    estimator = make()
    display = ConvergenceDisplay.from_estimator(estimator)
    assert display.metrics == metrics
    assert display.axes_.shape == (len(metrics),)
    assert display.lines_.shape == (len(metrics), 1)
    name = type(estimator).__name__
    assert drawn(display) == {
        (metric, name): recorded(estimator, metric) for metric in display.metrics
    }
    assert all(ax.get_legend() is None for ax in display.axes_)
    assert not display.figure_.legends


def test_every_number_of_the_history_can_be_drawn(classifier):
    metrics = list(classifier.history_[0])
    metrics.remove("epoch")
    display = ConvergenceDisplay.from_estimator(classifier, metrics=metrics)
    assert {"lr", "dur", "train_loss", "index_loss", "class_loss"} <= set(display.metrics)
    for metric in metrics:
        expected = recorded(classifier, metric)
        assert drawn(display)[metric, "ProvenanceClassifier"] == expected
    one = ConvergenceDisplay.from_estimator(classifier, metrics="index_loss")
    assert one.metrics == ["index_loss"]
    assert one.ax_.get_ylabel() == "loss of the index (nats)"


def test_several_estimators_share_panels_and_a_legend(classifier):
    longer = fit("class_independent", max_epochs=5)
    display = ConvergenceDisplay.from_estimators({"level 1": classifier, "$2$": longer})
    assert display.lines_.shape == (2, 2)
    for name, estimator in (("level 1", classifier), ("$2$", longer)):
        for metric in ("index_accuracy", "class_accuracy"):
            assert drawn(display)[metric, name] == recorded(estimator, metric)
    (legend,) = display.figure_.legends
    assert [text.get_text() for text in legend.get_texts()] == ["level 1", "$2$"]
    assert [text.get_parse_math() for text in legend.get_texts()] == [False, False]
    colors = {line.get_color() for line in display.lines_[0]}
    markers = {line.get_marker() for line in display.lines_[0]}
    assert len(colors) == len(markers) == 2
    display.figure_.canvas.draw()


def test_by_default_estimators_are_compared_by_what_all_have(classifier):
    single = fit("single_branch")
    display = ConvergenceDisplay.from_estimators({"two": classifier, "one": single})
    assert display.metrics == ["index_accuracy"]
    sampled = fit("single_branch", index_loss="sampled", n_negatives=5)
    with pytest.raises(ValueError, match=r"metrics must be chosen.*they have .*index_loss"):
        ConvergenceDisplay.from_estimators({"full": single, "sampled": sampled})


def test_a_warm_start_goes_on_with_the_curve():
    clf = fit(warm_start=True)
    first = recorded(clf, "class_accuracy")[1]
    # Sampled targets add an entry, which the first three epochs lack.
    clf.set_params(max_epochs=2, mixing="sampled").fit(X, Y)
    metrics = ["class_accuracy", "sampled_target_accuracy"]
    display = ConvergenceDisplay.from_estimator(clf, metrics=metrics)
    line, added = display.lines_[:, 0]
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert line.get_ydata()[:3].tolist() == first
    assert np.isnan(added.get_ydata()).tolist() == [True] * 3 + [False] * 2


class Validation(Callback):
    """Record what is known only to the user, with kinds of values that cannot be drawn."""

    def on_epoch_end(self, net, **kwargs):
        epoch = net.history[-1]["epoch"]
        net.history.record("valid_accuracy", 0.1 * epoch)
        net.history.record("valid_accuracy_best", True)
        net.history.record("note", "text")


def test_entries_of_callbacks_can_be_drawn():
    clf = fit(callbacks=[Validation()])
    display = ConvergenceDisplay.from_estimator(clf, metrics=["valid_accuracy"])
    np.testing.assert_allclose(display.lines_[0, 0].get_ydata(), [0.1, 0.2, 0.3])
    assert display.ax_.get_ylabel() == "valid_accuracy"
    for name in ("valid_accuracy_best", "note", "epoch"):
        with pytest.raises(ValueError, match=rf"among \[.*'valid_accuracy'\]; got '{name}'"):
            ConvergenceDisplay.from_estimator(clf, metrics=[name])


def test_estimators_are_found_inside_of_containers(classifier):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), ProvenanceClassifier(**OPTIONS)),
        {"provenanceclassifier__alpha": [0.0]},
        cv=2,
    )
    with pytest.raises(NotFittedError):
        ConvergenceDisplay.from_estimator(search)
    search.fit(X, Y)
    display = ConvergenceDisplay.from_estimator(search)
    inner = search.best_estimator_[-1]
    expected = recorded(inner, "index_accuracy")
    assert drawn(display)["index_accuracy", "GridSearchCV"] == expected


def test_histories_are_drawn_as_they_were_stored():
    histories = {
        "a": [{"loss": 3, "own": 1.0}, {"loss": np.float32(2)}, {"loss": None}],
        "b": [{"loss": 1.0, "epoch": 10, "own": 2}],
    }
    display = ConvergenceDisplay.from_histories(histories, metrics=["loss", "own"])
    values = drawn(display)
    assert values["loss", "b"] == ([10], [1.0])
    assert values["own", "b"] == ([10], [2.0])
    epochs, losses = values["loss", "a"]
    assert epochs == [1, 2, 3]
    np.testing.assert_array_equal(losses, [3.0, 2.0, np.nan])
    np.testing.assert_array_equal(values["own", "a"][1], [1.0, np.nan, np.nan])


def test_axes_are_made_or_given(classifier):
    figure, axes = plt.subplots(2, 3, figsize=(15, 8))
    axes[0, 0].set_xscale("log")  # has ticks of its own
    display = ConvergenceDisplay.from_estimators({"a": classifier, "b": classifier}, ax=axes[:, 0])
    assert display.axes_.tolist() == axes[:, 0].tolist()
    assert display.ax_ is axes[0, 0]
    assert display.figure_ is figure
    assert axes[1, 0].get_legend() is not None
    assert axes[0, 0].get_legend() is None
    place = ConvergenceDisplay.from_estimator(classifier, ax=axes[0, 1])
    assert place.figure_ is figure
    assert not axes[0, 1].axison
    assert set(place.axes_).isdisjoint(axes.flat)
    one = ConvergenceDisplay.from_estimator(classifier, metrics="lr", ax=axes[0, 2])
    assert one.ax_ is axes[0, 2]
    figure.canvas.draw()
    for wrong in (axes[:, :2], [axes[0, 2]]):
        with pytest.raises(ValueError, match="ax must be one axes for each of the 2 metrics"):
            ConvergenceDisplay.from_estimator(classifier, ax=wrong)


def test_panels_stand_in_lines_of_three(classifier):
    metrics = ["index_loss", "class_loss", "train_loss", "lr", "dur"]
    display = ConvergenceDisplay.from_estimator(classifier, metrics=metrics)
    columns = [ax.get_subplotspec().colspan.start for ax in display.axes_]
    rows = [ax.get_subplotspec().rowspan.start for ax in display.axes_]
    assert columns == [0, 1, 2, 0, 1]
    assert rows == [0, 0, 0, 1, 1]
    assert [ax.axison for ax in display.figure_.axes] == [True] * 5 + [False]


def test_keywords_replace_those_of_lines(classifier):
    display = ConvergenceDisplay.from_estimator(classifier, lw=3, c="red")
    for line in display.lines_.flat:
        assert line.get_linewidth() == 3
        assert line.get_color() == "red"
    again = display.plot(linestyle=":")
    assert again is display
    assert {line.get_linestyle() for line in display.lines_.flat} == {":"}


def test_epochs_are_whole_numbers(classifier):
    display = ConvergenceDisplay.from_estimator(classifier)
    for ax in display.axes_:
        assert all(tick == round(tick) for tick in ax.get_xticks())


def test_markers_of_long_trainings_stand_apart():
    histories = {name: [{"loss": 1.0}] * 80 for name in "ab"}
    display = ConvergenceDisplay.from_histories(histories, metrics="loss")
    places = [set(range(*line.get_markevery()[:1], 80, 10)) for line in display.lines_[0]]
    assert [line.get_markevery()[1] for line in display.lines_[0]] == [10, 10]
    assert places[0].isdisjoint(places[1])


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("f1", r"metrics must be among \['lr', 'dur', .*'class_accuracy'\]; got 'f1'"),
        (["lr", 3], r"metrics must be among .*; got 3"),
        ([], r"metrics must be the name of an entry of history_, or a list of names; got \[\]"),
        (3, r"metrics must be the name .* got 3"),
        ({"lr"}, r"metrics must be the name .* got \{'lr'\}"),
    ],
)
def test_metrics_must_be_in_the_history(classifier, metrics, message):
    with pytest.raises(ValueError, match=message):
        ConvergenceDisplay.from_estimator(classifier, metrics=metrics)


def test_metrics_must_be_in_all_histories(classifier):
    message = r"that of 'one' has no 'class_accuracy'. All have \['lr', .*'index_accuracy'\]"
    with pytest.raises(ValueError, match=message):
        ConvergenceDisplay.from_estimators(
            {"two": classifier, "one": fit("single_branch")}, metrics=["lr", "class_accuracy"]
        )


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (ProvenanceClassifier(), NotFittedError, "not fitted"),
        (make_pipeline(ProvenanceVAE()), NotFittedError, "not fitted"),
        (LogisticRegression(), NotFittedError, "not fitted"),
        (LogisticRegression().fit(X, Y), TypeError, "must be a .* got a LogisticRegression"),
        (ProvenanceClassifier, TypeError, "must be a .* got a ABCMeta|must be a .* got a type"),
        ([{"lr": 1}], TypeError, "got a list. from_histories draws"),
        (None, TypeError, "got a NoneType"),
    ],
)
def test_estimators_must_have_a_history(classifier, wrong, error, message):
    with pytest.raises(error, match=message):
        ConvergenceDisplay.from_estimator(wrong)
    if error is TypeError:
        message = rf"estimators\['b'\] {message}" if message.startswith("must") else message
    with pytest.raises(error, match=message):
        ConvergenceDisplay.from_estimators({"a": classifier, "b": wrong})


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({}, ValueError, "must hold at least one; got an empty dict"),
        ([], TypeError, "must be a dict of .* by the names in the legend; got a list"),
        (None, TypeError, "got a NoneType"),
    ],
)
@pytest.mark.parametrize("name", ["estimators", "histories"])
def test_several_are_a_dict(name, wrong, error, message):
    with pytest.raises(error, match=f"^{name} .*{message}|^{name} {message}"):
        getattr(ConvergenceDisplay, f"from_{name}")(wrong)


@pytest.mark.parametrize("wrong", [3, None, "abc", [1], {"lr": 1}])
def test_a_history_is_a_list_of_dicts(wrong):
    message = re.escape("histories['b'] must be a list with one dict for each epoch")
    with pytest.raises(TypeError, match=message):
        ConvergenceDisplay.from_histories({"a": [{"lr": 1.0}], "b": wrong})


def test_a_history_has_epochs(monkeypatch):
    def interrupt(self, net, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Callback, "on_epoch_begin", interrupt)
    with pytest.warns(UserWarning, match="interrupted after 0 epochs"):
        clf = fit()
    assert clf.history_ == []
    with pytest.raises(ValueError, match="the history of 'ProvenanceClassifier' has no epochs"):
        ConvergenceDisplay.from_estimator(clf)
