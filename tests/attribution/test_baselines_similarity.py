"""RandomAttributor and RepSimAttributor."""

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.stats import kstest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from sklearn_provenance import ProvenanceClassifier, TangentFeatures
from sklearn_provenance.attribution import RandomAttributor, RepSimAttributor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS, SPECIES = load_iris(return_X_y=True)


def cosines(left, right):
    left = left / np.linalg.norm(left, axis=1, keepdims=True)
    return left @ (right / np.linalg.norm(right, axis=1, keepdims=True)).T


def test_random_scores_are_uniform_and_independent():
    rng = np.random.default_rng(0)
    X, y, queries = rng.normal(size=(400, 3)), np.arange(400) % 2, rng.normal(size=(100, 3))
    model = LogisticRegression().fit(X, y)
    scores = RandomAttributor(model, candidates="all").fit(X, y).attribute(queries)
    assert kstest(scores.ravel(), "uniform").pvalue > 1e-3
    # Correlations of 100 queries with each other, and of 400 rows: standard errors 0.05, 0.1.
    for rows in (scores, scores.T):
        between = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
        np.testing.assert_allclose(between.mean(), 0, atol=0.01)
        np.testing.assert_allclose(between.std(), rows.shape[1] ** -0.5, rtol=0.05)


def test_random_state_and_candidates():
    model = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)
    queries = IRIS[::10]

    def scores(**params):
        return RandomAttributor(model, **params).fit(IRIS, SPECIES).attribute(queries)

    everything = scores(candidates="all")
    np.testing.assert_array_equal(everything, scores(candidates="all"))
    some = scores()
    np.testing.assert_array_equal(some[~np.isnan(some)], everything[~np.isnan(some)])
    assert (
        abs(np.corrcoef(everything.ravel(), scores(candidates="all", random_state=1).ravel())[0, 1])
        < 0.1
    )
    assert not np.array_equal(scores(random_state=None), scores(random_state=None), equal_nan=True)
    # A number is the same row in any type.
    attributor = RandomAttributor(model).fit(IRIS, SPECIES)
    whole = np.round(queries)
    expected = attributor.attribute(whole)
    for same in (whole.astype(np.float32), whole.astype(int), torch.as_tensor(whole)):
        np.testing.assert_array_equal(attributor.attribute(same), expected)


def test_random_explains_any_classifier():
    texts = ["a good film", "a bad film", "good good plot", "bad acting", "so good", "so bad"]
    pipeline = make_pipeline(TfidfVectorizer(), MultinomialNB())
    attributor = RandomAttributor(pipeline).fit(texts, [1, 0, 1, 0, 1, 0])
    exp = attributor.explain(["good acting", "so bad"], k=3)
    assert (np.sort(exp.indices) == [[0, 2, 4], [1, 3, 5]]).all()
    again = attributor.explain(["so bad"], k=3)
    np.testing.assert_array_equal(again.indices[0], exp.indices[1])
    sparse = scipy.sparse.csr_array(np.round(IRIS))
    forest = RandomForestClassifier(3, random_state=0).fit(sparse, SPECIES)
    given = RandomAttributor(forest).fit(sparse, SPECIES).attribute(sparse[:5])
    dense = RandomAttributor(forest).fit(sparse.toarray(), SPECIES).attribute(sparse[:5].toarray())
    np.testing.assert_array_equal(given, dense)
    module = RandomAttributor(nn.Linear(4, 3)).fit(IRIS, SPECIES)
    assert module.explain(IRIS[:4]).indices.shape == (4, 5)


def test_random_has_no_transform():
    attributor = RandomAttributor(LogisticRegression(max_iter=500)).fit(IRIS, SPECIES)
    assert not hasattr(attributor, "transform")
    assert not hasattr(attributor, "fit_transform")
    with pytest.raises(AttributeError, match="compares no features"):
        attributor.transform(IRIS)


class TwoHeads(nn.Module):
    """Hidden features z, a second head after the one that counts, and a layer called twice."""

    def __init__(self):
        super().__init__()
        self.block = nn.Linear(4, 4)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.head = nn.Linear(6, 3)
        self.other = nn.Linear(6, 3)

    def forward(self, x):
        z = self.body(self.block(self.block(x).tanh()))
        logits = self.head(input=z)
        other = self.other(z)
        z.data.zero_()  # writes to what the head saw
        return logits.log_softmax(1), other


