"""Leaves of trees as features: what the kernel is, for every family."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from sklearn_provenance.attribution import (
    EKFACAttributor,
    GradDotAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)
from sklearn_provenance.attribution.models import adapt
from sklearn_provenance.tangent import TangentFeatures

IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, MALIGNANT = (part[:200] for part in load_breast_cancer(return_X_y=True))
DIABETES, PROGRESS = (part[:150] for part in load_diabetes(return_X_y=True))


def iris(n_classes):
    """Rows of the first classes."""
    rows = np.isin(SPECIES, range(n_classes))
    return IRIS[rows], SPECIES[rows]


LEAVES = [InfoGainAttributor, InfoLossAttributor, RelatIFAttributor, RepSimAttributor]


def forests():
    """Ensembles whose trees are averaged, and how to ask them for leaves."""
    return [
        RandomForestClassifier(9, max_depth=3, random_state=0),
        ExtraTreesClassifier(9, max_depth=3, random_state=0),
        DecisionTreeClassifier(max_depth=3, random_state=0),
        ExtraTreeClassifier(max_depth=3, random_state=0),
    ]


def regressors():
    return [
        RandomForestRegressor(9, max_depth=3, random_state=0),
        ExtraTreesRegressor(9, max_depth=3, random_state=0),
        DecisionTreeRegressor(max_depth=3, random_state=0),
        ExtraTreeRegressor(max_depth=3, random_state=0),
        GradientBoostingRegressor(n_estimators=6, random_state=0),
        HistGradientBoostingRegressor(max_iter=6, random_state=0),
        BaggingRegressor(n_estimators=6, max_features=0.5, random_state=0),
    ]


def boosting():
    return [
        GradientBoostingClassifier(n_estimators=6, random_state=0),
        HistGradientBoostingClassifier(max_iter=6, random_state=0),
    ]


def libraries(kind):
    """Estimators of optional packages, made when a test asks for them."""
    if kind == "xgboost":
        package = pytest.importorskip("xgboost")
        return package.XGBClassifier(n_estimators=6), package.XGBRegressor(n_estimators=6)
    if kind == "lightgbm":
        package = pytest.importorskip("lightgbm")
        settings = {"n_estimators": 6, "verbose": -1, "min_child_samples": 5, "n_jobs": 1}
        return package.LGBMClassifier(**settings), package.LGBMRegressor(**settings)
    package = pytest.importorskip("catboost")
    settings = {"n_estimators": 6, "verbose": False, "allow_writing_files": False}
    return package.CatBoostClassifier(**settings), package.CatBoostRegressor(**settings)


every_library = pytest.mark.parametrize("kind", ["xgboost", "lightgbm", "catboost"])


def apply_of(estimator, X):
    """Leaves (n, n_trees) as the estimator itself counts them."""
    nodes = estimator.apply(X)
    return nodes.reshape(len(nodes), -1)


def shares(leaves, others):
    return (leaves[:, None] == others[None]).mean(2)


@pytest.mark.parametrize("estimator", forests() + regressors()[:4], ids=lambda e: type(e).__name__)
def test_kernel_of_a_forest_is_the_share_of_common_leaves(estimator):
    X, y = (DIABETES, PROGRESS) if "Regressor" in type(estimator).__name__ else (IRIS, SPECIES)
    attributor = InfoGainAttributor(estimator, candidates="all", noise_variance=0.5).fit(X, y)
    phi = attributor.transform(X)
    leaves = apply_of(attributor.estimator_, X)
    np.testing.assert_allclose(phi @ phi.T, shares(leaves, leaves), atol=1e-12)
    # What attribute says by its definition, at this kernel.
    share = shares(leaves[:5], leaves)
    expected = -0.5 * np.log1p(-(share**2) / 1.5)
    np.testing.assert_allclose(attributor.attribute(X[:5]), expected, atol=1e-12)
    cosines = RepSimAttributor(attributor.estimator_, candidates="all").fit(X, y).attribute(X[:5])
    np.testing.assert_allclose(cosines, share, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
def test_kernel_of_boosting_is_that_of_gradients_in_leaf_values(measurement, n_classes):
    """Gradients by differences: the value of each leaf is changed in turn."""
    X, y = (part[::3] for part in iris(n_classes))
    X = X + np.random.default_rng(0).normal(size=X.shape)
    model = GradientBoostingClassifier(n_estimators=3, max_depth=2, learning_rate=0.3).fit(X, y)

    def measured(labels):
        raw = model.decision_function(X).reshape(len(X), -1)
        logits = np.hstack([-raw / 2, raw / 2]) if n_classes == 2 else raw
        own = np.take_along_axis(logits, labels[:, None], 1)[:, 0]
        if measurement == "label_logit":
            return own
        rest = np.where(np.arange(n_classes) == labels[:, None], -np.inf, logits)
        return own - np.log(np.exp(rest).sum(1))

    def gradients(labels):
        columns, step = [], 1e-4
        for tree in (tree.tree_ for tree in model.estimators_.flat):
            for leaf in np.flatnonzero(tree.children_left == -1):
                before = tree.value[leaf, 0, 0]
                tree.value[leaf, 0, 0] = before + step
                above = measured(labels)
                tree.value[leaf, 0, 0] = before - step
                columns.append((above - measured(labels)) / (2 * step))
                tree.value[leaf, 0, 0] = before
        return np.stack(columns, 1)

    settings = {"measurement": measurement, "candidates": "all"}
    found = InfoGainAttributor(model, **settings).fit(X, y)
    for label in range(n_classes):
        asked = np.full(len(X), label)
        rows = gradients(asked if measurement == "label_logit" else y)
        phi = gradients(asked)
        variance, prior = (rows**2).sum(1), (phi**2).sum(1)
        gain = (phi @ rows.T) ** 2 / prior[:, None] / (found.noise_variance_ + variance)
        np.testing.assert_allclose(
            found.attribute(X, asked), -0.5 * np.log1p(-gain), rtol=1e-5, atol=1e-9
        )


@pytest.mark.parametrize("cls", [InfoGainAttributor, InfoLossAttributor, RelatIFAttributor])
def test_leaves_answer_as_the_same_features_given_by_hand(cls):
    model = RandomForestClassifier(9, max_depth=4, random_state=0).fit(IRIS, SPECIES)
    known = model.apply(IRIS)

    def embed(X):
        leaves = model.apply(X)
        numbers = [np.unique(known[:, t]) for t in range(9)]
        columns = [leaves[:, [t]] == numbers[t] for t in range(9)]
        return np.hstack(columns) / 3.0

    own = cls(model).fit(IRIS, SPECIES)
    given = cls(model, features=embed).fit(IRIS, SPECIES)
    asked = IRIS[::10]
    a, b = own.explain(asked, k=4), given.explain(asked, k=4)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-10)
    np.testing.assert_array_equal(a.n_tied, b.n_tied)
    np.testing.assert_allclose(own.attribute(asked), given.attribute(asked), atol=1e-10)
    np.testing.assert_allclose(own.score(asked, SPECIES[::10]), given.score(asked, SPECIES[::10]))
    np.testing.assert_array_equal(own.select(asked, 6), given.select(asked, 6))


@pytest.mark.parametrize("cls", LEAVES)
@pytest.mark.parametrize("estimator", forests() + boosting(), ids=lambda e: type(e).__name__)
def test_classifiers(estimator, cls):
    for X, y in ((IRIS, SPECIES), (CANCER, np.where(MALIGNANT, "benign", "malignant"))):
        attributor = cls(estimator).fit(X, y)
        explanation = attributor.explain(X[::40], k=3)
        predicted = attributor.estimator_.predict(X[::40])
        np.testing.assert_array_equal(explanation.query_labels, predicted)
        assert (explanation.exemplar_labels == predicted[:, None]).all()
        assert (explanation.n_tied >= 0).all()


@pytest.mark.parametrize("cls", LEAVES)
@pytest.mark.parametrize("estimator", regressors(), ids=lambda e: type(e).__name__)
def test_regressors(estimator, cls):
    attributor = cls(estimator).fit(DIABETES, PROGRESS)
    assert attributor.candidates_ == "all"
    assert attributor.classes_ is None
    explanation = attributor.explain(DIABETES[:5], k=3)
    predicted = attributor.estimator_.predict(DIABETES[:5])
    np.testing.assert_allclose(explanation.query_labels, predicted)
    np.testing.assert_allclose(attributor.predict(DIABETES[:5]), predicted)
    np.testing.assert_array_equal(explanation.exemplar_labels, PROGRESS[explanation.indices])
    # Kernels of a regressor do not depend on the number that is asked for.
    asked = attributor.explain(DIABETES[:5], PROGRESS[:5], k=3)
    np.testing.assert_array_equal(asked.scores, explanation.scores)
    among = attributor.explain(k=2)
    assert (among.indices != np.arange(len(DIABETES))[:, None]).all()
    assert np.isfinite(attributor.score(DIABETES[::7], PROGRESS[::7]))


def test_score_of_a_regressor_is_the_density_of_its_targets():
    """By the definition of the guide, for the kernel of shares."""
    X, y, held_out = DIABETES[:100], PROGRESS[:100], slice(100, 130)
    forest = RandomForestRegressor(20, min_samples_leaf=5, random_state=0).fit(X, y)
    attributor = InfoGainAttributor(forest, noise_variance=0.7).fit(X, y)
    leaves, asked = forest.apply(X), forest.apply(DIABETES[held_out])
    inverse = np.linalg.inv(shares(leaves, leaves) + 0.7 * np.eye(100))
    cross, targets = shares(asked, leaves), y - y.mean()
    amplitude = targets @ inverse @ targets / 100
    variance = amplitude * (1 - np.einsum("ij,jk,ik->i", cross, inverse, cross) + 0.7)
    error = PROGRESS[held_out] - y.mean() - cross @ inverse @ targets
    density = -0.5 * (np.log(2 * np.pi * variance) + error**2 / variance)
    found = attributor.score(DIABETES[held_out], PROGRESS[held_out])
    np.testing.assert_allclose(found, density.mean(), rtol=1e-9)
    weights = np.arange(30.0)
    weighted = attributor.score(DIABETES[held_out], PROGRESS[held_out], sample_weight=weights)
    np.testing.assert_allclose(weighted, weights @ density / weights.sum(), rtol=1e-9)
    with pytest.raises(ValueError, match="two targets"):
        InfoGainAttributor(forest).fit(X, np.ones(100)).score(X, y)


def test_bagging_looks_at_the_features_of_each_tree():
    model = BaggingClassifier(n_estimators=7, max_features=0.5, random_state=0).fit(IRIS, SPECIES)
    columns = zip(model.estimators_, model.estimators_features_, strict=True)
    leaves = np.stack([tree.apply(IRIS[:, own]) for tree, own in columns], 1)
    phi = InfoGainAttributor(model).fit(IRIS, SPECIES).transform(IRIS)
    np.testing.assert_allclose(phi @ phi.T, shares(leaves, leaves), atol=1e-12)
    neighbours = BaggingClassifier(KNeighborsClassifier(3)).fit(IRIS, SPECIES)
    with pytest.raises(TypeError, match="features="):
        InfoGainAttributor(neighbours).fit(IRIS, SPECIES)


def test_trees_of_ada_boost_count_by_their_weights():
    X, y = load_iris(return_X_y=True)
    tree = DecisionTreeClassifier(max_depth=2)
    model = AdaBoostClassifier(tree, n_estimators=5, random_state=0).fit(X, y)
    features = InfoGainAttributor(model).fit(X, y).transform(X[::10])
    weights = model.estimator_weights_[: len(model.estimators_)]
    expected = 0
    for own, weight in zip(model.estimators_, weights, strict=True):
        leaves = own.apply(X[::10])
        expected = expected + weight**2 * (leaves[:, None] == leaves)
    expected = expected / (weights**2).sum()
    np.testing.assert_allclose(features @ features.T, expected, atol=1e-12)


def test_isolation_forest():
    model = IsolationForest(n_estimators=15, random_state=0).fit(CANCER)
    attributor = InfoGainAttributor(model).fit(CANCER, MALIGNANT)
    leaves = np.stack([tree.apply(CANCER) for tree in model.estimators_], 1)
    phi = attributor.transform(CANCER)
    np.testing.assert_allclose(phi @ phi.T, shares(leaves, leaves), atol=1e-12)
    explanation = attributor.explain(CANCER[:3], k=2)
    np.testing.assert_array_equal(explanation.query_labels, model.predict(CANCER[:3]))
    np.testing.assert_array_equal(explanation.indices[:, 0], [0, 1, 2])


@every_library
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_of_libraries(kind, n_classes):
    X, y = iris(n_classes)
    model = libraries(kind)[0].fit(X, y)
    for cls in LEAVES:
        explanation = cls(model).fit(X, y).explain(X[::20], k=3)
        np.testing.assert_array_equal(explanation.query_labels, np.ravel(model.predict(X[::20])))
    cosines = RepSimAttributor(model, candidates="all").fit(X, y).attribute(X[:9])
    own = {
        "xgboost": lambda: model.apply(X),
        "lightgbm": lambda: model.predict(X, pred_leaf=True),
        "catboost": lambda: model.calc_leaf_indexes(X),
    }[kind]()
    np.testing.assert_allclose(cosines, shares(own[:9], own), atol=1e-12)
    margin = InfoGainAttributor(model, measurement="margin").fit(X, y)
    assert np.isfinite(margin.explain(X[:3], k=3).scores).all()


@every_library
def test_regressors_of_libraries(kind):
    model = libraries(kind)[1].fit(DIABETES, PROGRESS)
    attributor = InfoGainAttributor(model).fit(DIABETES, PROGRESS)
    explanation = attributor.explain(DIABETES[:4], k=3)
    np.testing.assert_allclose(explanation.query_labels, model.predict(DIABETES[:4]), rtol=1e-6)
    np.testing.assert_array_equal(explanation.indices[:, 0], np.arange(4))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", ["gradient", "hist", "xgboost", "lightgbm"])
def test_outputs_are_read_from_leaves(kind, n_classes):
    """Sums of the leaves' values are what the estimator gives before its link."""
    X, y = iris(n_classes)
    X = X + np.random.default_rng(0).normal(size=X.shape)
    X[::7, 0] = 0 if kind == "gradient" else np.nan
    if kind in ("gradient", "hist"):
        model = boosting()[kind == "hist"].fit(X, y)
        expected = model.decision_function(X)
    else:
        model = libraries(kind)[0].fit(X, y)
        asked = {"output_margin": True} if kind == "xgboost" else {"raw_score": True}
        expected = model.predict(X, **asked)
    trees = adapt(model).trees
    found = trees.raw(trees.leaves(X)).numpy()
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-6, atol=1e-6)


