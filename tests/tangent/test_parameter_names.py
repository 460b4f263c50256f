"""Names of parameters that match nothing: the error says what may be meant."""

import re

import numpy as np
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
        ("classifier", "got 'classifier'. Pass a list, [\"classifier.*\"]"),
        ("classifier.*", "got 'classifier.*'. Pass a list, [\"classifier.*\"]"),
        ("classifier.bias", 'Pass a list, ["classifier.bias"]'),
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


def test_what_is_no_choice_at_all():
    with pytest.raises(TypeError, match=r"parameters must be .*; got 0$"):
        TangentModel(Network(), parameters=0)
    with pytest.raises(ValueError, match=r"got \[0, None\]$"):
        TangentModel(Network(), parameters=[0, "encoder.*", None])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("choice", ["head.weight", "head.*", "h*t", "*head.w*"])
def test_tied_weights_are_chosen_by_each_of_their_names(choice, bias):
    network = Tokens(tied=True)
    if not bias:
        network.head.bias = None
    chosen = set(TangentModel(network, parameters=[choice]).weights)
    biased = bias and choice == "head.*"
    assert chosen == {"embedding.weight"} | ({"head.bias"} if biased else set())


def test_heads_of_language_models():
    config = transformers.GPT2Config(vocab_size=19, n_embd=8, n_layer=2, n_head=2, n_positions=16)
    network = transformers.GPT2LMHeadModel(config).eval()
    rows = causal_rows(IDS)

    def explained(choice):
        attributor = InfoGainAttributor(network, forward=log_odds, parameters=[choice])
        return attributor.fit(rows, [0] * 6).explain(causal_rows(IDS[:2]), k=3)

    expected = explained("transformer.wte.weight")
    for choice in ("lm_head.*", "lm_head.weight", "*lm_head*"):
        found = explained(choice)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.scores, expected.scores)
    with pytest.raises(ValueError, match=r"got \['lm_head'\]. Pass \"lm_head.\*\"$") as error:
        explained("lm_head")
    assert "(28 in all)" in str(error.value)
    assert len(str(error.value)) < 900
