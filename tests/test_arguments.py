"""Every public function of evaluation and inspection says which argument is wrong."""

import inspect
import re
import types
import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression

from sklearn_provenance import ProvenanceClassifier, ProvenanceVAE, evaluation, inspection
from sklearn_provenance.attribution import (
    InfoGainAttributor,
    InfoLossAttributor,
    RandomAttributor,
    RepSimAttributor,
)

RNG = np.random.default_rng(0)
Y = np.arange(24) % 2
X = RNG.normal(size=(24, 4)) + 2 * Y[:, None]
X_NEW, Y_NEW = X[:6] + 0.01, Y[:6].copy()
IMAGES = RNG.random((6, 3, 2))
FUNCTIONS = {
    name: getattr(module, name)
    for module in (evaluation, inspection)
    for name in module.__all__
    if isinstance(getattr(module, name), types.FunctionType)
}


@pytest.fixture(scope="module")
def good():
    """Arguments with which each function runs in no time."""
    model = LogisticRegression()
    fitted = RepSimAttributor(model, candidates="all").fit(X, Y)
    clf = ProvenanceClassifier(
        "class_independent", width="small", max_epochs=1, device="cpu", random_state=0
    ).fit(X, Y)
    vae = ProvenanceVAE(2, width="small", max_epochs=1, device="cpu", random_state=0).fit(X, Y)
    image_model = LogisticRegression().fit(IMAGES.reshape(6, 6), Y_NEW)
    rows = {"X": X, "y": Y}
    queries = {"X_queries": X_NEW, "y_queries": Y_NEW}
    test = {"X_test": X_NEW, "y_test": Y_NEW}
    masks = RNG.random((4, 24)) < 0.7
    reference = InfoLossAttributor(model.fit(X, Y), noise_variance=10.0).fit(X, Y)
    gain = InfoGainAttributor(model, noise_variance=10.0).fit(X, Y)
    numbers = RandomAttributor(LinearRegression()).fit(X, X[:, 0])
    training = {"seeds": 0}
    return {
        "backdoor_retrieval": {"attributors": fitted, **queries, "relevant": Y == 1, "k": 3},
        "brittleness": {
            "attributors": fitted, **rows, **queries, "model": model, "sizes": (2,), **training
        },
        "brittleness_scorer": {"model": model},
        "coreset_selection": {
            "attributors": RandomAttributor(model).fit(X, Y), **rows, **queries, **test,
            "model": model, "sizes": [8],
        },
        "frechet_distance": {"features": X, "reference": X},
        "iter_retrain": {"model": model, **rows, "masks": masks, "X_eval": X_NEW},
        "label_disagreement": {"explanation": fitted.explain(k=3), "y": Y},
        "label_error_ranking": {"scores_by_method": {"loss": RNG.random(24)}, "is_error": Y == 1},
        "label_error_scores": {"fitted": fitted, **rows, "k": 3},
        "label_loss": {"model": model, **rows},
        "lds_from_truth": {
            "scores": RNG.random((6, 24)), "masks": masks, "margins": RNG.random((4, 6))
        },
        "linear_datamodeling_score": {
            "attributors": fitted, **rows, **queries, "model": model, "n_masks": 3, "n_repeats": 1
        },
        "realism": {
            "vae": vae, "features": PCA(1).fit(X), "n_samples": 8, "n_bootstrap": 2,
            "threshold": 0.0, "random_state": 0,
        },
        "relative_information": {
            "attributors": gain, "reference": reference, **queries, "sizes": (2,)
        },
        "retrain": {"model": model, **rows, "masks": masks, "X_eval": X_NEW, "y_eval": Y_NEW},
        "robustness": {
            "classifiers": image_model, "X": IMAGES.reshape(6, 6), "y": Y_NEW,
            "image_shape": (3, 2), "distortions": {"noise": ("gaussian_noise", 0.1)},
        },
        "scoreboard": {
            "attributors": fitted, **rows, **queries, "model": model,
            "criteria": {"lds": {"n_masks": 3}},
        },
        "self_influence": {"fitted": fitted, **rows},
        "target_disagreement": {"explanation": numbers.explain(k=3), "y": X[:, 0]},
        "anomaly_ranking": {"classifier": clf, "k": 3},
        "embedding_clusters": {
            "classifier": clf, **rows, "label": 1, "n_clusters": 2, "embedding": "pca"
        },
        "find_label_issues": {"estimator": model, **rows, "cv": 2},
        "index_entropy": {"classifier": clf, "X": X},
        "membership_inference": {
            "classifiers": clf, "X_members": X, "X_nonmembers": X_NEW
        },
        "memorisation_curve": {
            "estimator": ProvenanceClassifier(width="small", max_epochs=1, device="cpu"),
            **rows, **test, "param_range": (0.5,), "k": 2,
        },
        "memorisation_scores": {"estimator": clf, **test, "k": 2},
        "report": {"fitted": fitted, **test, "k": 2, "suspicious": None},
    }  # fmt: skip


