"""Eight jobs as somebody writes them who has read the guide once: each in at most twelve lines."""

import inspect

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor, explain
from sklearn_provenance.datasets import flip_labels, load_letters
from sklearn_provenance.inspection import find_label_issues
from sklearn_provenance.text import tokenize

from .checks import thorough
from .text.conftest import make_tokenizer

TEXTS = ["a good film", "bad food", "very good food", "what a bad film", "good", "a bad day"]
SENTIMENTS = ["glad", "sad", "glad", "sad", "glad", "sad"]


def forest():
    X, y = load_wine(return_X_y=True, as_frame=True)
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    explanation = explain(model, X[:3], k=4, training=(X, y))
    explanation.to_frame()
    return explanation


def boosting():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(X, y)
    return explain(model, X[:3], k=4, training=(X, y))


def images_with_flipped_labels():
    pytest.importorskip("matplotlib", minversion="3.11")  # whose fonts are drawn
    images, labels = load_letters(letters="OX", size=12, return_X_y=True)
    X = images.reshape(len(images), -1) / 255
    y, is_flipped = flip_labels(labels, share=0.05, random_state=0)
    issues = find_label_issues(MLPClassifier((16,), max_iter=100, tol=0.01, random_state=0), X, y)
    assert np.mean(is_flipped[issues.rows]) > 0.8
    assert len(issues.rows) > 0.8 * is_flipped.sum()


def own_torch_cnn():
    torch = pytest.importorskip("torch")
    pytest.importorskip("matplotlib", minversion="3.11")
    images, y = load_letters(letters="OX", size=12, return_X_y=True)
    X = torch.tensor(images[:, None] / 255, dtype=torch.float32)
    layers = (torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    network = torch.nn.Sequential(*layers, torch.nn.Linear(400, 2))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(10):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(X), torch.tensor(y)).backward()
        optimizer.step()
    return InfoGainAttributor(network).fit(X, y).explain(X[:3], k=4)


def tf_idf_text():
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, SENTIMENTS)
    explanation = explain(model, ["good food"], k=2, training=(TEXTS, SENTIMENTS))
    assert "<mark" in explanation.to_html()
    return explanation


def regression():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), Ridge()).fit(X, y)
    attributor = InfluenceAttributor(model).fit(X, y)
    explanation = attributor.explain(X[:3], k=4)
    without = attributor.predict_without(X[:1], rows=explanation.indices[0])
    scaled, kept = model[0].transform(X), np.delete(np.arange(len(y)), explanation.indices[0])
    again = Ridge().fit(scaled[kept], y[kept])
    np.testing.assert_allclose(without, again.predict(scaled[:1]))
    return explanation


def skorch_in_a_search():
    torch, skorch = pytest.importorskip("torch"), pytest.importorskip("skorch")
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X).astype(np.float32)
    module = torch.nn.Sequential(torch.nn.Linear(30, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    loss = torch.nn.CrossEntropyLoss
    net = skorch.NeuralNetClassifier(module, criterion=loss, max_epochs=3, verbose=0)
    search = GridSearchCV(net, {"lr": [0.03, 0.1]}, cv=2).fit(X, y)
    return explain(search, X[:3], k=4, training=(X, y))


def hugging_face_model():
    transformers = pytest.importorskip("transformers")
    tokenizer = make_tokenizer()  # of a real model: AutoTokenizer.from_pretrained
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), intermediate_size=8, initializer_range=0.5, **sizes
    )
    model = transformers.BertForSequenceClassification(config).eval()
    X, y = tokenize(tokenizer, TEXTS), np.array([1, 0, 1, 0, 1, 0])
    return InfoGainAttributor(model).fit(X, y).explain(X[:3], k=2)


JOBS = (
    *(forest, boosting, images_with_flipped_labels, own_torch_cnn, tf_idf_text),
    *(regression, skorch_in_a_search, hugging_face_model),
)


@pytest.mark.parametrize(
    "job", [*JOBS[:-1], *thorough(hugging_face_model)], ids=lambda job: job.__name__
)
def test_a_first_try_works(job):
    explanation = job()
    if explanation is not None:
        assert np.isfinite(explanation.scores[explanation.indices >= 0]).all()
        assert (explanation.indices >= 0).any(axis=1).all()
        assert "<article" in str(explanation.to_html())


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_a_first_try_is_short(job):
    assert len(inspect.getsource(job).splitlines()) - 1 <= 12
