"""The scoreboard as a whole: methods of all kinds, results, reasons, stores, errors."""

from threading import Lock

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor
from sklearn_provenance.attribution import (
    GradDotAttributor,
    LastLayerAttributor,
    RepSimAttributor,
    TRAKAttributor,
)
from sklearn_provenance.datasets import load_counterfactual_truth
from sklearn_provenance.evaluation import (
    PointsDisplay,
    Recipe,
    brittleness,
    linear_datamodeling_score,
    scoreboard,
)
from sklearn_provenance.evaluation._scoreboard_methods import _flat
from sklearn_provenance.evaluation._scoreboard_result import relative_quality
from sklearn_provenance.evaluation.criteria import NotMeasured
from tests.evaluation.attributors import Counted, Told, fits
from tests.evaluation.test_criteria import X, y
from tests.evaluation.test_criteria import rows as make_rows

X_queries, y_queries = make_rows(24, 1)
DATA = X, y, X_queries, y_queries
MODEL = LogisticRegression(max_iter=1000)


def products(model, rows, labels, queries, of_queries):
    return queries @ rows.T


def frame_of(result):
    return result.to_frame().set_index(["method", "criterion"])


def test_all_criteria_of_a_classifier():
    methods = {"last layer": LastLayerAttributor(MODEL), "products": products}
    options = {"lds": {"n_masks": 6}, "brittleness": {"size": 2}, "shortcut": {"share": 0.9}}
    names = [
        *("lds", "brittleness", "backdoor", "shortcut", "mixed", "subclass"),
        *("label_errors", "label_disagreement", "randomisation", "stability"),
    ]
    result = scoreboard(methods, *DATA, criteria={n: options.get(n, {}) for n in names})
    assert result.methods == ("last layer", "products", "random", "loss", "similarity")
    assert list(result.criteria) == names
    assert result.reasons == {}
    assert np.isfinite(result.scores).all()
    frame = frame_of(result)
    assert frame.shape[0] == 50
    line = frame.loc[("last layer", "label_errors")]
    assert line["score"] > 0.8 > line["chance"] == 0.5
    assert line["definition"].startswith("AUROC of self-influence")
    assert (line["lowest"], line["highest"], line["best"], line["n"]) == (0, 1, 1, 12)
    assert frame.loc[("similarity", "randomisation"), "score"] == pytest.approx(1)
    assert list(result.summary().columns[:3]) == ["method", "lds", "lds_se"]
    np.testing.assert_array_equal(result.means("lds")[0], result.scores[:, 0])
    for i, name in enumerate(names):
        means = np.nanmean(result.values[name], axis=1)
        np.testing.assert_allclose(means, result.scores[:, i])
    text = repr(result).splitlines()
    assert text[0] == "Scoreboard, 120 rows, 24 queries"
    assert len(text) == 9


def test_scores_are_those_of_the_protocols():
    names = {"lds": {"n_masks": 10}, "brittleness": {"size": 6}}
    result = scoreboard({"RepSim": RepSimAttributor(MODEL)}, *DATA, criteria=names)
    fitted = {"RepSim": RepSimAttributor(MODEL, candidates="all").fit(X, y)}
    protocol = linear_datamodeling_score(fitted, *DATA, model=MODEL, n_masks=10, n_repeats=1)
    np.testing.assert_allclose(result.values["lds"][0], protocol.correlations[0])
    assert result.standard_errors[0, 0] == pytest.approx(protocol.standard_errors[0])
    same_class = RepSimAttributor(MODEL, candidates="same_class").fit(X, y)
    removed = brittleness(same_class, *DATA, model=MODEL, sizes=6, early_stop=False)
    np.testing.assert_allclose(result.values["brittleness"][0], removed.margin_drop[0, :, 0])


