"""Membership inference: who gives away rows, and what is refused."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import (
    MembershipResult,
    membership_inference,
)


def network(**params):
    params = {"width": "small", "max_epochs": 30, "device": "cpu", "random_state": 0, **params}
    return ProvenanceClassifier(**params)


@pytest.fixture(scope="module")
def rows():
    """Noise with labels that say nothing: all that can be learnt is the rows themselves."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 8)).astype(np.float32)
    return X[:200], X[200:], rng.integers(0, 3, 200)


@pytest.fixture(scope="module")
def result(rows):
    X, others, y = rows
    classifiers = {
        "network": network().fit(X, y),
        "untrained": network(max_epochs=1, lr=1e-12).fit(X, y),
        "regression": LogisticRegression().fit(X, y),
    }
    before = {n: v.clone() for n, v in classifiers["network"].net_.module_.state_dict().items()}
    found = membership_inference(classifiers, X, others)
    module = classifiers["network"].net_.module_
    assert not module.training
    assert all((value == before[name]).all() for name, value in module.state_dict().items())
    return found, classifiers


def test_memory_gives_rows_away(result, rows):
    result, classifiers = result
    X, others, _ = rows
    areas = dict(zip(result.attacks, result.auc, strict=True))
    assert list(areas) == [
        *((name, branch, statistic) for name in ("network", "untrained")
          for branch in ("index", "class") for statistic in ("confidence", "entropy")),
        ("regression", "class", "confidence"),
        ("regression", "class", "entropy"),
    ]  # fmt: skip
    assert min(areas["network", "index", s] for s in ("confidence", "entropy")) > 0.95
    untrained = result.select(classifier="untrained")
    assert (abs(result.auc[untrained] - 0.5) < 4 * result.standard_errors[untrained]).all()
    proba = [classifiers["regression"].predict_proba(X_).max(1) for X_ in (X, others)]
    is_member = np.arange(400) < 200
    expected = roc_auc_score(is_member, np.concatenate(proba))
    assert areas["regression", "class", "confidence"] == pytest.approx(expected)


def test_scores_and_curves(result, rows):
    result, classifiers = result
    index = result.select(classifier="network", branch="index", statistic="confidence")
    proba = classifiers["network"].index_proba(rows[0])
    np.testing.assert_allclose(np.exp(result.members[index[0]]), proba.max(1), rtol=1e-5)
    assert result.members.shape == result.nonmembers.shape == (10, 200)
    for attack, auc in enumerate(result.auc):
        false, true = result.curve(attack)
        assert trapezoid(true, false) == pytest.approx(auc)
        for rate in (0.0, 0.1, 1.0):
            found = result.true_positive_rate(rate)[attack]
            # A threshold that takes no more than this share of non-members for members.
            threshold = np.quantile(result.nonmembers[attack], 1 - rate, method="higher")
            least = np.mean(result.members[attack] > threshold)
            assert found >= least
    difference, error = result.difference(0, 1)
    assert difference == pytest.approx(result.auc[0] - result.auc[1])
    assert error < np.hypot(*result.standard_errors[:2])  # the attacks resemble each other
    assert result.difference(3, 3) == (0.0, 0.0)


def test_several_at_once_is_one_after_another(result, rows, capsys):
    result, classifiers = result
    X, others, _ = rows
    alone = membership_inference(classifiers["network"], X, others, verbose=1)
    assert "attacks: 100%" in capsys.readouterr().err
    assert [attack[0] for attack in alone.attacks] == [""] * 4
    np.testing.assert_array_equal(alone.auc, result.auc[:4])
    frozen = membership_inference(FrozenEstimator(classifiers["network"]), X, others)
    np.testing.assert_array_equal(frozen.members, alone.members)


def test_through_a_pipeline(rows):
    X, others, y = rows
    scaler = StandardScaler().fit(X)
    inside = membership_inference(
        make_pipeline(StandardScaler(), network(max_epochs=3)).fit(X, y), X, others
    )
    clf = network(max_epochs=3).fit(scaler.transform(X), y)
    bare = membership_inference(clf, scaler.transform(X), scaler.transform(others))
    assert [attack[1] for attack in inside.attacks] == ["index", "index", "class", "class"]
    np.testing.assert_allclose(inside.members, bare.members, rtol=1e-5)


