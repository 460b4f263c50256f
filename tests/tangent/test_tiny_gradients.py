"""Layers whose gradients are rounding errors beside the whole are neither refused nor trusted."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_provenance.tangent import TangentModel, TangentRows
from sklearn_provenance.tangent._read_logits import call_module

from .conftest import reference


class Attention(nn.Module):
    """Reads the first token, which attends to those that are there."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(12, 8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        h = torch.tanh(self.table(ids))
        weights = self.query(h) @ self.key(h).mT  # (B, T, T)
        weights = weights.masked_fill((ids == 0)[:, None], -torch.inf).softmax(2)
        # Softmax of one number is 1: what flows back through it are differences of equal numbers.
        return self.head((weights @ self.value(h))[:, 0])


def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, num_labels=3, pad_token_id=0, max_position_embeddings=8,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def masked(network, ids):
    return network(input_ids=ids, attention_mask=(ids > 0).long()).logits


@pytest.mark.parametrize(
    ("make", "forward"), [(Attention, call_module), (bert, masked)], ids=["attention", "BERT"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("planned", ["one token", "several"])
@pytest.mark.filterwarnings("ignore:some rows of input_ids end in 0")  # ``masked`` makes the mask
def test_attention_to_a_single_token_keeps_its_factors(make, forward, dtype, planned):
    torch.manual_seed(0)
    network = make().to(dtype).eval()
    several = torch.randint(1, 12, (8, 4))
    single = several * (torch.arange(4) < 1)
    first, then = (single, several) if planned == "one token" else (several, single)
    labels = torch.arange(8) % 3
    model = TangentModel(network, forward=forward).plan(first)
    for ids in (first, then):
        rows = TangentRows(model, ids, labels)
        jacobian = reference(network, ids, labels, forward=forward).double()
        expected = (jacobian @ jacobian.T).numpy()
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        np.testing.assert_allclose(
            rows.inner().numpy(), expected, rtol=tolerance, atol=tolerance * expected.max()
        )
    assert model.coverage.shares["functional"] == 0


class Gated(nn.Module):
    """Uses the weight of a layer once more without a call, as far as the first number says."""

    def __init__(self):
        super().__init__()
        self.main = nn.Linear(6, 3)
        self.other = nn.Linear(6, 3, bias=False)

    def forward(self, x):
        return self.main(x) + x[:, :1] * (self.other(x) + F.linear(x, 4 * self.other.weight))


def test_what_was_too_small_to_be_seen_is_compared_again():
    torch.manual_seed(0)
    network = Gated().double()
    x = torch.randn(80, 6, dtype=torch.float64)
    x[:, 0] = 1e-14
    x[72:, 0] = 1.0
    labels = torch.arange(80) % 3
    model = TangentModel(network).plan(x[:72])
    assert model.coverage.routes["other.weight"] == "factors"
    rows = TangentRows(model, x, labels, batch_size=8)
    jacobian = reference(network, x, labels)
    np.testing.assert_allclose(rows.inner(), jacobian @ jacobian.T, atol=1e-9)
