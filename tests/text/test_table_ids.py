"""Ids that a table of embeddings has no row for are named, in networks of any kind."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import InfoGainAttributor, explain
from sklearn_provenance._utils import table_ids
from sklearn_provenance._utils.modules import evaluation
from sklearn_provenance.retraining import Recipe, retrain
from sklearn_provenance.tangent import TangentFeatures, TangentModel, cached_trunk, tangent_kernel
from sklearn_provenance.text import causal_rows, log_likelihood, mean_embeddings

IDS = torch.randint(3, 12, (6, 7), generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])


class Own(nn.Module):
    """A network with a table of words and a table of positions, without a configuration."""

    def __init__(self, functional=False):
        super().__init__()
        self.functional = functional
        self.words = nn.Embedding(12, 4)
        self.places = nn.Embedding(8, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def hidden(self, input_ids):
        places = self.places(torch.arange(input_ids.shape[1]))
        if self.functional:
            words = nn.functional.embedding(input_ids, self.words.weight)
        else:
            words = self.words(input_ids)
        return self.mix(words + places)

    def forward(self, input_ids):
        return self.head(torch.tanh(self.hidden(input_ids)).mean(1))


class Encoder(Own):
    def forward(self, input_ids):
        return self.hidden(input_ids)


def own(**settings):
    torch.manual_seed(0)
    return Own(**settings).eval()


def with_id(row, number):
    ids = IDS.clone()
    ids[row, 2] = number
    return ids


LONG = (
    r"embedding 'places' looks up must be from 0 to 7, its rows; got 0 to 13\. .* rows of 14 "
    r"tokens, of which there may be 8: .*truncation=True, max_length=8"
)
WORDS = r"embedding 'words(\.weight)?' looks up must be from 0 to 11.*got "
NEW = WORDS + r"3 to 12\. .*resize_token_embeddings"
NEGATIVE = WORDS + "-1 to .*Ids count from 0"
MESSAGES = [
    (IDS.repeat(1, 2), LONG),
    (with_id(4, 12), NEW),
    (with_id(4, -1), NEGATIVE),
]


@pytest.mark.parametrize(("ids", "message"), MESSAGES)
@pytest.mark.parametrize("functional", [False, True])
def test_every_way_in_names_the_table(ids, message, functional):
    network = own(functional=functional)
    good = {"input_ids": IDS}
    bad = {"input_ids": ids}
    attributor = InfoGainAttributor(network).fit(good, LABELS)
    features = TangentFeatures(network, n_components=8).fit(good)
    model = TangentModel(network).plan(good)
    masks = np.ones((2, 6), dtype=bool)
    recipe = Recipe(max_epochs=1)
    entries = [
        lambda: InfoGainAttributor(network).fit(bad, LABELS),
        lambda: InfoGainAttributor(network).fit(ids, LABELS),
        lambda: attributor.explain(bad, k=2),
        lambda: explain(network, bad, k=1, training=(good, LABELS)),
        lambda: TangentFeatures(network, n_components=8).fit(bad).transform(bad),
        lambda: features.transform(bad),
        lambda: model.logits(bad),
        lambda: tangent_kernel(model, bad, LABELS),
        lambda: mean_embeddings(Encoder(functional=functional), bad),
        lambda: retrain(network, bad, LABELS, masks, X_eval=good, recipe=recipe, device="cpu"),
        lambda: retrain(network, good, LABELS, masks, X_eval=bad, recipe=recipe, device="cpu"),
    ]
    if not functional:  # a lookup by a function is not watched by trunks
        trunk = cached_trunk(network, "mix", good)
        entries += [lambda: cached_trunk(network, "mix", bad), lambda: trunk.cache(bad)]
    for refuse in entries:
        with pytest.raises(ValueError, match=message):
            refuse()


def test_errors_of_other_kinds_stay_as_they_are():
    class Asks(Own):
        def forward(self, input_ids):
            return super().forward(input_ids)[[99]]

    with pytest.raises(IndexError, match="index 99"):
        TangentModel(Asks()).plan(IDS)
    with pytest.raises(IndexError, match="nothing"), table_ids.ids_named(own()):
        raise IndexError("nothing")


def test_bags_of_words():
    network = nn.Sequential(nn.EmbeddingBag(12, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"embedding '0' looks up must be from 0 to 11"):
        TangentModel(network).plan(with_id(4, 12))


def test_language_models_of_ones_own():
    model = nn.Embedding(12, 12)
    with pytest.raises(ValueError, match=r"embedding '' looks up must be from 0 to 11"):
        InfoGainAttributor(model, forward=log_likelihood).fit(causal_rows(with_id(4, 12)), [0] * 6)


@pytest.mark.parametrize(("ids", "message"), MESSAGES)
def test_ids_are_looked_at_before_a_gpu_looks_them_up(ids, message, monkeypatch):
    network = own()
    monkeypatch.setattr(table_ids, "_on_cpu", lambda module: False)
    seen = []
    network.words.register_forward_hook(lambda *_: seen.append("words"))
    with evaluation(network):
        network(IDS)
    seen.clear()
    with pytest.raises(ValueError, match=message) as error, evaluation(network):
        network(ids)
    assert error.value.__cause__ is None  # no lookup has failed
    assert not seen
    assert not network.words._forward_pre_hooks
    TangentFeatures(network, n_components=8).fit(IDS).transform(IDS)  # also by torch.func
    copied = cached_trunk(network, "mix", IDS).whole()
    assert not any(m._forward_pre_hooks for m in copied.modules())
