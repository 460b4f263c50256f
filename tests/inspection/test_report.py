"""report: its figures, its order, what it works with, and what it refuses."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_provenance import Explanation, InfoGainAttributor, ProvenanceClassifier
from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.datasets import flip_labels, load_digits
from sklearn_provenance.evaluation import label_disagreement, label_error_scores, label_loss
from sklearn_provenance.inspection import find_label_issues, report

from ..pages import ATTACKS, Page, readable


@pytest.fixture(scope="module")
def digits():
    """Training images with one label in ten flipped, where they are, and test images."""
    X, y = load_digits(return_X_y=True)
    X = X[:300].reshape(300, -1) / 255
    y, flipped = flip_labels(y[:300], 0.1, random_state=0)
    X_test, y_test = load_digits(subset="test", return_X_y=True)
    return X, y, flipped, X_test[:60].reshape(60, -1) / 255, y_test[:60]


@pytest.fixture(scope="module")
def similar(digits):
    X, y, *_ = digits
    ids = [f"image {i}" for i in range(len(X))]
    model = LogisticRegression(C=0.1, max_iter=500)
    return RepSimAttributor(model, candidates="all").fit(X, y, sample_id=ids)


@pytest.fixture(scope="module")
def network(digits):
    X, y, *_ = digits
    return ProvenanceClassifier(
        architecture="class_independent", width="small", max_epochs=8, device="cpu",
        random_state=3, input_shape=(8, 8),
    ).fit(X, y)  # fmt: skip


def text_of(html, section=None):
    """Words of a page, or of one of its sections."""
    if section is not None:
        html = re.search(rf'<section id="{section}".*?</section>', html, re.DOTALL).group()
    return " ".join(" ".join(text for _, text in Page(html).texts).split())


def rows_of(html, section, word):
    """Numbers of the rows that a section has cards of, in order."""
    html = re.search(rf'<section id="{section}".*?</section>', html, re.DOTALL).group()
    return [int(row) for row in re.findall(rf"<h3>{word} row (\d+)", html)]


# Figures


def test_summary_has_the_figures_of_all_test_rows(digits, similar):
    X, y, _, X_test, y_test = digits
    html = report(similar, X_test, y_test, n_queries=7, k=4, suspicious=None)
    exp = similar.explain(X_test, k=4)
    text = text_of(html, "summary")
    right = exp.query_labels == y_test
    assert 0 < right.sum() < 60
    assert f"Accuracy {100 * right.mean():.1f} % ({right.sum()} of 60)" in text
    rows = {"all": np.ones(60, bool), "classified correctly": right, "misclassified": ~right}
    for name, members in rows.items():
        shares = [
            f"{100 * (exp.exemplar_labels == labels[:, None])[members].mean():.1f} %"
            for labels in (exp.query_labels, y_test)
        ]
        assert f"{name} {members.sum()} {shares[0]} {shares[1]}" in text
    counts = np.bincount(exp.indices.ravel(), minlength=300)
    share = (counts > 0).mean()
    assert f"{(counts > 0).sum()} of 300 training rows ({100 * share:.1f} %)" in text
    assert f"the same one for at most {counts.max()} of 60 test rows" in text
    assert "RepSimAttributor(candidates='all'" in text
    assert "Score cosine similarity" in text
    assert "300, each of 64 values" in text
    assert f"torch {torch.__version__}" in text


def test_seeds_are_written(network, digits):
    html = report(network, digits[3][:5], suspicious=None)
    assert "Seeds random_state=3" in text_of(html, "summary")
    assert "1 × 8 × 8 values" in text_of(html, "summary")


def test_rows_named_most_often(digits, similar):
    X_test, y_test = digits[3], digits[4]
    html = report(similar, X_test, y_test, n_queries=None, n_rows=6, suspicious=None)
    exp = similar.explain(X_test, k=5)
    counts = np.bincount(exp.indices.ravel(), minlength=300)
    section = re.search(r'<section id="often".*?</section>', html, re.DOTALL).group()
    lines = re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", section)
    assert len(lines) == 6
    found = []
    for line in lines:
        row, label, share, n_of, n_other = re.match(
            r'<th scope="row"><button value="\d+">(\d+)</button></th>'
            r"<td><bdi>image \1</bdi></td><td><bdi>(\d)</bdi></td>"
            r'<td class="number">([\d.]+) % \((\d+) of 60\)</td><td class="number">(\d+)</td>',
            line,
        ).groups()
        found.append(int(row))
        naming = (exp.indices == int(row)).any(axis=1)
        assert int(n_of) == counts[int(row)] == naming.sum()
        assert float(share) == pytest.approx(100 * naming.mean(), abs=0.05)
        assert int(label) == digits[1][int(row)]
        assert int(n_other) == (exp.query_labels[naming] != int(label)).sum()
        links = dict(re.findall(r'href="#(q\d+)">(\d+)<', line))
        assert set(map(int, links.values())) <= set(np.flatnonzero(naming))
        assert len(links) == min(naming.sum(), 12)
        for target, query in links.items():
            assert re.search(
                rf'<article id="{target}" class="[a-z ]*" aria-label="Test row {query}"', html
            )
    np.testing.assert_array_equal(counts[found], np.sort(counts)[::-1][:6])


def test_misclassified_rows_come_first_then_those_of_least_agreement(digits, similar):
    X_test, y_test = digits[3], digits[4]
    html = report(similar, X_test, y_test, n_queries=20, suspicious=None)
    exp = similar.explain(X_test, k=5)
    shown = np.array(rows_of(html, "queries", "Test"))
    wrong = exp.query_labels != y_test
    key = np.where(wrong, 0, 2) + exp.agreement
    assert len(shown) == 20
    assert (np.diff(key[shown]) >= 0).all()
    np.testing.assert_allclose(np.sort(key)[:20], key[shown])
    assert "20 of 60 test rows are shown, first misclassified ones, then those with" in html
    assert html.count("✗ misclassified") == wrong.sum()


# Suspicious rows


def test_suspicious_rows_are_ranked_by_disagreement_then_loss(digits, similar):
    X, y, flipped, X_test, _ = digits
    html = report(similar, X_test[:3], n_rows=25, k=5)
    disagreement = label_disagreement(similar.explain(k=5), y)
    loss = label_loss(similar, X, y)
    expected = np.lexsort([-loss, -disagreement])[:25]
    found = rows_of(html, "suspicious", "Training")
    assert found == expected.tolist()
    assert flipped[found].mean() > 0.7 > 2 * flipped.mean()
    text = text_of(html, "suspicious")
    row = found[0]
    assert f"Training row {row}, id image {row}: labelled {y[row]} predicted" in text
    assert f"label disagreement {disagreement[row]:.3g}" in text
    n_suspicious = ((disagreement > 0) | (loss > np.log(2))).sum()
    assert f"{n_suspicious} of 300 rows are suspicious at all" in text


def test_exemplars_of_a_suspicious_row_are_among_the_others(digits, network):
    html = report(network, digits[3][:3], n_rows=4, k=3)
    others = network.explain(k=3)
    cards = re.findall(r'<article id="s\d+".*?</article>', html, re.DOTALL)
    rows = rows_of(html, "suspicious", "Training")
    assert len(cards) == len(rows) == 4
    for card, row in zip(cards, rows, strict=True):
        named = [int(n) for n in re.findall(r">row\N{NO-BREAK SPACE}(\d+)<", card)]
        assert named == others.indices[row].tolist()
        assert f"predicted <bdi>{others.query_labels[row]}</bdi>" in card
        assert card.count('class="picture"') == 4


def test_own_scores_rank_the_suspicious_rows(digits, similar):
    X, y, _, X_test, _ = digits
    scores = label_error_scores(similar, X, y)["loss"]
    html = report(similar, X_test[:3], suspicious=scores, n_rows=8)
    assert rows_of(html, "suspicious", "Training") == np.argsort(-scores)[:8].tolist()
    assert "suspicion as given" in text_of(html, "suspicious")


def test_where_all_candidates_agree_the_loss_ranks(digits):
    X, y, _, X_test, y_test = digits
    fitted = RepSimAttributor(LogisticRegression(C=0.1, max_iter=500)).fit(X, y)
    html = report(fitted, X_test, y_test, n_rows=5)
    loss = label_loss(fitted, X, y)
    assert rows_of(html, "suspicious", "Training") == np.argsort(-loss)[:5].tolist()
    assert 'label disagreement needs candidates="all"' in text_of(html, "suspicious")
    assert "all agree with it" in text_of(html, "summary")
    assert "of them with another label" not in html


def test_without_probabilities_and_disagreement_it_says_so(digits):
    X, y, _, X_test, _ = digits
    fitted = InfoGainAttributor(LinearSVC(), features=StandardScaler().fit(X)).fit(X, y)
    text = text_of(report(fitted, X_test[:3]), "suspicious")
    assert 'needs candidates="all"' in text
    assert "no probabilities" in text
    assert "labelled" not in text


def test_issues_found_by_models_that_have_not_seen_the_row(digits, similar):
    X, y, flipped, X_test, _ = digits
    issues = find_label_issues(similar, X, y)
    html = report(similar, X_test[:3], suspicious=issues, n_rows=8)
    rows = rows_of(html, "suspicious", "Training")
    assert rows == np.argsort(-issues.suspicion, kind="stable")[:8].tolist()
    text = text_of(html, "suspicious")
    assert (
        f"{len(issues.rows)} of 300 training rows have a label that is likely to be wrong" in text
    )
    with pytest.raises(ValueError, match="300 training rows, but the issues are those of 200"):
        report(similar, X_test[:3], suspicious=find_label_issues(similar, X[:200], y[:200]))
    with pytest.raises(ValueError, match=r"same order, but for \d+ of 300 rows the label of the"):
        report(similar, X_test[:3], suspicious=find_label_issues(similar, X[::-1], y[::-1]))


def test_a_model_that_may_know_its_rows_by_heart_is_named_so(digits, similar):
    X, y, _, X_test, _ = digits
    by_heart = RepSimAttributor(LogisticRegression(C=1e6, max_iter=5000), candidates="all")
    text = text_of(report(by_heart.fit(X, y), X_test[:3]), "suspicious")
    assert "The model gives 100.0% of its training rows the label that they carry" in text
    assert "find_label_issues" in text
    assert "by heart" not in text_of(report(similar, X_test[:3]), "suspicious")


def test_clean_data_have_no_suspicious_row():
    X = np.repeat(np.eye(2), 20, axis=0) + np.random.default_rng(0).normal(0, 0.01, (40, 2))
    y = np.repeat([0, 1], 20)
    fitted = RepSimAttributor(LogisticRegression(C=100), candidates="all").fit(X, y)
    text = text_of(report(fitted, X[:3], k=3), "suspicious")
    assert "0 of 40 rows are suspicious at all" in text
    assert "labelled" not in text


# What it works with


class Nearest(KNeighborsClassifier):
    """An estimator of one's own that explains."""

    def explain(self, X, k=5):
        distances, indices = self.kneighbors(X, k)
        return Explanation(
            indices, -distances, queries=X, training_data=self._fit_X,
            exemplar_labels=self._y[indices], query_labels=self.predict(X), method="nearest",
        )  # fmt: skip


