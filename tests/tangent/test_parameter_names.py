"""Names of parameters that match nothing: the error says what may be meant."""

import re

import pytest
from torch import nn

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.tangent import TangentModel
from sklearn_provenance.text import causal_rows, log_odds

from .conftest import Tokens
from .test_transformers import IDS, transformers


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3)))
        self.classifier = nn.Linear(3, 2)

    def forward(self, x):
        return self.classifier(self.encoder(x))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (["classifier"], "got ['classifier']. Pass \"classifier.*\""),
        (["encoder.1"], 'Pass "encoder.1.*"'),
        (["encoder.1.0"], 'Pass "encoder.1.0.*"'),
        (["bias"], 'Pass "*.bias"'),
        (["class"], 'Pass "*class*"'),
        (["encoder.*", "classifier"], "got ['classifier']. Pass \"classifier.*\""),
        (["1.0"], 'Pass "*.1.0.*"'),
        ("classifier", "got 'classifier'. Pass [\"classifier.*\"]"),
        ("classifier.*", "got 'classifier.*'. Pass a list, ['classifier.*']"),
        ("classifier.bias", "Pass a list, ['classifier.bias']"),
    ],
)
def test_what_a_name_may_mean(choice, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TangentModel(Network(), parameters=choice)


def test_a_proposed_pattern_is_one_that_matches():
    for choice in ("classifier", "encoder.1", "bias", "class", "1.0"):
        with pytest.raises(ValueError, match="Pass") as error:
            TangentModel(Network(), parameters=[choice])
        pattern = re.search(r'Pass "(.*)"', str(error.value))[1]
        assert TangentModel(Network(), parameters=[pattern]).weights


def test_a_name_that_means_nothing():
    with pytest.raises(ValueError, match=r"got \['nowhere'\]$"):
        TangentModel(Network(), parameters=["nowhere"])
    with pytest.raises(ValueError, match=r"got 'some'$"):
        TangentModel(Network(), parameters="some")


@pytest.mark.parametrize("choice", ["head", "head.weight", "head.*t", "*head.w*"])
@pytest.mark.parametrize("bias", [False, True])
def test_tied_weights_go_under_one_name(choice, bias):
    network = Tokens(tied=True)
    if not bias:
        network.head.bias = None
    message = "Weights that are tied go under one name: 'head.weight' is 'embedding.weight'"
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        TangentModel(network, parameters=[choice])
    assert ('Pass "head.*"' in str(error.value)) == (bias and choice == "head")


def test_heads_of_language_models():
    config = transformers.GPT2Config(vocab_size=19, n_embd=8, n_layer=2, n_head=2, n_positions=16)
    network = transformers.GPT2LMHeadModel(config)
    message = r"tied go under one name: 'lm_head.weight' is 'transformer.wte.weight'$"
    for choice in ("lm_head", "lm_head.*", "lm_head.weight", "*lm_head*"):
        attributor = InfoGainAttributor(network, forward=log_odds, parameters=[choice])
        with pytest.raises(ValueError, match=message) as error:
            attributor.fit(causal_rows(IDS), [0] * 6)
        assert "(28 in all)" in str(error.value)
        assert len(str(error.value)) < 900