def test_arrays_are_measured_on_the_rows_given_only():
    scores = X_queries @ X.T
    given = {"array": scores, "tensor": torch.from_numpy(scores), "function": products}
    criteria = {"lds": {"n_masks": 5}, "brittleness": {}, "subclass": {}, "stability": {}}
    result = scoreboard(given, *DATA, model=MODEL, criteria=criteria, baselines=False)
    np.testing.assert_array_equal(result.scores[0, :2], result.scores[2, :2])
    np.testing.assert_array_equal(result.scores[1, :2], result.scores[2, :2])
    assert np.isnan(result.scores[:2, 2:]).all()
    assert np.isfinite(result.scores[2]).all()
    assert "pass a function" in result.reasons["array", "subclass"]
    assert "stability, array, tensor: it asks for scores of other rows" in repr(result)


def test_shipped_truth_is_used_and_nothing_is_trained_for_it():
    truth = load_counterfactual_truth("breast_cancer")
    truth["estimator"] = Counted(max_iter=2000)
    methods = {"influence": InfluenceAttributor(truth.estimator)}
    n_fits, result = fits(scoreboard, methods, truth=truth, criteria=["lds"])
    assert n_fits == 1
    fitted = InfluenceAttributor(LogisticRegression(max_iter=2000)).fit(truth.data, truth.target)
    data = truth.data, truth.target, truth.queries, truth.query_target
    known = {"masks": truth.masks, "margins": truth.margins.mean(1)}
    protocol = linear_datamodeling_score(fitted, *data, **known)
    assert result.scores[0, 0] == pytest.approx(protocol.scores[0], abs=1e-3)
    assert result.scores[0, 0] > 0.85


def test_a_run_goes_on_where_it_was(tmp_path):
    model = Counted(max_iter=1000)
    methods = {"last layer": LastLayerAttributor(model)}
    criteria = {"lds": {"n_masks": 6}, "subclass": {}, "label_errors": {}}
    call = (scoreboard, methods, *DATA)
    n_all, expected = fits(*call, criteria=criteria)
    assert n_all == 1 + 6 + 1 + 1
    options = {"criteria": criteria, "store": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        fits(*call, **options, stop_at=8)
    n_rest, result = fits(*call, **options)
    assert n_rest == 1  # all but the model with wrong labels is known
    np.testing.assert_array_equal(result.scores, expected.scores)
    np.testing.assert_array_equal(result.standard_errors, expected.standard_errors)
    assert repr(result) == repr(expected)
    n_none, again = fits(*call, **options)
    assert n_none == 0
    np.testing.assert_array_equal(again.values["lds"], expected.values["lds"])
    # Another method, option or seed measures what is new.
    n_new, _ = fits(scoreboard, {**methods, "products": products}, *DATA, model=model, **options)
    assert n_new == 3
    n_other, _ = fits(*call, criteria={"lds": {"n_masks": 5}}, store=tmp_path, random_state=1)
    assert n_other == 6


def test_reasons_are_kept_too(tmp_path):
    call = {"criteria": ["subclass"], "store": tmp_path, "model": Counted()}
    data = X, y % 2, X_queries, y_queries % 2
    for _ in range(2):
        result = scoreboard({"products": products}, *data, **call)
        assert set(result.reasons) == {(name, "subclass") for name in result.methods}
        assert "subclass, all methods: it needs four classes" in repr(result)


def test_a_damaged_cell_is_refused(tmp_path):
    call = {"criteria": ["subclass"], "store": tmp_path, "model": MODEL}
    scoreboard({"products": products}, *DATA, **call)
    for path in tmp_path.rglob("cell-*.npz"):
        path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="not a usable npz file"):
        scoreboard({"products": products}, *DATA, **call)


def test_what_a_forest_lacks_is_said():
    forest = RandomForestClassifier(10, random_state=0)
    methods = {"InfoGain": InfoGainAttributor(forest), "TRAK": TRAKAttributor(forest)}
    criteria = ["subclass", "randomisation"]
    result = scoreboard(methods, *DATA, criteria=criteria, baselines=False)
    assert result.scores[0, 0] > 0.5
    assert result.reasons["TRAK", "subclass"].startswith("TypeError: ")
    for name in methods:
        assert "RandomForestClassifier keeps no weights" in result.reasons[name, "randomisation"]
    assert np.isnan(result.chance[1])