def test_flat_images_are_shown_as_images(digits, similar):
    *_, X_test, y_test = digits
    options = {"n_queries": 2, "n_rows": 2, "embedding": None, "suspicious": None}
    table = report(similar, X_test[:4], y_test[:4], **options)
    images = report(similar, X_test[:4], y_test[:4], image_shape=(8, 8), **options)
    assert "data:image/png" in images
    assert "data:image/png" not in table
    with pytest.raises(ValueError, match="image_shape=\\(9, 9\\) needs 81 values"):
        report(similar, X_test[:4], image_shape=(9, 9), **options)


def test_an_estimator_of_ones_own(digits):
    X, y, flipped, X_test, y_test = digits
    fitted = Nearest().fit(X, y)
    html = report(fitted, X_test, y_test)
    assert f"({(fitted.predict(X_test) == y_test).sum()} of 60)" in text_of(html, "summary")
    assert "Nearest does not tell the labels" in text_of(html, "suspicious")
    html = report(fitted, X_test, y_test, suspicious=flipped, n_rows=3)
    assert flipped[rows_of(html, "suspicious", "Training")].all()


def test_rows_alone_are_enough(digits):
    class Bare(BaseEstimator):
        def explain(self, X, k=5):
            return Explanation(np.tile(np.arange(k), (len(X), 1)), np.ones((len(X), k)))

        def fit(self, X, y):
            return self

        def __sklearn_is_fitted__(self):
            return True

    html = report(Bare(), digits[3], digits[4])
    assert "Labels are not known" in text_of(html, "summary")
    assert len(Page(html).named("article")) == 50
    assert "the same one for at most 60 of 60 test rows" in html
    assert len(report(Bare(), digits[3], suspicious=np.arange(9))) > len(html) / 2