NAN_LABELS = np.full(24, np.nan)
UNFITTED = RepSimAttributor(LogisticRegression())
# Wrong values by the parameters for which they are wrong, in whatever function.
WRONG = {
    "attributors fitted classifiers classifier estimator explanation reference vae": [
        *(None, True, 3, "abc", [1, 2], np.ones(3), {}, LogisticRegression, InfoGainAttributor),
        UNFITTED,
    ],
    "model": [
        *(3, True, "abc", [1], np.ones(3), RepSimAttributor(LogisticRegression())),
    ],
    "X X_queries X_test X_eval X_members X_nonmembers X_reference": [
        *(3, True, "abc", b"abc", np.ones((0, 4)), [], np.float64(3.0), object()),
    ],
    "y y_queries y_test": [
        *(3, True, "abc", [], np.ones((3, 2)), np.ones(7), np.ones((24, 2)), np.ones((6, 2))),
        *(NAN_LABELS, NAN_LABELS[:6], [None] * 24, [None] * 6, np.float64(1.0)),
    ],
    "masks": [3, True, "abc", np.ones(24, bool), np.ones((4, 24)), np.zeros((4, 24), bool), []],
    "sizes": [None, True, 0, -1, 2.5, "abc", [3, 2], [[2]], [], [np.nan], [True], 10**6],
    "seeds": [-1, True, 1.5, "abc", [1, 1], [], [np.nan], [True], [[1]]],
    "k mrr_k size n_queries n_masks n_repeats n_samples n_bootstrap n_clusters n_exemplars n_rows "
    "max_features": [True, 0, -1, 2.5, "abc", np.nan, [[1]], np.inf],
    "share threshold": [None, True, -1, 2, np.nan, "abc", [0.5], np.inf],
    "early_stop weighted baselines": [None, 3, "abc", np.nan, [True]],
    "balanced": [None, 3, "abc", [], [True, True], [[True]]],
    "verbose": [None, -1, "abc", np.nan, 2.5],
    "recipe forward store client": [3, True, np.nan, [1]],
    "group_size": [None, True, 0, -1, 2.5, "abc", np.nan],
    "device": [None, 3, True, np.nan, [1]],
    "n_jobs": [True, 2.5, "abc", np.nan, [1]],
    "random_state": [-1, 2.5, "abc", np.nan, [1]],
    "evaluate direction targets": [None, 3, True, "abc", np.nan],
    "normalize": [3, "abc", np.nan, [True]],
    "features": [None, 3, True, "abc", [1]],
    "scores margins": [
        *(3, True, "abc", [], np.ones(3), np.full((6, 24), np.nan), np.full((4, 6), np.nan)),
        *([["a"]], np.ones((2, 2, 2))),
    ],
    "relevant is_error": [None, 3, True, "abc", [], np.zeros(24, bool), np.ones(24), [[[True]]]],
    "scores_by_method": [
        *(None, 3, [1], {}, {"a": np.ones(24)}, {"loss": None}, {"loss": "abc"}),
        *({"loss": NAN_LABELS}, {"loss": np.ones((24, 2))}, {"loss": np.ones(3)}),
    ],
    "inspected": [None, 3, True, "abc", [2], [-1], [np.nan], ["a"], [True], [None]],
    "image_shape": [3, True, "bad", (), (3,), (0, 2), (3, -2), (3.0, 2), (True, 6), ("a", 2),
                    (np.nan, 2), (4, 4)],
    "distortions": [3, True, "abc", ["a"], {"a": 3}, {"a": None}, {"a": ("rotation",)}],
    "by": [None, 3, True, "abc", [], [1], NAN_LABELS, np.ones((24, 2)), ["a"] * 24],
    "label": [None, [1], np.ones((2, 2)), 7, "abc", np.nan, ()],
    "embedding": [None, 3, True, "abc"],
    "cv": [None, True, 1, 2.5, "abc", np.nan],
    "groups": [3, True, "abc"],
    "predicted": [3, True, "abc", [1], NAN_LABELS, np.ones((24, 5))],
    "sample_id": [3, True, "abc", [1], NAN_LABELS],
    "param_name": [None, 3, True],
    "param_range": [None, 3, True, "abc", []],
    "variants": [3, True, "abc", {}, {"a": 3}, {"a": {"alpha": 1}}],
    "criteria": [3, True, "abc", [], {}, ["abc"], [3], {"lds": 3}, {"lds": {"abc": 1}}],
    "truth": [3, True, "abc", [1], {}, {"data": X}],
    "suspicious": [3, True, "abc", [1], NAN_LABELS, np.ones((24, 2)), ["a"] * 24],
    "path title": [3, True, np.nan, [1]],
    "label_names": [3, True],
}  # fmt: skip
WRONG = {name: values for names, values in WRONG.items() for name in names.split()}