class Skip(nn.Module):
    """The last linear layer is not all of the logits."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.skip = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.skip(x) + self.second(self.first(x).relu())


class Late(nn.Module):
    """A linear layer called for a part of the logits after the one that gives most."""

    def __init__(self, n_late):
        super().__init__()
        self.first, self.n_late = nn.Linear(4, 3), n_late
        self.late = nn.Linear(3, n_late)

    def forward(self, x):
        z = self.first(x).relu()
        return self.late(z.view(-1, 1, 3)).mean(1) if self.n_late == 3 else self.late(z)[:, :3]


def test_features_of_modules_are_what_the_head_sees():
    torch.manual_seed(0)
    module = TwoHeads().double()
    x = torch.as_tensor(IRIS)
    with torch.no_grad():
        z = module.eval().body(module.block(module.block(x).tanh())).clone().numpy()
    params = {"candidates": "all", "batch_size": 7, "forward": lambda module, x: module(x)[0]}
    attributor = RepSimAttributor(module.train(), **params).fit(IRIS, SPECIES)
    assert attributor.features_.layer is module.head
    np.testing.assert_allclose(attributor.transform(IRIS), z, rtol=1e-12)
    queries = IRIS[::10] + 0.1
    with torch.no_grad():
        x = torch.as_tensor(queries)
        z_queries = module.eval().body(module.block(module.block(x).tanh())).clone().numpy()
    np.testing.assert_allclose(attributor.attribute(queries), cosines(z_queries, z), atol=1e-12)


def dead():
    """Whose units are off for every row, so that all logits are equal."""
    module = Late(5)
    with torch.no_grad():
        module.first.bias.fill_(-1e6)
    return module


@pytest.mark.parametrize(
    "make",
    [
        Skip,
        lambda: Late(3),
        lambda: Late(5),
        dead,
        lambda: nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 3, 1), nn.Flatten()),
    ],
    ids=["skip", "positions", "sliced", "dead", "convolution"],
)
def test_networks_without_a_last_linear_layer_need_features(make):
    torch.manual_seed(0)
    module = make()
    with pytest.raises(
        ValueError, match=r"must be a function of the output of one.*features of your"
    ):
        RepSimAttributor(module).fit(IRIS, SPECIES)
    RepSimAttributor(module, features=StandardScaler()).fit(IRIS, SPECIES).explain(IRIS[:2])


def test_features_of_scikit_learn_models():
    linear = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)
    attributor = RepSimAttributor(linear, candidates="all").fit(IRIS, SPECIES)
    np.testing.assert_allclose(attributor.attribute(IRIS[:9]), cosines(IRIS[:9], IRIS), rtol=1e-12)
    for y in (SPECIES, SPECIES > 0):
        mlp = MLPClassifier((7, 5), "tanh", max_iter=20, random_state=0).fit(IRIS, y)
        hidden = IRIS
        for weights, bias in list(zip(mlp.coefs_, mlp.intercepts_, strict=True))[:-1]:
            hidden = np.tanh(hidden @ weights + bias)
        attributor = RepSimAttributor(make_pipeline(mlp)).fit(IRIS, y)
        np.testing.assert_allclose(attributor.transform(IRIS), hidden, rtol=1e-9)
        assert attributor.get_feature_names_out().shape == (5,)


@pytest.mark.parametrize(
    "architecture", ["class_conditional", "class_independent", "single_branch"]
)
def test_features_of_provenance_networks(architecture):
    estimator = ProvenanceClassifier(
        architecture, width="small", max_epochs=2, device="cpu", random_state=0
    ).fit(IRIS, SPECIES)
    attributor = RepSimAttributor(estimator).fit(IRIS, SPECIES)
    network = estimator.net_.module_
    branch = network.index_head if architecture == "single_branch" else network.class_branch[-1]
    assert attributor.features_.layer is branch
    features = attributor.transform(IRIS)
    with torch.no_grad():
        outputs = branch(torch.as_tensor(features).float()).double()
    if architecture == "single_branch":
        np.testing.assert_allclose(
            outputs.softmax(1).numpy(), estimator.index_proba(IRIS), rtol=1e-3, atol=1e-6
        )
        np.testing.assert_allclose(features, estimator.transform(IRIS), rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_allclose(
            outputs.softmax(1).numpy(), estimator.predict_proba(IRIS), rtol=1e-3, atol=1e-6
        )


def test_leaves_of_a_forest():
    forest = RandomForestClassifier(20, random_state=0).fit(IRIS, SPECIES)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(forest.apply(IRIS))
    attributor = RepSimAttributor(
        forest, features=lambda X: encoder.transform(forest.apply(X)), candidates="all"
    ).fit(IRIS, SPECIES)
    shared = (forest.apply(IRIS[:4])[:, None] == forest.apply(IRIS)).mean(2)
    np.testing.assert_allclose(attributor.attribute(IRIS[:4]), shared, rtol=1e-12)


def test_tangent_features_and_zeros():
    torch.manual_seed(0)
    network = nn.Linear(4, 3, bias=False, dtype=torch.float64)
    exact = TangentFeatures(n_components="exact")
    attributor = RepSimAttributor(network, features=exact, candidates="all").fit(IRIS, SPECIES)
    # Every row is measured at the query's label, so the gradient is the input.
    np.testing.assert_allclose(attributor.attribute(IRIS[:3]), cosines(IRIS[:3], IRIS), rtol=1e-9)
    assert attributor.transform(IRIS).shape == (150, 12)
    rows = IRIS.copy()
    rows[3] = 0
    scores = RepSimAttributor(network, candidates="all").fit(rows, SPECIES).attribute(IRIS[:3])
    assert (scores[:, 3] == 0).all()


def test_algorithm_1_is_the_nearest_neighbour_by_cosine():
    """[PN] Algorithm 1 on a network that separates the classes."""
    model = MLPClassifier((16,), max_iter=2000, random_state=0).fit(IRIS, SPECIES)
    exp = RepSimAttributor(model, candidates="all").fit(IRIS, SPECIES).explain(k=1)
    assert (exp.exemplar_labels[:, 0] == SPECIES).mean() > 0.9


def test_the_features_that_are_compared_can_be_computed():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    X = torch.tensor(IRIS)
    attributor = RepSimAttributor(module, candidates="all").fit(IRIS, SPECIES)
    phi = attributor.features_(IRIS)
    np.testing.assert_allclose(phi, module[:2](X).detach().numpy())
    np.testing.assert_allclose(attributor.attribute(IRIS[:5]), cosines(phi[:5], phi))
    model = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)
    np.testing.assert_array_equal(RepSimAttributor(model).fit(IRIS, SPECIES).features_(IRIS), IRIS)


@pytest.mark.parametrize("convert", [torch.tensor, scipy.sparse.csr_matrix])
def test_features_of_ones_own_come_as_tensors_and_sparse(convert):
    model = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)
    attributor = RepSimAttributor(model, features=lambda X: convert(np.square(X)))
    attributor.fit(IRIS, SPECIES)
    np.testing.assert_array_equal(attributor.transform(IRIS[:7]), np.square(IRIS[:7]))
    plain = RepSimAttributor(model, features=np.square).fit(IRIS, SPECIES)
    np.testing.assert_allclose(attributor.attribute(IRIS[:7]), plain.attribute(IRIS[:7]))


def test_features_in_a_store_take_no_memory(tmp_path):
    torch.manual_seed(0)
    module = nn.Linear(4, 3).double()
    in_memory = RepSimAttributor(
        module, features=TangentFeatures(n_components=8), memory_limit=1000
    )
    with pytest.raises(MemoryError, match="or a TangentFeatures with a store"):
        in_memory.fit(IRIS, SPECIES)
    kept = TangentFeatures(n_components=8, store=tmp_path)
    attributor = RepSimAttributor(module, features=kept, memory_limit=1000).fit(IRIS, SPECIES)
    expected = RepSimAttributor(module, features=TangentFeatures(n_components=8)).fit(IRIS, SPECIES)
    np.testing.assert_allclose(attributor.attribute(IRIS[:3]), expected.attribute(IRIS[:3]))