def test_members_are_the_rows_with_an_output(rows):
    X, others, y = rows
    clf = network(index_subset=0.25, max_epochs=30).fit(X, y)
    result = membership_inference(clf, X[clf.index_], others)
    assert result.auc[0] > 0.9
    with pytest.raises(ValueError, match=r"150 of 200 rows of X_members .*index_.*'mine'"):
        membership_inference({"mine": clf}, X, others)
    with pytest.warns(UserWarning, match="150 of 150 rows of X_nonmembers equal training rows"):
        membership_inference(clf, X[clf.index_], np.delete(X, clf.index_, axis=0))


def test_an_index_branch_without_a_loss_is_not_attacked(rows):
    X, others, y = rows
    clf = network(lambda_index=0, index_subset=3, max_epochs=2).fit(X, y)
    result = membership_inference({"plain": clf}, X, others)
    assert [attack[1] for attack in result.attacks] == ["class", "class"]
    with pytest.raises(ValueError, match="1 of 200 rows of X_members"):
        membership_inference({"plain": clf}, np.vstack([X[1:], others[:1]]), others)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"classifiers": {}}, ValueError, "got none"),
        ({"X_members": np.zeros((1, 2))}, ValueError, "X_members must have 2 or more rows, got 1"),
        ({"X_nonmembers": np.zeros((0, 2))}, ValueError, "X_nonmembers.* at least one row"),
        ({"classifiers": {"a": RidgeClassifier()}}, TypeError, r"must have predict_proba.* as 'a'"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"X_members": np.zeros((2, 2)), "X_nonmembers": np.ones((2, 2))}
    arguments["classifiers"] = LogisticRegression().fit(np.eye(2), [0, 1])
    with pytest.raises(error, match=message):
        membership_inference(**(arguments | change))


def test_tables_and_figures(result, rows):
    result, classifiers = result
    assert "network, index branch, confidence" in repr(result)
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert frame.columns.tolist() == [
        *("classifier", "branch", "statistic", "auc", "auc_se", "tpr@1%fpr"),
        *("n_members", "n_nonmembers"),
    ]
    named = frame[["classifier", "branch", "statistic"]].itertuples(index=False, name=None)
    assert tuple(named) == result.attacks
    np.testing.assert_array_equal(frame.auc, result.auc)

    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    display = result.plot(ax=ax, statistic="entropy")
    assert display.figure_ is figure
    chosen = result.select(statistic="entropy")
    assert display.names[-1].startswith("regression, class branch")
    for line, attack in zip(display.lines_, chosen, strict=True):
        np.testing.assert_array_equal(line.get_xydata().T, result.curve(attack))
        assert line.get_linestyle() == ("-" if result.attacks[attack][1] == "index" else "--")
    figure.canvas.draw()
    X, others, _ = rows
    alone = membership_inference(classifiers["network"], X, others)
    drawn = alone.plot(linewidth=3)
    assert drawn.names[0] == f"index branch (AUC = {alone.auc[0]:.2f})"
    assert drawn.lines_[0].get_linewidth() == 3
    np.testing.assert_array_equal(alone.auc[[0, 2]], result.auc[[0, 2]])
    with pytest.raises(ValueError, match="statistic must be among"):
        result.plot(statistic="loss")
    plt.close("all")


def test_histograms_count_members_and_others(result):
    pytest.importorskip("matplotlib.pyplot")
    result, _ = result
    display = result.plot(kind="histogram", statistic=None)
    assert display.axes_.shape == (2, 5)  # statistics x attacks
    lines = {"confidence": np.exp, "entropy": np.negative}
    for panels, (statistic, measure) in zip(display.axes_, lines.items(), strict=True):
        for panel, number in zip(panels, result.select(statistic=statistic), strict=True):
            groups = [measure(scores[number]) for scores in (result.members, result.nonmembers)]
            for patch, values in zip(panel.patches, groups, strict=True):
                x, y = patch.get_xy().T
                edges = np.unique(x)
                expected = np.histogram(values, edges)[0] / len(values)
                assert expected.sum() == pytest.approx(1)  # no row is outside
                drawn, expected = ({*np.round(v, 9)} for v in (y, [0, *expected]))
                assert drawn == expected
    assert display.axes_[1, 0].get_xlabel() == "entropy (nats)"
    assert display.axes_[0, 0].get_xlim()[1] >= 1
    assert result.plot(kind="histogram").axes_.shape == (1, 5)