# Parameters whose meaning in these functions is another.
OTHERS = {("frechet_distance", "reference")}
# Where None is a choice.
MAY_BE_NONE = {
    *(("brittleness", "threshold"), ("coreset_selection", "balanced"), ("report", "embedding")),
}
# Functions that an attributor may be given to that is not fitted.
FITS_CLONES = {"find_label_issues", "scoreboard"}


def parameters(name):
    found = set(inspect.signature(FUNCTIONS[name]).parameters) - {"options"}
    return found | ({"seeds", "recipe", "evaluate"} if name == "iter_retrain" else set())


CASES = [
    (name, parameter)
    for name in FUNCTIONS
    for parameter in sorted(parameters(name))
    if parameter in WRONG and (name, parameter) not in OTHERS
]


def wrong_values(name, parameter):
    """Values that a function must refuse."""
    for value in WRONG[parameter]:
        is_choice = value is None and (name, parameter) in MAY_BE_NONE
        if not is_choice and not (value is UNFITTED and name in FITS_CLONES):
            yield value


def test_every_function_has_arguments(good):
    assert good.keys() == FUNCTIONS.keys()
    missing = {p for name in FUNCTIONS for p in parameters(name)} - WRONG.keys()
    assert missing <= {"y_eval"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_good_arguments_are_good(good, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert FUNCTIONS[name](**good[name]) is not None


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_wrong_arguments_are_named(good, name, parameter):
    for value in wrong_values(name, parameter):
        arguments = good[name] | {parameter: value}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                FUNCTIONS[name](**arguments)
        except (TypeError, ValueError) as error:
            said = str(error)
        else:
            pytest.fail(f"{parameter}={value!r} raised no error")
        # An estimator that is not fitted names itself.
        named = re.search(rf"(?<!\w){parameter}(?!\w)", said) or "not fitted" in said
        assert named, f"{parameter}={value!r}: {said}"


@pytest.mark.parametrize(
    ("name", "call", "parameter"),
    [
        ("brittleness", lambda r: r.means("bad"), "what"),
        ("memorisation_curve", lambda r: r.means("bad"), "what"),
        ("memorisation_curve", lambda r: r.plot(measures=["bad"]), "measures"),
        ("label_error_ranking", lambda r: r.means(), "what"),
        ("membership_inference", lambda r: r.curve(99), "attack"),
        ("membership_inference", lambda r: r.curve(-1), "attack"),
        ("membership_inference", lambda r: r.difference(0, True), "second"),
        ("membership_inference", lambda r: r.difference("a", 0), "first"),
        ("membership_inference", lambda r: r.select(branch="bad"), "branch"),
        ("membership_inference", lambda r: r.true_positive_rate(np.nan), "false_positive_rate"),
        ("membership_inference", lambda r: r.true_positive_rate("a"), "false_positive_rate"),
        ("anomaly_ranking", lambda r: r.most(1, n=-1), "n"),
        ("anomaly_ranking", lambda r: r.least(1, n=True), "n"),
        ("anomaly_ranking", lambda r: r.most(7), "label"),
        ("retrain", lambda r: r.margins([0, 1]), "labels"),
        ("robustness", lambda r: r.plot(what="bad"), "what"),
    ],
)
def test_results_name_wrong_arguments(good, name, call, parameter):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = FUNCTIONS[name](**good[name])
    with pytest.raises((TypeError, ValueError), match=rf"(?<!\w){parameter}(?!\w)"):
        call(result)