def test_a_network_with_its_recipe(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 4))
    options = {
        "model": network,
        "recipe": Recipe(lr=0.1, max_epochs=10),
        "device": "cpu",
        "criteria": {"lds": {"n_masks": 6}, "brittleness": {}, "backdoor": {}, "randomisation": {}},
        "store": tmp_path,
    }
    methods = {"GradDot": GradDotAttributor(network), "RepSim": RepSimAttributor(network)}
    result = scoreboard(methods, X.astype(np.float32), *DATA[1:], **options)
    assert result.reasons == {}
    assert abs(result.scores[0, 3]) < 0.9  # gradients change with the weights
    again = scoreboard(methods, X.astype(np.float32), *DATA[1:], **options)
    np.testing.assert_array_equal(again.scores, result.scores)


def test_a_regressor_is_measured_by_what_suits_it():
    rows, target = load_diabetes(return_X_y=True)
    rows = StandardScaler().fit_transform(rows)
    data = rows[:100], target[:100], rows[100:120], target[100:120]
    methods = {"influence": InfluenceAttributor(Ridge())}
    result = scoreboard(methods, *data)
    measured = [name for name in result.criteria if ("influence", name) not in result.reasons]
    assert measured == ["lds", "brittleness", "label_errors", "randomisation", "stability"]
    scores = dict(zip(result.criteria, result.scores[0], strict=True))
    assert scores["lds"] > 0.8
    assert scores["brittleness"] > result.scores[1, 1]
    assert scores["label_errors"] > 0.8
    assert "predicts numbers" in result.reasons["random", "backdoor"]


def test_a_frame_is_measured_by_what_leaves_rows_as_they_are():
    pd = pytest.importorskip("pandas")
    columns = [f"c{i}" for i in range(16)]
    data = pd.DataFrame(X, columns=columns), y, pd.DataFrame(X_queries, columns=columns), y_queries
    methods = {"last layer": LastLayerAttributor(MODEL)}
    criteria = ["backdoor", "subclass", "label_errors", "stability"]
    result = scoreboard(methods, *data, criteria=criteria)
    assert "got a DataFrame" in result.reasons["random", "backdoor"]
    plain = scoreboard(methods, *DATA, criteria=criteria[1:])
    np.testing.assert_allclose(result.scores[:, 1:], plain.scores)


def test_nothing_of_the_callers_changes():
    rows, queries = X.copy(), X_queries.copy()
    attributor = LastLayerAttributor(LogisticRegression(max_iter=1000))
    scoreboard(
        {"last layer": attributor},
        *(rows, y, queries, y_queries),
        criteria=["backdoor", "shortcut", "mixed", "randomisation"],
    )
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(queries, X_queries)
    assert not hasattr(attributor, "classes_")
    assert not hasattr(attributor.estimator, "coef_")


def test_figures():
    criteria = {"subclass": {}, "randomisation": {}}
    data = *DATA[:2], X_queries[:20], y_queries[:20]
    methods = {"last layer": LastLayerAttributor(MODEL), "array": X_queries[:20] @ X.T}
    result = scoreboard(methods, *data, criteria=criteria, baselines=False)
    display = result.plot()
    assert isinstance(display, PointsDisplay)
    assert display.text_[1, 0].get_text() == "-"
    assert display.text_[0, 0].get_text() == f"{result.scores[0, 0]:.2f}"
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == list(criteria)
    shades = np.array([[0.9, 0.1]])
    table = PointsDisplay(shades, rows=["a", "b"], names=["c"], shades=shades).plot()
    assert [text.get_color() for text in table.text_[:, 0]] == ["white", "black"]
    figure, axes = plt.subplots(figsize=(3, 2))
    table = PointsDisplay(shades, rows=["a", "b"], names=["c"], shades=shades).plot(axes)
    assert figure.get_size_inches().tolist() == [3, 2]
    without_errors = PointsDisplay(shades, rows=["a", "b"], names=["c"]).plot()
    np.testing.assert_array_equal(without_errors.errorbars_[0][0].get_xdata(), shades[0])
    points = result.plot(what="subclass")
    assert isinstance(points, PointsDisplay)
    assert points.ax_.get_xlabel() == "subclass (dotted: chance)"
    with pytest.raises(ValueError, match="what must be one of"):
        result.plot(what="lds")
    with pytest.raises(TypeError, match=r"takes ax and what, got \['color'\]"):
        result.plot(color="red")
    forest = scoreboard(
        {"r": products}, *data, model=RandomForestClassifier(2), criteria=["randomisation"]
    )
    with pytest.raises(ValueError, match="no method was measured by 'randomisation'"):
        forest.plot(what="randomisation")