def test_histograms_of_scores_from_elsewhere():
    plt = pytest.importorskip("matplotlib.pyplot")
    is_member = np.arange(10) < 6
    scores = {"loss": np.arange(10.0), "norm": np.linspace(0, 1e4, 10)}
    result = MembershipResult.from_predictions(is_member, scores)
    figure, ax = plt.subplots()
    display = result.plot(kind="histogram", ax=ax)
    assert display.figure_ is figure
    assert [panel.get_title() for panel in display.axes_[:, 0]] == ["loss", "norm"]
    for panel, values in zip(display.axes_[:, 0], scores.values(), strict=True):
        drawn = panel.patches[0].get_xy()[:, 0]  # bins are of the units of an attack
        np.testing.assert_allclose([drawn.min(), drawn.max()], [values.min(), values.max()])
    assert display.plot(linewidth=3).figure_ is not figure
    assert display.ax_.patches[0].get_linewidth() == 3
    assert len(np.unique(display.plot(bins=4).ax_.patches[0].get_xy()[:, 0])) == 5
    assert len(np.unique(display.plot(bins=[0, 5, 9]).ax_.patches[0].get_xy()[:, 0])) == 3
    plt.close("all")


def test_histograms_of_a_statistic_of_others():
    plt = pytest.importorskip("matplotlib.pyplot")
    attacks = [("a", "class", "loss"), ("b", "class", "loss")]
    scores = np.array([[2.0, 3.0], [1.0, 4.0]])
    result = MembershipResult.from_scores(attacks, scores, scores - 2)
    display = result.plot(kind="histogram", statistic="loss")
    assert display.axes_.shape == (1, 2)
    assert display.ax_.get_xlabel() == "loss"
    plt.close("all")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "bars"}, ValueError),
        ({"kind": "histogram", "statistic": "loss"}, ValueError),
        ({"kind": "histogram", "linewidth": 2}, TypeError),
    ],
)
def test_what_histograms_refuse(result, options, error):
    result, _ = result
    with pytest.raises(error, match=next(reversed(options))):
        result.plot(**options)


def test_figure_of_scores():
    plt = pytest.importorskip("matplotlib.pyplot")
    rng = np.random.default_rng(0)
    is_member = rng.random(50) < 0.5
    scores = {"a": rng.normal(size=50) + is_member, "b": rng.normal(size=50)}
    result = MembershipResult.from_predictions(is_member, scores)
    np.testing.assert_allclose(result.auc, [roc_auc_score(is_member, s) for s in scores.values()])
    labels = [line.get_label() for line in result.plot().lines_]
    assert labels == [
        f"{name} (AUC = {auc:.2f})" for name, auc in zip("ab", result.auc, strict=True)
    ]
    one = MembershipResult.from_predictions(is_member, scores["a"]).plot()
    assert one.lines_[0].get_label() == f"(AUC = {result.auc[0]:.2f})"
    same = MembershipResult.from_predictions(is_member.astype(int), scores)
    np.testing.assert_array_equal(same.auc, result.auc)
    with pytest.raises(ValueError, match="is_member must be bool, or 0 and 1"):
        MembershipResult.from_predictions(is_member + 1, scores)
    with pytest.raises(ValueError, match="got 1 members of 50 rows"):
        MembershipResult.from_predictions(np.arange(50) == 3, scores)
    with pytest.raises(ValueError, match=r"shape \(n,\), got \(50, 1\)"):
        MembershipResult.from_predictions(is_member[:, None], scores)
    with pytest.raises(ValueError, match="50 numbers for each attack"):
        MembershipResult.from_predictions(is_member, {"a": np.zeros(3)})
    with pytest.raises(ValueError, match="scores of 'b' must not be a masked array"):
        MembershipResult.from_predictions(is_member, {"b": np.ma.zeros(50)})
    plt.close("all")


def test_result_of_scores_alone():
    result = MembershipResult.from_scores(
        [("", "", "loss")], np.array([[2.0, 3.0]]), np.array([[0.0, 1.0]])
    )
    assert result.auc.tolist() == [1.0]
    assert result.standard_errors.tolist() == [0.0]
