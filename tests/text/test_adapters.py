"""Low-rank adapters of peft are linear layers, whose gradients are those of autograd."""

from functools import partial

import numpy as np
import pytest
import torch

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import GradDotAttributor
from sklearn_provenance.tangent import TangentRows
from sklearn_provenance.text import causal_rows, log_likelihood, log_odds, token_shares

from ..checks import thorough

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

IDS = torch.tensor([[5, 3, 4, 2], [4, 7, 2, 0], [3, 8, 5, 9], [6, 6, 5, 0]])
ROWS = {"input_ids": IDS, "attention_mask": (IDS > 0).long()}
LABELS = torch.tensor([0, 1, 1, 0])
SIZES = {"vocab_size": 12, "pad_token_id": 0}


def bert(**settings):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=8, num_labels=2, **SIZES,
    )  # fmt: skip
    network = transformers.BertForSequenceClassification(config).double()
    settings = {"target_modules": ["query", "value"], "r": 2, "task_type": "SEQ_CLS"} | settings
    return peft.get_peft_model(network, peft.LoraConfig(**settings))


def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=1, **SIZES
    )
    network = transformers.GPT2LMHeadModel(config)  # old versions have no masks in double precision
    settings = peft.LoraConfig(task_type="CAUSAL_LM", r=2, fan_in_fan_out=True)
    return peft.get_peft_model(network, settings)


def trained(network):
    """Move what is trained: a new adapter multiplies by zero."""
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return network


def second(network):
    network.add_adapter("second", network.peft_config["default"])
    network.set_adapter("second")
    return network


CASES = {
    "new": bert,
    "trained": lambda: trained(bert()),
    "with layers of their own": lambda: trained(bert(modules_to_save=["classifier", "pooler"])),
    "with biases": lambda: trained(bert(bias="lora_only")),
    "second of two": lambda: trained(second(trained(bert()))),
}


def gradients(network, values):
    """Gradients (n, P) of values (n,) in what is trained."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    found = []
    for value in values:
        parts = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found)


@pytest.mark.parametrize(
    "name",
    ["new", "trained", "second of two", *thorough("with layers of their own", "with biases")],
)
def test_adapters_of_a_classifier(name):
    network = CASES[name]().eval()
    attributor = InfoGainAttributor(network, candidates="all").fit(ROWS, LABELS)
    trained_parameters = {n for n, p in network.named_parameters() if p.requires_grad}
    assert any("lora_A" in name for name in trained_parameters)
    routes = attributor.coverage_.routes
    assert {n for n, route in routes.items() if route == "factors"} == trained_parameters
    assert {routes[n] for n in routes.keys() - trained_parameters} == {"excluded"}
    rows = TangentRows(attributor._features.tangent, ROWS, LABELS)
    phi = gradients(network, network(**ROWS).logits[range(4), LABELS])
    np.testing.assert_allclose(rows.inner(), phi @ phi.T, atol=1e-14)
    assert attributor.explain(ROWS, k=2).indices.shape == (4, 2)


def test_adapters_of_a_language_model():
    network = trained(gpt2()).eval()
    rows = causal_rows(ROWS)
    attributor = GradDotAttributor(network, forward=log_odds).fit(rows, [0] * 4)
    assert attributor.coverage_.shares["functional"] == 0
    asked = gradients(network, log_odds(network, rows))
    learned = gradients(network, log_likelihood(network, rows))
    products = (asked.double() @ learned.double().T).numpy()
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * products.max())
    close(attributor.attribute(rows), products)
    shares = token_shares(attributor, rows, k=2)
    close(shares.exemplars.sum(2) + shares.exemplars_elsewhere, shares.explanation.scores)
    close(shares.exemplars_elsewhere, 0)  # adapters act on tokens
