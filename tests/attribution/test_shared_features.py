"""Words and columns that a query shares with its exemplars, by name."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy.sparse import csr_array, issparse
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from sklearn_provenance import Explanation, explain
from sklearn_provenance._utils.kept import n_bytes
from sklearn_provenance.attribution import (
    GradDotAttributor,
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    LastLayerAttributor,
    RelatIFAttributor,
    RepSimAttributor,
)
from sklearn_provenance.explanation._words import shared_parts

from ..pages import Page

TEXTS = [
    "The river rose after heavy rain",
    "A bird sang near the River",
    "Rain on the bridge",
    "The bank sold bonds",
    "Bonds fell and stocks rose",
    "The market bought bonds",
    "A late market rally",
    "Heavy stocks, light rain",
]
TOPICS = np.array(["water", "water", "water", "money", "money", "money", "money", "water"])
QUERIES = ["Is the river high, is the rain heavy?", "Who bought the bonds?"]
BINS = KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf")
METHODS = [
    InfoGainAttributor,
    InfoLossAttributor,
    RelatIFAttributor,
    GradDotAttributor,
    RepSimAttributor,
]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def words(text):
    return set(CountVectorizer().build_analyzer()(text))


def table(n=40):
    """Two numeric columns, two of categories, and labels that depend on them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "city": rng.choice(["Delft", "Gent", "Lille"], n),
            "age": rng.normal(40, 10, n),
            "pet": rng.choice(["cat", "dog"], n),
            "income": rng.normal(3, 1, n),
        }
    )
    return frame, np.where((frame["city"] == "Gent") ^ (frame["age"] > 42), "yes", "no")


def encoder():
    return make_column_transformer(
        (OneHotEncoder(), ["city", "pet"]), (StandardScaler(), ["age", "income"])
    )


def shared_names(exp):
    """Names of all features that some query shares with some exemplar."""
    pairs = np.ndindex(exp.indices.shape)
    return {name for pair in pairs for name, _ in exp.shared_features(*pair)}


# Texts


@pytest.mark.parametrize("method", METHODS)
def test_names_the_words_of_a_tfidf_pipeline(method):
    attributor = method(make_pipeline(TfidfVectorizer(), LogisticRegression())).fit(TEXTS, TOPICS)
    exp = attributor.explain(QUERIES, k=3)
    assert list(exp.queries) == QUERIES
    assert list(exp.training_data) == TEXTS
    assert issparse(exp.contributions.queries)
    assert issparse(exp.contributions.training_data)
    for query, rank in np.ndindex(exp.indices.shape):
        shared = dict(exp.shared_features(query, rank))
        assert set(shared) == words(QUERIES[query]) & words(TEXTS[exp.indices[query, rank]])


def test_parts_are_those_of_the_inner_product():
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(fit_intercept=False))
    model.fit(TEXTS, TOPICS)
    for method in (GradDotAttributor, RepSimAttributor):
        exp = method(model, candidates="all").fit(TEXTS, TOPICS).explain(QUERIES, k=8)
        for query, rank in np.ndindex(exp.indices.shape):
            parts = [part for _, part in exp.shared_features(query, rank)]
            # Without an intercept these two scores are the inner products themselves.
            assert sum(parts) == pytest.approx(exp.scores[query, rank], rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
@pytest.mark.parametrize("y", [TOPICS, np.arange(8) % 3], ids=["binary", "multiclass"])
def test_parts_and_the_intercept_are_the_tangent_kernel(measurement, y):
    settings = {"candidates": "all", "measurement": measurement, "ntk_parameterization": True}
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, y)
    attributor = InfoGainAttributor(model, **settings).fit(TEXTS, y)
    exp = attributor.explain(QUERIES, k=4)
    for query in range(2):
        # Rows are measured at the query's label, or at their own where the kernel is shared.
        own = attributor._queries(QUERIES[query : query + 1])
        label = exp.query_labels[query]
        labels = np.full(8, label) if measurement == "label_logit" else y
        rows = attributor._queries(TEXTS, labels)
        kernel = own.inner(rows)[0].numpy()
        intercept = (own.gradient @ rows.gradient.T)[0].numpy()
        for rank, row in enumerate(exp.indices[query]):
            parts = sum(part for _, part in exp.shared_features(query, rank))
            assert parts == pytest.approx(kernel[row] - intercept[row], rel=1e-10, abs=1e-14)