@pytest.mark.parametrize("wrap", ["pipeline", "search"])
def test_through_containers_rows_have_the_users_units(wrap):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.integers(20, 80, 60).astype(float), "size": rng.random(60)})
    y = np.where(X["age"] + rng.normal(0, 10, 60) > 50, "old", "young")
    inner = ProvenanceClassifier(width="small", max_epochs=3, device="cpu", random_state=0)
    fitted = make_pipeline(StandardScaler(), inner)
    if wrap == "search":
        fitted = GridSearchCV(fitted, {"provenanceclassifier__alpha": [0.1, 0.5]}, cv=2)
    fitted.fit(X, y)
    html = report(fitted, X, y)
    assert rows_of(html, "suspicious", "Training")  # 3 epochs leave some
    ages = {f"{age:.0f}" for age in X["age"]}
    found = re.findall(
        r"<th scope=\"row\">query</th><td><bdi>\w+</bdi></td><td></td><td>(\d+)<", html
    )
    assert len(found) > 50
    assert set(found) <= ages
    assert {"age", "size"} <= set(Page(html).inside("th"))


def test_labels_of_names_and_hard_routing(digits):
    X, y, _, X_test, y_test = digits
    names = np.array([f"digit {i}" for i in range(10)])
    fitted = ProvenanceClassifier(
        width="small", max_epochs=6, device="cpu", random_state=0, input_shape=(8, 8)
    ).fit(X, names[y])
    html = report(fitted, X_test, pd.Series(names[y_test]))
    assert "all agree with it" in text_of(html, "summary")
    assert "Here it is 0 or 1" in text_of(html, "suspicious")
    assert set(Page(html).inside("bdi")) <= set(names)
    german = report(
        fitted, X_test, names[y_test], label_names={n: n.replace("digit", "Ziffer") for n in names}
    )
    assert "Ziffer 3" in german
    assert "digit 3" not in german


