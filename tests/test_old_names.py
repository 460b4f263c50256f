"""Names of results and displays that have gone still work for a while, and say so."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import ProvenanceClassifier, evaluation, inspection
from sklearn_provenance.evaluation import LinesDisplay, PointsDisplay, Result
from sklearn_provenance.inspection import ClustersDisplay, RowsDisplay

OLD_RESULTS = [
    *(f"{name}Result" for name in ("Brittleness", "Coreset", "LDS", "LabelError", "Realism")),
    *(f"{name}Result" for name in ("RelativeInformation", "Retrieval", "Robustness")),
]
LINES = ("Brittleness", "Coreset", "LabelError", "Realism", "RelativeInformation")
X = np.random.default_rng(0).normal(size=(24, 4))
Y = np.arange(24) % 2


def old(module, name):
    with pytest.warns(FutureWarning, match=rf"{name} will be removed in version 0\.3"):
        return getattr(module, name)


@pytest.fixture(scope="module")
def clf():
    options = {"width": "small", "max_epochs": 1, "device": "cpu", "random_state": 0}
    return ProvenanceClassifier("class_independent", **options).fit(X, Y)


def test_results_have_one_class():
    assert all(old(evaluation, name) is Result for name in OLD_RESULTS)
    assert old(inspection, "MemorisationResult") is Result
    assert old(inspection, "EmbeddingClusters") is Result


def test_displays_have_a_few_classes():
    assert all(issubclass(old(evaluation, f"{name}Display"), LinesDisplay) for name in LINES)
    for name in ("LDS", "Retrieval", "Robustness"):
        assert issubclass(old(evaluation, f"{name}Display"), PointsDisplay)


def test_other_names_are_unknown():
    for module in (evaluation, inspection):
        with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
            _ = module.Nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not hasattr(evaluation, "__path_of_nothing__")


def test_results_are_drawn_by_old_displays():
    pytest.importorskip("matplotlib")
    scores = {"loss": np.arange(24.0)}
    result = evaluation.label_error_ranking(scores, Y == 1)
    display = old(evaluation, "LabelErrorDisplay")
    drawn = display.from_result(result, linewidth=3)
    assert drawn.lines_[0].get_linewidth() == 3
    assert isinstance(drawn, display)
    assert not isinstance(drawn, old(evaluation, "LDSDisplay"))


def test_old_displays_measure_and_draw(clf):
    plt = pytest.importorskip("matplotlib.pyplot")
    anomalies = old(inspection, "AnomalyDisplay").from_estimator(clf, "entropy", kind="bars", n=2)
    assert isinstance(anomalies, RowsDisplay)
    assert len(anomalies.axes_[0].patches) == 4
    clusters = old(inspection, "EmbeddingDisplay").from_estimator(
        clf, label=1, n_clusters=2, embedding="pca"
    )
    assert isinstance(clusters, ClustersDisplay)
    assert clusters.exemplar_axes_.shape == (2, 1)
    display = old(inspection, "MembershipDisplay")
    models = LogisticRegression().fit(X, Y)
    members = display.from_estimator(models, X[:12], X[12:], statistic="entropy", linewidth=3)
    assert members.lines_[0].get_linewidth() == 3
    scored = display.from_predictions(Y == 1, {"a": X[:, 0]})
    assert scored.names[0].startswith("a (AUC")
    curve = old(inspection, "MemorisationDisplay").from_estimator(
        clf, X, Y, X, Y, param_range=(0.1, 0.9), measures=("test_top1",)
    )
    assert len(curve.lines_) == 1
    plt.close("all")


def test_results_are_read_only():
    result = evaluation.label_error_ranking({"loss": np.arange(24.0)}, Y == 1)
    with pytest.raises(AttributeError, match="read-only"):
        result.auroc = None


def test_unknown_options_of_a_figure_are_named(clf):
    ranking = inspection.anomaly_ranking(clf, "entropy")
    with pytest.raises(TypeError, match=r"takes ax, kind, labels, n, got \['color'\]"):
        ranking.plot(color="red")