def test_training_rows_explained_by_the_others():
    attributor = RepSimAttributor(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    exp = attributor.fit(TEXTS, TOPICS).explain(k=2)
    for query, rank in np.ndindex(exp.indices.shape):
        found = {name for name, _ in exp.shared_features(query, rank)}
        assert found == words(TEXTS[query]) & words(TEXTS[exp.indices[query, rank]])


def test_marks_words_in_pages_and_figures():
    model = make_pipeline(TfidfVectorizer(stop_words="english"), LogisticRegression())
    exp = InfoGainAttributor(model).fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    page = exp.to_html()
    for query, rank in np.ndindex(exp.indices.shape):
        for name, _ in exp.shared_features(query, rank):
            spelt = next(w for w in TEXTS[exp.indices[query, rank]].split() if name in w.lower())
            assert f">{spelt.strip(',')}</mark>" in page
    Page(page)
    marked = [
        text.get_text()
        for panel in exp.plot().axes_
        for text in panel.findobj(Text)
        if text.get_bbox_patch() is not None
    ]
    assert {text.lower() for text in marked} >= shared_names(exp)


def test_texts_and_words_are_shown_by_default():
    model = make_pipeline(TfidfVectorizer(stop_words="english"), LogisticRegression())
    exp = InfluenceAttributor(model).fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    lines = repr(exp).split("\n")
    best = TEXTS[exp.indices[0, 0]]
    assert lines[2:4] == [f"  text    {QUERIES[0]}", f"  first   {best}"]
    word, part = next(pair for pair in exp.shared_features(0, 0) if pair[0] != "(intercept)")
    assert lines[4].startswith(f"  shared  {word} {part:+.2g}")
    assert "(intercept)" not in repr(exp) + exp._repr_html_() + exp.to_html()
    notebook = exp._repr_html_()
    for name in shared_names(exp) - {"(intercept)"}:
        assert f">{name}</mark>" in notebook.lower()
    Page(notebook)
    frame = exp.to_frame()
    assert list(frame["query_text"]) == [QUERIES[0]] * 2 + [QUERIES[1]] * 2
    assert list(frame["text"]) == [TEXTS[row] for row in frame["index"]]
    assert frame["shared"][0].startswith(f"{word} {part:+.2g}")


def test_what_is_not_known_is_not_shown():
    exp = InfoGainAttributor(make_pipeline(HashingVectorizer(n_features=32), LogisticRegression()))
    exp = exp.fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    assert "  text    " in repr(exp)
    assert "shared" not in repr(exp) + exp._repr_html_()
    assert "shared" not in exp.to_frame()
    X, y = table()
    exp = RepSimAttributor(make_pipeline(encoder(), LogisticRegression())).fit(X, y).explain(X[:2])
    assert "  shared  " in repr(exp)
    assert "  text    " not in repr(exp)
    assert "text" not in exp.to_frame()


PIPELINES = {
    "counts": (CountVectorizer(), TfidfTransformer()),
    "union": (make_union(CountVectorizer(), TfidfVectorizer(stop_words="english")),),
    "selected": (TfidfVectorizer(), SelectKBest(k=12), StandardScaler(with_mean=False)),
    "nested": (make_pipeline(FunctionTransformer(), CountVectorizer()), "passthrough"),
    "frozen": (FrozenEstimator(TfidfVectorizer().fit(TEXTS)),),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_words_come_through_steps(name):
    model = make_pipeline(*PIPELINES[name], LogisticRegression())
    exp = RepSimAttributor(model).fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    found = shared_names(exp)
    assert found
    assert found <= set().union(*map(words, TEXTS))


def test_words_come_through_a_search():
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    search = GridSearchCV(model, {"logisticregression__C": [1.0, 10.0]}, cv=2)
    exp = InfoGainAttributor(search).fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    assert "river" in shared_names(exp)


def test_slices_and_pickles_keep_their_parts():
    attributor = InfoLossAttributor(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    exp = attributor.fit(TEXTS, TOPICS).explain(QUERIES + QUERIES[:1], k=3)
    expected = [exp.shared_features(1, rank) for rank in range(3)]
    assert any(expected)
    assert [exp[1].shared_features(0, rank) for rank in range(3)] == expected
    assert [exp[[2, 1]].shared_features(1, rank) for rank in range(3)] == expected
    again = pickle.loads(pickle.dumps(exp[1:]))
    assert [again.shared_features(0, rank) for rank in range(3)] == expected
    # An attributor that was pickled explains in the same way, and so does one asked again.
    for other in (pickle.loads(pickle.dumps(attributor)), attributor):
        exp = other.explain(QUERIES + QUERIES[:1], k=3)
        assert [exp.shared_features(1, rank) for rank in range(3)] == expected


def test_padding_has_no_parts():
    attributor = InfoGainAttributor(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    attributor.fit(TEXTS[:4], TOPICS[:4])
    with pytest.warns(UserWarning, match="fewer than k"):
        exp = attributor.explain(QUERIES, ["money", "water"], k=2)
    assert exp.indices[0, 1] == -1
    assert exp.shared_features(0, 1) == []
    assert exp.shared_features(1, 0)


# Tables


@pytest.mark.parametrize("method", METHODS)
def test_names_the_columns_of_a_frame(method):
    X, y = table()
    exp = method(make_pipeline(encoder(), LogisticRegression())).fit(X, y).explain(X[:3], k=4)
    assert list(exp.queries.columns) == list(X.columns)
    assert shared_names(exp) <= set(X.columns)
    for query, rank in np.ndindex(exp.indices.shape):
        row = X.iloc[exp.indices[query, rank]]
        found = dict(exp.shared_features(query, rank))
        for name in ("city", "pet"):  # categories are shared where they are equal
            assert (name in found) == (row[name] == X.iloc[query][name])
        assert {"age", "income"} <= set(found)


def test_parts_of_columns_add_up_to_the_cosine():
    X, y = table()
    exp = RepSimAttributor(make_pipeline(encoder(), LogisticRegression())).fit(X, y).explain(X[:3])
    Z = encoder().fit(X).transform(X)
    Z = Z.toarray() if issparse(Z) else np.asarray(Z)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    for query, rank in np.ndindex(exp.indices.shape):
        parts = Z[query] * Z[exp.indices[query, rank]]
        expected = {
            "city": parts[:3].sum(), "pet": parts[3:5].sum(), "age": parts[5], "income": parts[6],
        }  # fmt: skip
        found = dict(exp.shared_features(query, rank))
        assert found == pytest.approx({n: p for n, p in expected.items() if p}, rel=1e-10)


def test_names_follow_columns_whose_order_or_output_changes():
    X, y = table()
    model = make_pipeline(
        ColumnTransformer([("bins", BINS, ["income"]), ("no", "drop", ["pet"])],
                          remainder=FunctionTransformer(lambda X: X[["age"]])),
        LogisticRegression(),
    )  # fmt: skip
    model.fit(X, y)
    with pytest.raises(AttributeError, match="contributions was not given"):
        # The function does not name what it gives, so that no name can be trusted.
        InfoGainAttributor(model).fit(X, y).explain(X[:2]).shared_features(0)
    encoded = make_pipeline(encoder().set_output(transform="pandas"), LogisticRegression())
    encoder_of_frames = encoded[0].set_params(onehotencoder__sparse_output=False)
    scaled = make_pipeline(encoder_of_frames, StandardScaler(), LogisticRegression()).fit(X, y)
    turned = X[X.columns[::-1]]
    parts = RepSimAttributor(scaled).fit(X, y).explain(X[:2])
    assert shared_names(parts) == {"city", "age", "pet", "income"}
    again = RepSimAttributor(scaled).fit(turned, y).explain(turned[:2])
    assert again.shared_features(0, 0) == parts.shared_features(0, 0)
    bins = make_column_transformer(
        (BINS, ["income", "age"]),
        ("drop", ["pet"]), remainder="drop",
    )  # fmt: skip
    exp = RepSimAttributor(make_pipeline(bins, LogisticRegression())).fit(X, y).explain(X[:2])
    assert shared_names(exp) <= {"income", "age"}


def test_words_and_columns_stand_side_by_side():
    frame = pd.DataFrame({"text": TEXTS, "length": [len(t) for t in TEXTS], "id": range(8)})
    columns = make_column_transformer(
        (TfidfVectorizer(), "text"), ("drop", ["id"]), remainder="passthrough"
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000))
    exp = RepSimAttributor(model).fit(frame, TOPICS).explain(frame[:2], k=2)
    for query, rank in np.ndindex(exp.indices.shape):
        common = words(TEXTS[query]) & words(TEXTS[exp.indices[query, rank]])
        assert {name for name, _ in exp.shared_features(query, rank)} == common | {"length"}
    Page(exp.to_html())  # reads all of it, and fails where a tag is not closed


@pytest.mark.parametrize("convert", [np.asarray, csr_array])
def test_columns_of_an_array_are_numbered(convert):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 4)), np.arange(20) % 3
    exp = InfoGainAttributor(LogisticRegression()).fit(convert(X), y).explain(convert(X[:3]), k=2)
    assert shared_names(exp) == {"x0", "x1", "x2", "x3"}
    largest = np.abs(X[0] * X[exp.indices[0, 0]]).argmax()
    assert exp.shared_features(0, 0, 1)[0][0] == f"x{largest}"


def test_regressors_have_parts_too():
    X, _ = table()
    y = X["age"].to_numpy()
    exp = InfoGainAttributor(make_pipeline(encoder(), Ridge())).fit(X, y).explain(X[:2])
    assert {"age", "income"} <= shared_names(exp) <= set(X.columns)


def test_a_pipeline_around_an_attributor_knows_words_and_columns():
    X, y = table()
    inner = make_pipeline(encoder(), RepSimAttributor(LogisticRegression())).fit(X, y)
    expected = RepSimAttributor(make_pipeline(encoder(), LogisticRegression())).fit(X, y)
    expected = expected.explain(X[:2])
    found = explain(inner, X[:2])
    assert found.shared_features(0, 0) == expected.shared_features(0, 0)
    components = make_pipeline(PCA(2), RepSimAttributor(LogisticRegression()))
    numbers = X[["age", "income"]].to_numpy()
    assert explain(components.fit(numbers, y), numbers[:2]).contributions is None


# No names


class Nameless(TfidfVectorizer):
    """A vectorizer that cannot name its columns."""

    def get_feature_names_out(self, input_features=None):
        raise ValueError("nobody knows")


class Miscounting(TfidfVectorizer):
    """A vectorizer that names fewer columns than it gives."""

    def get_feature_names_out(self, input_features=None):
        return super().get_feature_names_out()[:-1]


UNKNOWN = {
    "hashes": (HashingVectorizer(n_features=32),),
    "scaled hashes": (HashingVectorizer(n_features=32), StandardScaler(with_mean=False)),
    "components": (TfidfVectorizer(), TruncatedSVD(3, random_state=0)),
    "one of two": (make_union(TfidfVectorizer(), HashingVectorizer(n_features=32)),),
    "nameless": (Nameless(),),
    "miscounting": (Miscounting(),),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_without_names_there_are_no_contributions(name):
    model = make_pipeline(*UNKNOWN[name], LogisticRegression())
    exp = InfoGainAttributor(model).fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    assert exp.contributions is None
    # Words in common are marked where their shares are not known.
    assert "<mark" not in exp.to_html().replace('<mark class="common">', "")
    exp.plot()
    influence = InfluenceAttributor(model).fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    assert influence.contributions is None


# Parts of scores that are no inner product


def sums_of_parts(exp):
    """Sum (n_queries, k) of the parts of all features in each score."""
    sums = np.full(exp.indices.shape, np.nan)
    for pair in np.ndindex(exp.indices.shape):
        if exp.indices[pair] >= 0:
            sums[pair] = sum(part for _, part in exp.shared_features(*pair))
    return sums


CLASSIFIERS = {
    "logistic": LogisticRegression(),
    "balanced": LogisticRegression(class_weight="balanced"),
    "no intercept": LogisticRegression(fit_intercept=False),
    "ridge": RidgeClassifier(),
    "hinge": LinearSVC(),
    "one against rest": OneVsRestClassifier(LogisticRegression(C=3.0)),
}


@pytest.mark.parametrize("direction", ["down", "any"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_words_in_influence_add_up_to_the_score(name, n_classes, direction):
    rows, y = 2 * TEXTS, np.arange(16) % 5 % n_classes
    model = make_pipeline(TfidfVectorizer(), CLASSIFIERS[name])
    exp = InfluenceAttributor(model, direction=direction).fit(rows, y).explain(QUERIES, k=2)
    np.testing.assert_allclose(sums_of_parts(exp), exp.scores, rtol=1e-9, atol=1e-12)
    assert issparse(exp.contributions.pairs[0])
    for query, rank in np.ndindex(exp.indices.shape):
        found = {name for name, _ in exp.shared_features(query, rank)}
        assert found - {"(intercept)"} <= words(QUERIES[query])
        assert ("(intercept)" in found) == (name != "no intercept")


def test_a_words_part_is_the_change_of_its_coefficient_after_training_again():
    vectorizer = TfidfVectorizer().fit(TEXTS)
    model = make_pipeline(FrozenEstimator(vectorizer), LogisticRegression(C=5.0, tol=1e-10))
    model.fit(TEXTS, TOPICS)
    exp = InfluenceAttributor(model).fit(TEXTS, TOPICS).explain(QUERIES, k=1)
    for query, row in enumerate(exp.indices[:, 0]):
        kept = np.arange(8) != row
        again = make_pipeline(FrozenEstimator(vectorizer), LogisticRegression(C=5.0, tol=1e-10))
        again.fit([t for t, k in zip(TEXTS, kept, strict=True) if k], TOPICS[kept])
        change = (model[-1].coef_ - again[-1].coef_)[0]
        sign = 1 if exp.query_labels[query] == model.classes_[1] else -1
        parts = sign * change * vectorizer.transform(QUERIES).toarray()[query]
        expected = dict(zip(vectorizer.get_feature_names_out(), parts, strict=True))
        found = dict(exp.shared_features(query))
        del found["(intercept)"]
        assert found == pytest.approx({n: p for n, p in expected.items() if p}, abs=1e-6)


@pytest.mark.parametrize("most_formed", [50, 4096], ids=["products", "kernel"])
def test_words_of_influence_where_they_outnumber_texts(most_formed, monkeypatch):
    # The Hessian is not formed, or parameters are those of a kernel's features.
    monkeypatch.setattr("sklearn_provenance.information._convex_problem.MOST_FORMED", most_formed)
    monkeypatch.setattr(
        "sklearn_provenance.attribution.objectives._linear.MOST_FORMED", most_formed
    )
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{number}" for number in range(400)])
    texts = [" ".join(rng.choice(vocabulary, 30)) for _ in range(80)]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0, tol=1e-9))
    exp = InfluenceAttributor(model).fit(texts, rng.random(80) < 0.5).explain(texts[:2], k=2)
    np.testing.assert_allclose(sums_of_parts(exp), exp.scores, rtol=1e-6, atol=1e-10)
    assert exp.indices[0, 0] == 0  # a text rests on itself
    assert {name for name, _ in exp.shared_features(0, 0, 20)} <= words(texts[0])


REGRESSORS = {
    "ridge": Ridge(),
    "poisson": PoissonRegressor(),
    "few columns": Lasso(alpha=0.02),
    "few columns alone": Lasso(alpha=0.02, fit_intercept=False),
    "none fixed": LinearRegression(fit_intercept=False),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_columns_in_influence_add_up_to_the_score(name):
    X, _ = table()
    y = X["income"].to_numpy().clip(0) + (X["city"] == "Gent")
    numbers = make_column_transformer((OneHotEncoder(drop="first"), ["city", "pet"]),
                                      (StandardScaler(), ["age"]))  # fmt: skip
    exp = InfluenceAttributor(make_pipeline(numbers, REGRESSORS[name])).fit(X, y)
    exp = exp.explain(X[:4], k=3)
    np.testing.assert_allclose(sums_of_parts(exp), exp.scores, rtol=1e-9, atol=1e-12)
    assert shared_names(exp) <= {"city", "pet", "age", "(intercept)"}


def test_without_picks_there_are_no_parts():
    """As many parameters as rows, of which none can be removed."""
    X, y = np.eye(4)[:, :3], np.array([3.0, 1.0, 4.0, 2.0])
    attributor = InfluenceAttributor(LinearRegression()).fit(X, y)
    with pytest.warns(UserWarning, match="rows that can be removed"):
        exp = attributor.explain(np.ones((2, 3)), k=2)
    np.testing.assert_array_equal(exp.indices, -1)
    assert exp.shared_features(0, 0) == []


def test_influence_of_other_designs_has_no_parts_or_those_of_columns_in_use():
    X, y = table()
    numbers = X[["age", "income"]].to_numpy()
    exp = InfluenceAttributor(KernelRidge(kernel="rbf")).fit(numbers, X["age"]).explain(numbers[:2])
    assert exp.contributions is None
    hashed = make_pipeline(HashingVectorizer(n_features=64), LogisticRegression())
    assert InfluenceAttributor(hashed).fit(TEXTS, TOPICS).explain(QUERIES).contributions is None


def test_a_pipeline_around_influence_names_words():
    inner = make_pipeline(TfidfVectorizer(), InfluenceAttributor(LogisticRegression()))
    exp = explain(inner.fit(TEXTS, TOPICS), QUERIES, k=2)
    expected = InfluenceAttributor(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    expected = expected.fit(TEXTS, TOPICS).explain(QUERIES, k=2)
    assert dict(exp.shared_features(0, 0)) == pytest.approx(dict(expected.shared_features(0, 0)))
    assert exp[1:].shared_features(0, 1) == exp.shared_features(1, 1)
    again = pickle.loads(pickle.dumps(exp))
    assert again.shared_features(1, 1) == exp.shared_features(1, 1)


@pytest.mark.parametrize("kind", ["influence", "representer"])
@pytest.mark.parametrize("y", [TOPICS, np.arange(8) % 3], ids=["two", "three"])
@pytest.mark.parametrize("among_train", [False, True])
def test_words_in_the_last_layer_add_up_to_the_score(kind, y, among_train):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    attributor = LastLayerAttributor(model, kind=kind, candidates="all").fit(TEXTS, y)
    exp = attributor.explain(None if among_train else QUERIES, k=3)
    np.testing.assert_allclose(sums_of_parts(exp), exp.scores, rtol=1e-9, atol=1e-12)
    for query, rank in np.ndindex(exp.indices.shape):
        text = TEXTS[query] if among_train else QUERIES[query]
        found = {name for name, _ in exp.shared_features(query, rank)} - {"(intercept)"}
        assert found <= words(text)
        if kind == "representer":
            assert found == words(text) & words(TEXTS[exp.indices[query, rank]])


def test_words_in_the_last_layer_block_by_block(monkeypatch):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    attributor = LastLayerAttributor(model, candidates="all").fit(TEXTS, TOPICS)
    monkeypatch.setattr("sklearn_provenance.attribution.rules._last_layer._BLOCK", 1)
    exp = attributor.explain(QUERIES, k=3)
    np.testing.assert_allclose(sums_of_parts(exp), exp.scores, rtol=1e-9, atol=1e-12)


def test_rounding_and_the_intercept_are_not_shown():
    parts = [[[("river", 0.5), ("(intercept)", 2.0), ("bank", 1e-12)]]]
    exp = Explanation([[0]], [[2.5]], contributions=parts)
    assert shared_parts(exp, 0, 0) == [("river", 0.5)]
    assert len(exp.shared_features(0, 0)) == 3


def test_the_intercept_is_no_word():
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    attributor = InfluenceAttributor(model).fit(TEXTS, TOPICS)
    exp = attributor.explain(["The intercept of the river"], k=2)
    assert ">intercept</mark>" not in exp.to_html()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_methods_and_models_without_such_an_inner_product_have_none():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 4)), np.arange(20) % 2
    network = MLPClassifier((3,), max_iter=20, random_state=0)
    for attributor in (
        LastLayerAttributor(network),
        InfoGainAttributor(network),
        RepSimAttributor(network),
    ):
        assert attributor.fit(X, y).explain(X[:2], k=2).contributions is None


def test_features_of_queries_count_as_kept():
    X = csr_array(np.eye(50))
    # 50 numbers of 8 bytes, and 50 + 51 positions of 4 or 8.
    assert n_bytes(X) == 50 * 8 + 101 * X.indices.itemsize
