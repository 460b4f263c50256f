"""Padding without a mask: a network that makes the mask itself gets no warning, others do."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.retraining import Recipe, retrain
from sklearn_provenance.tangent import TangentFeatures, TangentModel, cached_trunk
from sklearn_provenance.tangent._sequences import check_sequences
from sklearn_provenance.text import mean_embeddings

from .test_bad_input import IDS, LABELS, make, opt

PADDED = IDS.clone()
PADDED[2, 4:] = 0
WARNING = "rows of input_ids end in 0, the token for padding, and there is no attention_mask"


def keywords(inner, ids):
    return inner(ids, attention_mask=(ids != 0).long())


def in_place(inner, ids):
    return inner(ids, (ids != 0).long())


def of_booleans(inner, ids):
    return inner(input_ids=ids, attention_mask=ids != 0)


def of_pairs(inner, ids):
    mask = (ids != 0)[:, None, None].expand(-1, 1, ids.shape[1], -1)
    return inner(ids, attention_mask=mask)


def added(inner, ids):
    mask = (ids == 0)[:, None, None].expand(-1, 1, ids.shape[1], -1)
    return inner(ids, attention_mask=mask * -1e4)


def embedded(inner, ids):
    embeddings = inner.get_input_embeddings()(ids)
    return inner(inputs_embeds=embeddings, attention_mask=(ids != 0).long())


def no_mask(inner, ids):
    return inner(ids)


def none_given(inner, ids):
    return inner(ids, attention_mask=None)


def ones(inner, ids):
    return inner(ids, attention_mask=torch.ones_like(ids))


def zeros(inner, ids):
    return inner(ids, attention_mask=torch.zeros(len(ids), 1, 7, 7))


def one_of_two(inner, ids):
    masked = keywords(inner, ids)
    masked.logits = masked.logits + no_mask(inner, ids).logits
    return masked


def another_padding(inner, ids):
    return inner(ids, attention_mask=(ids != 5).long())


def upside_down(inner, ids):
    return inner(ids, attention_mask=(ids == 0).long())


def without_first(inner, ids):
    return inner(ids, attention_mask=(torch.arange(ids.shape[1]) > 0).long().expand_as(ids))


def of_one_length(inner, ids):
    return inner(ids, attention_mask=(torch.arange(ids.shape[1]) < 6).long().expand_as(ids))


def before_itself(inner, ids):
    """A token sees those behind it, and so all of the padding."""
    n = ids.shape[1]
    mask = torch.ones(n, n).triu().bool()[None, None].expand(len(ids), 1, n, n)
    return inner(ids, attention_mask=mask)


class Wrapped(nn.Module):
    def __init__(self, call, make_inner=lambda: make("Bert")):
        super().__init__()
        self.call = call
        self.part = nn.Module()
        self.part.network = make_inner()

    def forward(self, input_ids):
        return self.call(self.part.network, input_ids).logits


@pytest.mark.parametrize("call", [keywords, in_place, of_booleans, of_pairs, added, embedded])
@pytest.mark.parametrize("rows", [PADDED, {"input_ids": PADDED}], ids=["tensor", "mapping"])
def test_a_network_that_makes_the_mask_gets_no_warning(call, rows):
    network = Wrapped(call)
    check_sequences(network, rows)
    assert not any(m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize(
    "call",
    [
        no_mask,
        none_given,
        ones,
        zeros,
        one_of_two,
        another_padding,
        upside_down,
        without_first,
        of_one_length,
        before_itself,
    ],
)
@pytest.mark.parametrize("rows", [PADDED, {"input_ids": PADDED}], ids=["tensor", "mapping"])
def test_a_network_that_reads_padding_gets_one(call, rows):
    with pytest.warns(UserWarning, match=WARNING):
        check_sequences(Wrapped(call), rows)


@pytest.mark.parametrize("masks", [True, False])
def test_all_ways_in(masks):
    network = Wrapped(keywords if masks else no_mask)
    plain = make("Bert")
    forward = lambda module, ids: (keywords if masks else no_mask)(module, ids).logits  # noqa: E731
    options = {"X_eval": IDS, "recipe": Recipe(max_epochs=1), "device": "cpu"}
    every = np.ones((2, 6), dtype=bool)
    fitted = InfoGainAttributor(network).fit(IDS, LABELS)
    ways = [
        lambda: InfoGainAttributor(network).fit(PADDED, LABELS),
        lambda: InfoGainAttributor(plain, forward=forward).fit(PADDED, LABELS),
        lambda: fitted.explain(PADDED, k=1),
        lambda: TangentModel(network).plan(PADDED),
        lambda: TangentFeatures(network, n_components=8).fit(PADDED),
        lambda: TangentFeatures(plain, n_components=8, forward=forward).fit(PADDED),
        lambda: cached_trunk(network, "part.network.bert.pooler", PADDED),
        lambda: retrain(network, PADDED, LABELS, every, **options),
        lambda: retrain(plain, PADDED, LABELS, every, forward=forward, **options),
    ]
    for way in ways:
        if masks:
            way()
        else:
            with pytest.warns(UserWarning, match=WARNING):
                way()


def test_networks_are_left_as_they_are():
    network = Wrapped(keywords, opt).train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_sequences(network, PADDED)
    torch.testing.assert_close(torch.rand(3), expected)
    assert network.training
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_a_network_that_fails_gets_the_warning_too():
    def fails(inner, ids):
        raise ZeroDivisionError

    with pytest.warns(UserWarning, match=WARNING):
        check_sequences(Wrapped(fails), PADDED)


def test_encoders_make_no_mask():
    with pytest.warns(UserWarning, match=WARNING):
        mean_embeddings(make("Bert").bert, PADDED)