def category_frame(n=120):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    letters = rng.choice(list("abcd"), n)
    x = rng.normal(size=n)
    x[::9] = np.nan
    frame = pd.DataFrame({"letter": pd.Categorical(letters), "x": x, "z": rng.normal(size=n)})
    frame.loc[::11, "letter"] = None
    target = (np.isin(letters, ["a", "c"]) ^ (np.nan_to_num(x) > 0.5)).astype(int)
    return frame, target


@pytest.mark.parametrize("kind", ["hist", "xgboost", "lightgbm", "catboost"])
def test_categories_and_missing_values(kind):
    frame, y = category_frame()
    if kind == "hist":
        model = HistGradientBoostingClassifier(max_iter=8, categorical_features="from_dtype")
    elif kind == "xgboost":
        model = libraries(kind)[0].set_params(enable_categorical=True)
    else:
        model = libraries(kind)[0]
    if kind == "catboost":
        frame["letter"] = frame["letter"].astype(object).fillna("none")
        model.set_params(cat_features=["letter"])
    model.fit(frame, y)
    attributor = InfoGainAttributor(model, candidates="all").fit(frame, y)
    explanation = attributor.explain(frame[:20], k=3)
    np.testing.assert_array_equal(explanation.query_labels, model.predict(frame[:20]))
    assert explanation.feature_names == ["letter", "x", "z"]
    # Rows in the same leaves throughout are predicted alike.
    phi = attributor.transform(frame)
    together = phi @ phi.T >= (phi**2).sum(1)[:, None] * (1 - 1e-9)
    proba = model.predict_proba(frame)[:, 1]
    rows, others = np.nonzero(together)
    np.testing.assert_allclose(proba[rows], proba[others], atol=1e-6)


