"""Accuracies of memorisation against plain readings of the network, and the curve of them."""

import copy
from collections import Counter

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import (
    LinesDisplay,
    memorisation_curve,
    memorisation_scores,
)
from sklearn_provenance.provenance._index import ClassIndex

from ..checks import thorough
from ..provenance.reference import expected_targets

ARCHITECTURES = ["class_conditional", "class_independent", "single_branch"]


def network(architecture="single_branch", **params):
    params = {"width": "small", "max_epochs": 8, "device": "cpu", "random_state": 0, **params}
    return ProvenanceClassifier(architecture, **params)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    y = np.array(["setosa", "versicolor", "virginica"])[y]
    rng = np.random.default_rng(0)
    X = (X + rng.normal(scale=1.5, size=X.shape)).astype(np.float32)  # classes that overlap
    return X[::2], y[::2], X[1::2], y[1::2]


@pytest.mark.parametrize(
    ("routing", "subset"),
    [("hard", 0.6), ("soft", None), *thorough(("hard", None), ("soft", 0.6))],
)
@pytest.mark.parametrize(
    "architecture", ["class_conditional", "class_independent", "single_branch"]
)
def test_scores_against_plain_readings(architecture, routing, subset, iris):
    X, y, X_test, y_test = iris
    clf = network(architecture, routing=routing, index_subset=subset, alpha=0.4).fit(X, y)
    scores = memorisation_scores(clf, X_test, y_test, k=(3, 5))
    own = clf.index_
    proba = clf.index_proba(X[own])
    named = proba.argmax(1)
    np.testing.assert_array_equal(named, clf.predict_index(X[own]))
    expected = {
        "index_accuracy": np.mean(named == own),
        "attribution_accuracy": np.mean((named == own) & (clf.predict(X[own]) == y[own])),
    }
    # Targets of Eq. 1 as a dense matrix over local positions.
    index = ClassIndex.from_labels(np.unique(y, return_inverse=True)[1], 3, own)
    targets = expected_targets(
        torch.tensor(index.local),
        torch.tensor(index.sizes[index.labels]),
        0.4,
        index.members.shape[1],
    )
    output = index.output_of_row[named]
    same = index.labels[output] == index.labels
    drawn = targets.numpy()[np.arange(len(own)), index.local[output]]
    expected["sampled_target_accuracy"] = np.where(same, drawn, 0).mean()
    # The joint probability of rows of one class is in the order of that inside the class.
    soft = copy.copy(clf).set_params(routing="soft").index_proba(X[own])
    inside = np.where(y[None, :] == y[own, None], soft, -1)
    expected["local_index_accuracy"] = np.mean(inside.argmax(1) == own)
    for split, rows, labels in (("train", X[own], y[own]), ("test", X_test, y_test)):
        classes = clf.explain(rows, k=5).exemplar_labels
        expected[f"{split}_class_accuracy"] = clf.score(rows, labels)
        expected[f"{split}_top1"] = np.mean(classes[:, 0] == labels)
        for k in (3, 5):
            # Counter is in order of first occurrence, which is that of rank.
            most = [Counter(row[:k].tolist()).most_common(1)[0][0] for row in classes]
            expected[f"{split}_majority@{k}"] = np.mean(np.array(most) == labels)
            expected[f"{split}_any@{k}"] = np.mean((classes[:, :k] == labels[:, None]).any(1))
    assert scores.keys() == expected.keys()
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value), name
    assert 0 < scores["local_index_accuracy"] < 1  # a case in which accuracies differ
    assert scores["index_accuracy"] <= scores["local_index_accuracy"]


def test_padding_has_no_say(iris):
    # Two rows of class "a" and 30 of "b": under hard routing three exemplars of five are missing.
    X, y = iris[0][:32], np.array(["a"] * 2 + ["b"] * 30)
    clf = network("class_conditional", max_epochs=40).fit(X, y)
    scores = memorisation_scores(clf, X, y, k=5)
    for name in ("top1", "majority@5", "any@5"):
        assert scores[f"test_{name}"] == scores["test_class_accuracy"] == clf.score(X, y)


def test_a_row_alone_in_its_class_is_its_own_target(iris):
    X, y = iris[0][:6], np.array(["a", "a", "a", "b", "c", "d"])
    clf = network(max_epochs=60, alpha=0.4).fit(X, y)
    named = clf.predict_index(X)
    mates = named[:3][named[:3] != np.arange(3)]
    assert (mates < 3).all()
    drawn = [0.6 if row == i else 0.2 for i, row in enumerate(named[:3])]  # a mate: alpha / 2
    assert (named[3:] == [3, 4, 5]).all()
    scores = memorisation_scores(clf, X, y, k=2)
    assert scores["sampled_target_accuracy"] == pytest.approx((sum(drawn) + 3) / 6)


def test_curve_is_fits_of_clones(iris, capsys):
    X, y, X_test, y_test = iris
    estimator = network(max_epochs=3, random_state=7)
    before = estimator.get_params()
    variants = {"drawn": {"mixing": "sampled"}, "expected": {"mixing": "expected"}}
    arguments = {"param_range": (0.2, 1), "variants": variants, "seeds": (0, 1), "k": 3}
    with joblib.parallel_config("threading"):
        result = memorisation_curve(estimator, X, y, X_test, y_test, n_jobs=2, **arguments)
    assert estimator.get_params() == before
    assert not hasattr(estimator, "net_")
    assert result.scores["test_majority@3"].shape == (2, 2, 2)
    for i, params in enumerate(variants.values()):
        for j, alpha in enumerate((0.2, 1)):
            for seed in (0, 1):
                clf = clone(estimator).set_params(alpha=alpha, random_state=seed, **params)
                expected = memorisation_scores(clf.fit(X, y), X_test, y_test, k=3)
                assert {n: v[i, j, seed] for n, v in result.scores.items()} == expected
    # Without seeds the estimator's own.
    alone = memorisation_curve(estimator, X, y, X_test, y_test, param_range=(0.2,), verbose=1)
    assert "fits: 100%" in capsys.readouterr().err
    expected = memorisation_scores(clone(estimator).set_params(alpha=0.2).fit(X, y), X_test, y_test)
    assert {n: v.item() for n, v in alone.scores.items()} == expected