def test_shades_run_from_chance_to_the_best():
    scores = np.array([[0.5, 1.0, 4.0, np.nan], [0.75, 0.0, 1.0, 0.2], [0.1, -0.5, -1.0, 0.2]])
    chance, best = np.array([0.5, 0.0, 0.0, 0.2]), np.array([1.0, 0.0, np.inf, 1.0])
    highest = np.array([1.0, 1.0, np.inf, 1.0])
    quality = relative_quality(scores, chance, best, highest)
    expected = [[0.0, 0.0, 1.0, np.nan], [0.5, 1.0, 0.25, 0.0], [0.0, 0.5, 0.0, 0.0]]
    np.testing.assert_allclose(quality, expected)


def wrong_shape(model, rows, labels, queries, of_queries):
    return np.zeros(len(queries))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"attributors": {}}, ValueError, "one or more methods"),
        ({"attributors": {"a": 3}}, TypeError, "attributors must be attributors, functions"),
        ({"attributors": {"a": LastLayerAttributor}}, TypeError, "attributors must be"),
        ({"attributors": {"loss": products}}, ValueError, "'loss', which is a baseline"),
        (
            {"attributors": {"a": np.zeros((3, 3))}},
            ValueError,
            r"'a'\] must be finite .*\(24, 120\)",
        ),
        ({"attributors": {"a": wrong_shape}}, ValueError, r"scores of 'a' for 'subclass'"),
        ({"criteria": ["lsd"]}, ValueError, r"criteria must be one or more of \['lds'"),
        ({"criteria": []}, ValueError, "criteria must be one or more"),
        ({"criteria": {"lds": {"n": 3}}}, ValueError, r"criteria\['lds'\] must be a dict"),
        ({"model": None}, ValueError, "model must be given, because"),
        ({"X": None}, ValueError, "X must be given, or truth"),
        ({"y_queries": np.full(24, 9)}, ValueError, "y_queries must hold labels that y has"),
        ({"y": y[:5]}, ValueError, "y must have one label for each of the 120 rows"),
        ({"truth": {"data": X}}, ValueError, "must be None with it"),
        ({"random_state": -1}, ValueError, "'random_state' parameter"),
    ],
)
def test_bad_input(change, error, match):
    arguments = {"attributors": {"a": products}, "criteria": ["subclass"], "model": MODEL}
    arguments |= dict(zip(("X", "y", "X_queries", "y_queries"), DATA, strict=True))
    with pytest.raises(error, match=match):
        scoreboard(**arguments | change)


class Plain(Told):
    """An attributor that explains a model, and has no other parameters."""

    def __init__(self, estimator=None):
        self.estimator = estimator

    def fit(self, X, y):
        self.function = lambda x, label: X @ x
        return self


class OfNoModel(Plain):
    def __init__(self):
        pass


def test_attributors_need_one_parameter():
    options = {"criteria": ["subclass"], "baselines": False}
    methods = {"plain": Plain(MODEL), "products": products}
    result = scoreboard(methods, *DATA, **options)
    assert result.scores[0, 0] == result.scores[1, 0]
    with pytest.raises(TypeError, match="must have a parameter estimator"):
        scoreboard({"a": OfNoModel()}, *DATA, model=MODEL, **options)


