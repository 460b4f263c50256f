"""Outputs and measurements of the user's own: dicts, sequences, numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance.attribution import (
    InfoGainAttributor,
    InfoLossAttributor,
    RelatIFAttributor,
)

GAUSSIAN = [InfoGainAttributor, InfoLossAttributor, RelatIFAttributor]


class Scores(nn.Module):
    """Returns a dict without logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(5, 3, dtype=torch.float64)

    def forward(self, x):
        return {"scores": self.layer(x), "input": x}


class Tagger(nn.Module):
    """Scores of every token of a sequence."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(11, 6, dtype=torch.float64)
        self.layer = nn.Linear(6, 11, dtype=torch.float64)

    def forward(self, ids):
        return self.layer(torch.tanh(self.table(ids)))  # (B, T, 11)


def answers(attributor, queries, y):
    found = attributor.explain(queries, y, k=4)
    return found.indices, found.scores, attributor.attribute(queries, y)


def assert_same(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    for a, b in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("cls", GAUSSIAN)
def test_forward_reads_logits_from_any_outputs(cls, data):
    X, y, queries = data
    module = Scores()
    found = cls(module, forward=lambda m, x: m(x)["scores"]).fit(X, y)
    plain = cls(module.layer).fit(X, y)
    assert_same(answers(found, queries, None), answers(plain, queries, None))
    with pytest.raises(ValueError, match="forward="):
        cls(module).fit(X, y)


@pytest.mark.parametrize("cls", GAUSSIAN)
def test_a_measurement_of_ones_own_takes_outputs_and_targets(cls, data):
    """The margin, written by hand: rows are measured at their own labels, as "margin" does."""
    X, y, queries = data
    module = Scores()

    def margin(outputs, target):
        log_p = outputs["scores"].log_softmax(1)
        own = log_p.gather(1, target[:, None])[:, 0]
        others = log_p.scatter(1, target[:, None], -torch.inf).logsumexp(1)
        return own - others

    labels = np.arange(len(queries)) % 3
    own = cls(module, measurement=margin).fit(X, y)
    named = cls(module.layer, measurement="margin").fit(X, y)
    assert_same(answers(own, queries, labels), answers(named, queries, labels))
    with pytest.raises(ValueError, match="labels must be given"):
        own.explain(queries)


@pytest.mark.parametrize("cls", GAUSSIAN)
def test_regression(cls, data):
    X, _, queries = data
    target = X @ np.arange(5.0) + 0.5
    torch.manual_seed(0)
    module = nn.Linear(5, 1, bias=False, dtype=torch.float64)
    attributor = cls(module, measurement=lambda outputs, target: outputs[:, 0]).fit(X, target)
    assert attributor.candidates_ == "all"
    assert attributor.classes_ is None
    # The tangent features of a linear output are the rows themselves.
    rows = cls(Scores().layer, features=np.asarray, candidates="all").fit(X, np.arange(30) % 3)
    found = attributor.explain(queries, queries[:, 0], k=4)
    expected = rows.explain(queries, k=4)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9)
    np.testing.assert_array_equal(found.exemplar_labels, target[found.indices])
    with pytest.raises(ValueError, match="y must be given"):
        attributor.explain(queries)
    with pytest.raises(ValueError, match="score needs classes"):
        attributor.score(queries, queries[:, 0])
    with pytest.raises(ValueError, match='pass candidates="all"'):
        attributor.set_params(candidates="same_class").fit(X, target)


@pytest.mark.parametrize("cls", GAUSSIAN)
def test_sequences(cls, rng):
    """The score of the last token of a sequence, by gradients taken one row at a time."""
    ids = torch.as_tensor(rng.integers(0, 11, size=(20, 4)))
    module, target = Tagger(), rng.integers(0, 11, size=20)

    def last(outputs, target):
        return outputs[:, -1].gather(1, target[:, None])[:, 0]

    attributor = cls(module, measurement=last, candidates="all").fit(ids, target)

    def gradients(rows, targets):
        found = []
        for row, label in zip(rows, targets, strict=True):
            value = last(module(row[None]), torch.as_tensor([label]))
            parts = torch.autograd.grad(value.sum(), list(module.parameters()))
            found.append(torch.cat([part.flatten() for part in parts]).numpy())
        return np.array(found)

    def features(numbers):
        rows = torch.as_tensor(np.asarray(numbers)).long()
        return gradients(rows[:, :4], rows[:, 4])

    both = np.column_stack([ids.numpy(), target]).astype(float)
    classifier = nn.Linear(5, 2, dtype=torch.float64)
    plain = cls(classifier, features=features, candidates="all").fit(both, np.arange(20) % 2)
    found = attributor.explain(ids[:3], target[:3], k=4)
    expected = plain.explain(both[:3], k=4)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-8, atol=1e-12)
    with pytest.raises(ValueError, match="measurement"):
        cls(module).fit(ids, target)


def test_a_module_that_changed_after_fit_is_refused(network, data):
    X, y, queries = data
    attributor = InfoGainAttributor(network).fit(X, y)
    attributor.explain(queries)
    with torch.no_grad():
        network.weight += 1
    for method in (attributor.explain, attributor.attribute):
        with pytest.raises(ValueError, match="call fit again"):
            method(queries)
    again, other = attributor.fit(X, y), InfoGainAttributor(network).fit(X, y)
    np.testing.assert_array_equal(again.explain(queries).scores, other.explain(queries).scores)


def test_query_ids_are_the_index_of_a_frame(data):
    pd = pytest.importorskip("pandas")
    X, y, queries = data
    frame = pd.DataFrame(X, index=[f"row {i}" for i in range(30)])
    asked = pd.DataFrame(queries, index=[f"query {i}" for i in range(7)])
    from sklearn.linear_model import LogisticRegression

    attributor = InfoGainAttributor(LogisticRegression()).fit(frame, y)
    found = attributor.explain(asked, k=2)
    assert found.query_id.tolist() == asked.index.tolist()
    assert found.sample_id[0, 0] == frame.index[found.indices[0, 0]]
    assert attributor.explain(k=2).query_id.tolist() == frame.index.tolist()