def test_rows_of_any_kind():
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    torch = pytest.importorskip("torch")
    for model in (forests()[0], *boosting()):
        expected = InfoGainAttributor(model).fit(IRIS, SPECIES).explain(IRIS[:3], k=3)
        names = list("abcd")
        kinds = [pd.DataFrame(IRIS, columns=names), pl.DataFrame(IRIS, schema=names)]
        kinds += [torch.tensor(IRIS), IRIS.tolist()]
        if not isinstance(model, HistGradientBoostingClassifier):
            kinds.append(csr_matrix(IRIS))
        for rows in kinds:
            found = InfoGainAttributor(model).fit(rows, SPECIES).explain(rows[:3], k=3)
            np.testing.assert_array_equal(found.indices, expected.indices)
            np.testing.assert_allclose(found.scores, expected.scores)


def test_containers_copies_and_pickles():
    forest = RandomForestClassifier(5, random_state=0)
    plain = InfoGainAttributor(forest).fit(IRIS, SPECIES).explain(IRIS[:4], k=3)
    pipeline = make_pipeline(StandardScaler(), forest)
    search = GridSearchCV(pipeline, {"randomforestclassifier__max_depth": [None]}, cv=2)
    for model in (pipeline, search):
        found = InfoGainAttributor(model).fit(IRIS, SPECIES)
        again = pickle.loads(pickle.dumps(found))
        for attributor in (found, again):
            explanation = attributor.explain(IRIS[:4], k=3)
            np.testing.assert_array_equal(explanation.indices, plain.indices)
    assert clone(found).estimator is not found.estimator
    grid = GridSearchCV(
        InfoGainAttributor(RandomForestRegressor(5, random_state=0)),
        {"noise_variance": ["0.1*diagonal", "10*diagonal"]},
        cv=2,
        error_score="raise",
    ).fit(DIABETES, PROGRESS)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()