def test_forests_through_features(digits):
    X, y, _, X_test, y_test = digits
    forest = RandomForestClassifier(20, random_state=0).fit(X, y)
    fitted = InfoGainAttributor(forest, features=lambda X: X, candidates="all").fit(X, y)
    html = report(fitted, X_test[:10], y_test[:10], k=2)
    assert f"({(forest.predict(X_test[:10]) == y_test[:10]).sum()} of 10)" in html
    assert "nats" in text_of(html, "queries")


# Care


def test_nothing_of_the_users_changes(digits, network):
    X_test, y_test = digits[3].copy(), digits[4].copy()
    weights = {n: w.clone() for n, w in network.net_.module_.state_dict().items()}
    first = report(network, X_test, y_test)
    assert not network.net_.module_.training
    assert all(torch.equal(weights[n], w) for n, w in network.net_.module_.state_dict().items())
    np.testing.assert_array_equal(X_test, digits[3])
    np.testing.assert_array_equal(y_test, digits[4])
    assert report(network, X_test, y_test) == first


def test_data_cannot_change_the_structure_of_the_page(tmp_path):
    attacks = ATTACKS[:-1]
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(len(attacks), 3)), np.arange(len(attacks)) % 3
    pages = []
    for names in (attacks, [f"word {i:02d}" for i in range(len(attacks))]):
        labels = np.array(sorted(names[:3]), dtype=object)
        frame = pd.DataFrame(X, columns=names[3:6])
        model = make_pipeline(StandardScaler(), LogisticRegression())
        fitted = RepSimAttributor(model, candidates="all").fit(
            frame, labels[codes], sample_id=np.array(names, dtype=object)
        )
        path = tmp_path / "page.html"
        html = report(fitted, frame[:9], labels[codes[:9]], title=names[6], path=path)
        assert path.read_text(encoding="utf-8") == html
        pages.append(Page(html))
    hostile, tame = pages
    assert hostile.structure == tame.structure
    assert hostile.inside("h1") == [readable(ATTACKS[6])]
    assert {readable(name) for name in ATTACKS[:3]} <= set(hostile.inside("bdi"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y_test": [0, 1]}, ValueError, "for each of the 60 rows of X_test, got .*2"),
        ({"y_test": ["0"] * 60}, ValueError, "knows, such as 0, got only others, such as '0'"),
        ({"suspicious": "loss"}, ValueError, r"'suspicious' parameter .* Got 'loss'"),
        ({"suspicious": [0.5]}, ValueError, r"each of the 300 training rows, got .* \(1,\)"),
        ({"suspicious": np.full(300, np.nan)}, ValueError, "with 300 nan"),
        ({"n_queries": 0}, ValueError, r"'n_queries' parameter .* Got 0"),
        ({"n_rows": 2.5}, TypeError, r"'n_rows' parameter .* an int"),
        ({"label_names": ["zero"]}, ValueError, "label_names must have a name"),
        ({"path": "nowhere/page.html"}, FileNotFoundError, "make the folder"),
    ],
)
def test_refuses(digits, similar, options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        report(similar, digits[3], **options)


def test_a_wrong_path_is_refused_before_the_work(tmp_path, similar, digits, monkeypatch):
    monkeypatch.setattr(similar, "explain", None)  # not called
    with pytest.raises(FileNotFoundError, match="path must be in a folder that exists"):
        report(similar, digits[3], path=tmp_path / "nowhere" / "page.html")
    with pytest.raises(IsADirectoryError, match="must name a file"):
        report(similar, digits[3], path=tmp_path)


def test_refuses_what_does_not_explain(digits):
    X, y, _, X_test, _ = digits
    with pytest.raises(TypeError, match="needs an estimator with an explain method"):
        report(LogisticRegression(max_iter=300).fit(X, y), X_test)


# Regression


@pytest.fixture(scope="module")
def regression():
    """An attributor of a forest, in which one target is far off, and test rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = 100 + 20 * X[:, 0] + rng.normal(size=90)
    y[7] += 500
    forest = RandomForestRegressor(n_estimators=8, min_samples_leaf=3, random_state=0)
    return InfoGainAttributor(forest).fit(X[:60], y[:60]), X, y


def test_a_regression_is_summarised_by_its_errors(regression):
    fitted, X, y = regression
    html = report(fitted, X[60:], y[60:], n_queries=4, k=3, suspicious=None)
    text = text_of(html, "summary")
    predicted = fitted.predict(X[60:])
    assert f"Mean absolute error {np.abs(predicted - y[60:]).mean():.3g}" in text
    assert f"R² {r2_score(y[60:], predicted):.2g}" in text
    explanation = fitted.explain(X[60:], k=3)
    distance = np.abs(explanation.target_differences).mean()
    assert f"target of an exemplar differs from the prediction by {distance:.3g}" in text
    for section in ("summary", "queries", "often"):
        assert not re.search("Accuracy|agree|label", text_of(html, section))
    worst = np.argsort(-np.abs(predicted - y[60:]), kind="stable")[:4]
    assert rows_of(html, "queries", "Test") == worst.tolist()
    assert "first those with the largest residuals" in html
    residual = y[60:][worst[0]] - predicted[worst[0]]
    assert f"(residual {residual:+.3g})" in text_of(html, "queries")


def test_targets_far_from_their_prediction_are_suspicious(regression):
    fitted, X, y = regression
    html = report(fitted, X[60:], y[60:], n_rows=5, k=3)
    distance = np.abs(fitted.predict(X[:60]) - y[:60])
    rows = rows_of(html, "suspicious", "Training")
    assert rows == np.argsort(-distance, kind="stable")[:5].tolist()
    assert rows[0] == 7
    text = text_of(html, "suspicious")
    assert "Training rows with a suspicious target" in text
    # Target minus prediction, as for test rows.
    assert f"(residual {y[7] - fitted.predict(X[7:8])[0]:+.3g})" in text


def test_issues_of_a_regression_and_a_map_of_ones_own(regression):
    fitted, X, y = regression
    issues = find_label_issues(Ridge(), X[:60], y[:60])
    options = {"suspicious": issues, "n_rows": 3, "n_queries": 2}
    html = report(fitted, X[60:], embedding=(X[60:, :2], X[:60, :2]), **options)
    rows = rows_of(html, "suspicious", "Training")
    assert rows == np.argsort(-issues.suspicion, kind="stable")[:3].tolist()
    assert "Map of the rows" in html
    with pytest.raises(ValueError, match=r"same order, but for 60 of 60 rows the label of the"):
        report(
            fitted, X[60:], **options | {"suspicious": find_label_issues(Ridge(), X[:60], -y[:60])}
        )


def test_names_of_labels_are_refused_for_numbers(regression):
    fitted, X, y = regression
    with pytest.raises(ValueError, match="label_names must be None, because the targets"):
        report(fitted, X[60:], label_names=["a", "b"])


class Answers:
    """Explains with what it is given, and is no estimator otherwise."""

    def __init__(self, **explanation):
        self.explanation = explanation
        self.fitted_ = True

    def fit(self, X, y):
        return self

    def __sklearn_tags__(self):
        return BaseEstimator().__sklearn_tags__()

    def explain(self, X, k=5):
        indices = np.tile(np.arange(k), (len(X), 1))
        given = {"indices": indices, "scores": np.ones(indices.shape), "queries": X}
        return Explanation(**given | self.explanation)


def summary_of(fitted, X_test, y_test=None, **options):
    html = report(fitted, X_test, y_test, k=2, suspicious=None, **options)
    return text_of(html, "summary")


def test_a_summary_of_one_number():
    told = Answers(exemplar_labels=[[1.5, 2.5]], query_labels=[2.5], targets="numbers")
    text = summary_of(told, np.ones((1, 3)), np.array([3.0]))
    assert "Mean absolute error 0.5" in text
    assert "R² –" in text
    assert "differs from the prediction by 0.5, and from the true target by 1" in text
    assert "no random_state among the parameters" in text
    alone = summary_of(told, np.ones((1, 3)))
    assert "differs from the prediction by 0.5." in alone
    assert "true target" not in alone


def test_a_summary_says_what_is_not_known():
    unknown = Answers(exemplar_labels=[[1.5, 2.5]], targets="numbers")
    assert "targets are not known, so they cannot be compared" in summary_of(
        unknown, np.ones((1, 3))
    )
    padding = {"indices": [[-1, -1]], "scores": np.full((1, 2), np.nan)}
    nobody = Answers(**padding, exemplar_labels=[[0.0, 0.0]], query_labels=[2.5], targets="numbers")
    html = report(nobody, np.ones((1, 3)), k=2, suspicious=None)
    assert "There are no exemplars, so their targets cannot be compared" in text_of(html, "summary")
    assert "No training row is named" in text_of(html, "often")


def test_texts_are_counted_without_their_values():
    texts = np.array(["a river", "a bridge", "rain"], dtype=object)
    text = summary_of(Answers(training_data=texts), np.array(["much rain"], dtype=object))
    assert "Training rows 3" in text
    assert "values" not in text