def test_alpha_trades_rows_for_classes(iris):
    X, y, X_test, y_test = iris
    estimator = network(max_epochs=25)
    result = memorisation_curve(estimator, X, y, X_test, y_test, param_range=(0, 0.5, 1), seeds=0)
    index, drawn = (
        result.scores[name][0, :, 0] for name in ("index_accuracy", "sampled_target_accuracy")
    )
    assert index[0] > 0.95
    assert index[2] < 0.2
    # A network that names each row itself foresees 1 - alpha of the draws.
    assert drawn[0] == index[0]
    assert drawn[1] == pytest.approx(0.5 * index[1], abs=0.02)


def test_other_parameters_and_pipelines(iris):
    X, y, X_test, y_test = iris
    pipeline = make_pipeline(StandardScaler(), network("class_conditional", max_epochs=2))
    result = memorisation_curve(
        pipeline,
        X,
        y,
        X_test,
        y_test,
        param_name="provenanceclassifier__width",
        param_range=("small", "medium"),
        seeds=3,
    )
    scaler = StandardScaler().fit(X)
    clf = network("class_conditional", max_epochs=2, width="medium", random_state=3)
    expected = memorisation_scores(
        clf.fit(scaler.transform(X), y), scaler.transform(X_test), y_test
    )
    assert {n: v[0, 1, 0] for n, v in result.scores.items()} == pytest.approx(expected)
    plt = pytest.importorskip("matplotlib.pyplot")
    ax = result.plot().ax_
    assert [label.get_text() for label in ax.get_xticklabels()] == ["small", "medium"]
    plt.close("all")


def test_tables_and_figures(iris):
    X, y, X_test, y_test = iris
    variants = {"a": {"mixing": "sampled"}, "b": {"architecture": "class_independent"}}
    result = memorisation_curve(
        network(max_epochs=1),
        X,
        y,
        X_test,
        y_test,
        param_range=(0, 0.5),
        variants=variants,
        seeds=(0, 1, 2),
    )
    assert "b, alpha=0.5" in repr(result)
    pytest.importorskip("pandas")
    frame, summary = result.to_frame(), result.summary()
    assert frame.columns.tolist() == ["variant", "alpha", "seed", *result.scores]
    for (variant, alpha), group in frame.groupby(["variant", "alpha"]):
        line = summary[(summary.variant == variant) & (summary.alpha == alpha)]
        assert line.n_seeds.item() == 3
        for name in result.scores:
            assert line[name].item() == pytest.approx(group[name].mean())
            assert line[f"{name}_se"].item() == pytest.approx(group[name].sem())

    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    measures = ("index_accuracy", "test_any@5")
    display = result.plot(measures=measures, ax=ax)
    assert isinstance(display, LinesDisplay)
    assert display.figure_ is figure
    drawn = [bars.lines[0].get_xydata() for bars in display.errorbars_]
    means = [m for name in measures for m in result.means(name)[0]]
    np.testing.assert_array_equal(drawn, [np.column_stack([(0, 0.5), m]) for m in means])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(labels) == ["a", "b", "index accuracy", "test any@5"]
    figure.canvas.draw()
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"estimator": LogisticRegression()}, TypeError, "got LogisticRegression"),
        ({"param_range": ()}, ValueError, "one or more values of alpha"),
        ({"variants": {}}, ValueError, "one or more"),
        ({"variants": {"a": {"alpha": 0}}}, ValueError, "none with 'alpha'"),
        ({"param_name": "beta"}, ValueError, "Invalid parameter 'beta'"),
        ({"k": 0}, ValueError, r"'k' parameter .* Got 0"),
        ({"k": (5, 76)}, ValueError, "from 1 to 75"),
        ({"k": ()}, ValueError, "one or several"),
        ({"y_test": ["setosa"]}, ValueError, "each of the 75 rows"),
        ({"y": ["setosa"]}, ValueError, "each of the 75 rows"),
    ],
)
def test_bad_input(change, error, message, iris):
    arguments = dict(zip(("X", "y", "X_test", "y_test"), iris, strict=True))
    arguments |= {"estimator": network(max_epochs=1), "param_range": (0.5,)}
    with pytest.raises(error, match=message):
        memorisation_curve(**(arguments | change))


def test_bad_input_of_scores(iris):
    X, y, X_test, y_test = iris
    with pytest.raises(TypeError, match="got LogisticRegression"):
        memorisation_scores(LogisticRegression().fit(X, y), X_test, y_test)
    clf = network(max_epochs=1, index_subset=4).fit(X, y)
    with pytest.raises(ValueError, match="from 1 to 4"):
        memorisation_scores(clf, X_test, y_test, k=5)
    with pytest.raises(ValueError, match=r"each of the 75 rows of X_test.* shape \(1,\)"):
        memorisation_scores(clf, X_test, y_test[:1], k=1)
    with pytest.raises(ValueError, match=r"labels that the model knows, .* such as 'other'"):
        memorisation_scores(clf, X_test, np.full(75, "other"), k=1)
    with pytest.raises(ValueError, match="75 of 75 are missing"):
        memorisation_scores(clf, X_test, np.full(75, np.nan), k=1)