def test_regressors_with_features_of_ones_own():
    for estimator in (LinearRegression(), Ridge(), RandomForestRegressor(5, random_state=0)):
        attributor = InfoGainAttributor(estimator, features=StandardScaler())
        explanation = attributor.fit(DIABETES, PROGRESS).explain(DIABETES[:3], k=2)
        predicted = attributor.estimator_.predict(DIABETES[:3])
        np.testing.assert_allclose(explanation.query_labels, predicted)
    random = RandomAttributor(Ridge()).fit(DIABETES, PROGRESS)
    assert random.score(DIABETES, PROGRESS) == random.estimator_.score(DIABETES, PROGRESS)


def test_errors():
    forest = RandomForestClassifier(5, random_state=0)
    with pytest.raises(NotFittedError, match="is not fitted"):
        InfoGainAttributor(forest, prefit=True).fit(IRIS, SPECIES)
    attributor = InfoGainAttributor(forest).fit(IRIS, SPECIES)
    with pytest.raises(ValueError, match="features"):
        attributor.explain(IRIS[:, :3])
    hole = IRIS.copy()
    hole[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        InfoGainAttributor(boosting()[0].fit(IRIS, SPECIES)).fit(hole, SPECIES)
    several = RandomForestClassifier(3).fit(IRIS, np.stack([SPECIES, SPECIES], 1))
    with pytest.raises(TypeError, match="several targets"):
        InfoGainAttributor(several).fit(IRIS, SPECIES)
    numbers = RandomForestRegressor(3).fit(IRIS, np.stack([SPECIES, SPECIES], 1))
    with pytest.raises(TypeError, match="several targets"):
        InfoGainAttributor(numbers).fit(IRIS, SPECIES)
    with pytest.raises(ValueError, match="ntk_parameterization must be False where leaves"):
        InfoGainAttributor(forest, ntk_parameterization=True).fit(IRIS, SPECIES)
    with pytest.raises(ValueError, match="same_class"):
        InfoGainAttributor(RandomForestRegressor(3), candidates="same_class").fit(IRIS, SPECIES)
    with pytest.raises(ValueError):
        InfoGainAttributor(RandomForestRegressor(3)).fit(IRIS, np.array(["a", "b", "c"])[SPECIES])


@pytest.mark.parametrize(
    "make",
    [
        TRAKAttributor,
        EKFACAttributor,
        GradDotAttributor,
        LastLayerAttributor,
        lambda model: InfoGainAttributor(model, features=TangentFeatures()),
        lambda model: InfoGainAttributor(model, index="exact", solver="linear_response"),
        lambda model: InfoGainAttributor(model, measurement=lambda outputs, target: outputs),
    ],
)
@pytest.mark.parametrize("estimator", [forests()[0], boosting()[1]], ids=["forest", "boosting"])
def test_what_needs_gradients_refuses_trees(estimator, make):
    with pytest.raises(TypeError, match=r"estimator must|measurement must"):
        make(estimator).fit(IRIS, SPECIES)


def test_boosting_that_starts_from_another_estimator():
    init = LogisticRegression(max_iter=1000)
    model = GradientBoostingClassifier(n_estimators=4, init=init, random_state=0)
    InfoGainAttributor(model).fit(IRIS, SPECIES).explain(IRIS[:2], k=2)
    with pytest.raises(ValueError, match="init predicts them"):
        InfoGainAttributor(model, measurement="margin").fit(IRIS, SPECIES)
    for init in ("zero", DummyClassifier(strategy="uniform", random_state=0), None):
        model = GradientBoostingClassifier(n_estimators=4, init=init).fit(IRIS, SPECIES)
        trees = adapt(model).trees
        found = trees.raw(trees.leaves(IRIS)).numpy()
        np.testing.assert_allclose(found, model.decision_function(IRIS), atol=1e-12)