def test_rows_and_scores_may_be_tensors():
    def of_tensors(model, rows, labels, queries, of_queries):
        return (torch.as_tensor(queries) @ torch.as_tensor(rows).T).requires_grad_()

    data = torch.as_tensor(X), y, torch.as_tensor(X_queries), y_queries
    criteria = ["backdoor", "subclass"]
    methods = {"products": of_tensors}
    network = torch.nn.Linear(16, 4).double()
    options = {"model": network, "recipe": Recipe(lr=0.5, max_epochs=20), "criteria": criteria}
    result = scoreboard(methods, *data, **options)
    assert result.reasons == {}
    expected = scoreboard({"products": products}, *DATA, **options)
    np.testing.assert_allclose(result.scores, expected.scores)


def test_similarity_takes_what_has_numbers():
    np.testing.assert_array_equal(_flat(csr_array(X)), X)
    np.testing.assert_array_equal(_flat(torch.as_tensor(X).reshape(-1, 4, 4)), X)
    with pytest.raises(NotMeasured, match="got a mapping of inputs, dict"):
        _flat({"ids": [[1.0], [2.0]]})
    with pytest.raises(NotMeasured, match="similarity compares numbers, which rows are not: could"):
        _flat(np.array([["a text"], ["another"]]))


def test_a_model_that_cannot_be_told_from_others_is_not_kept(tmp_path):
    model = Counted(max_iter=1000)
    model.lock = Lock()
    call = {"criteria": ["subclass"], "baselines": False, "model": model}
    with pytest.warns(UserWarning, match="lock"):
        result = scoreboard({"products": products}, *DATA, store=tmp_path, **call)
    assert np.isfinite(result.scores).all()
    assert not list(tmp_path.rglob("*.npz"))


def test_bad_truth():
    truth = load_counterfactual_truth("breast_cancer")
    keys = ("data", "target", "queries", "query_target", "estimator")
    part = {key: truth[key] for key in keys}
    with pytest.raises(ValueError, match=r"has no \['masks', 'margins'\]"):
        scoreboard({"a": products}, truth=part)
    truth["margins"] = truth.margins[:3]
    with pytest.raises(ValueError, match="margins must be"):
        scoreboard({"a": products}, truth=truth, criteria=["lds"])


def test_models_of_attributors_must_agree():
    methods = {
        "a": LastLayerAttributor(LogisticRegression()),
        "b": LastLayerAttributor(LogisticRegression(C=3.0)),
    }
    with pytest.raises(ValueError, match="different estimators, got 2"):
        scoreboard(methods, *DATA)
    cancer = load_breast_cancer().data.shape[1]
    network = {"a": GradDotAttributor(torch.nn.Linear(cancer, 2))}
    with pytest.raises(ValueError, match="weights before training"):
        scoreboard(network, *DATA)


def test_errors_of_functions_say_where_they_arose():
    def broken(*arguments):
        raise ValueError("no scores today")

    with pytest.raises(ValueError, match="no scores today") as caught:
        scoreboard({"broken": broken}, *DATA, model=MODEL, criteria=["subclass"])
    assert caught.value.__notes__ == ["While measuring 'broken' by 'subclass'."]


def test_neighbouring_criteria_share_what_they_ask_for():
    n_calls = {"function": 0}

    def counted(*arguments):
        n_calls["function"] += 1
        return products(*arguments)

    class CountedAttributor(RepSimAttributor):
        n_fits = 0

        def fit(self, rows, labels):
            type(self).n_fits += 1
            return super().fit(rows, labels)

    methods = {"function": counted, "attributor": CountedAttributor(MODEL)}
    call = {"model": MODEL, "baselines": False}
    names = ["label_errors", "label_disagreement", "subclass"]
    together = scoreboard(methods, *DATA, criteria=names, **call)
    assert n_calls["function"] == CountedAttributor.n_fits == 2  # wrong labels, and groups
    for name in names:
        alone = scoreboard(methods, *DATA, criteria=[name], **call)
        np.testing.assert_array_equal(together.values[name], alone.values[name])
