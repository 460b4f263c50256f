"""The autoencoder's module and loss against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from sklearn_provenance.provenance._index import ClassIndex
from sklearn_provenance.provenance._layers import InputScaling
from sklearn_provenance.provenance._standardization import Standardization
from sklearn_provenance.provenance._vae_loss import VAELoss, divergence, negative_log_likelihood
from sklearn_provenance.provenance._vae_network import VAENetwork, VAEOutput

Y = np.array([0, 2, 1, 0, 2, 2, 0, 2])
INDEX = ClassIndex.from_labels(Y, 3)
seeds = st.integers(0, 2**31 - 1)


def network(shape=(1, 9, 7), *, axes=None, heads="per_class", likelihood="bernoulli", seed=0):
    return VAENetwork(
        shape,
        axes,
        1.0,
        torch.as_tensor(INDEX.members),
        torch.Generator().manual_seed(seed),
        likelihood,
        "cnn" if len(shape) == 3 else "mlp",
        "small",
        5,
        heads,
    )


def output(rng, likelihood, n=4, d=3, n_features=6):
    def values(*shape):
        return torch.as_tensor(rng.standard_normal(shape))

    inputs = torch.as_tensor(rng.integers(0, 2, (n, n_features)), dtype=torch.float64)
    log_noise = None if likelihood == "bernoulli" else values()
    return VAEOutput(
        inputs, values(n, n_features), log_noise, values(n, d), values(n, d), None, None
    )


@given(seeds)
def test_terms_are_those_of_the_evidence_lower_bound(seed):
    rng = np.random.default_rng(seed)
    out = output(rng, "bernoulli")
    expected = Independent(Bernoulli(logits=out.image), 1).log_prob(out.inputs)
    torch.testing.assert_close(negative_log_likelihood(*out[:3]), -expected)
    posterior = Independent(Normal(out.mean, (out.log_variance / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(out.mean), torch.ones_like(out.mean)), 1)
    torch.testing.assert_close(
        divergence(out.mean, out.log_variance), kl_divergence(posterior, prior)
    )
    out = output(rng, "gaussian")
    noise = (out.log_noise / 2).exp().expand(out.image.shape)
    expected = Independent(Normal(out.image, noise), 1).log_prob(out.inputs)
    torch.testing.assert_close(negative_log_likelihood(*out[:3]), -expected)


@settings(max_examples=20)
@given(seeds, st.floats(0, 2), st.floats(0, 2))
def test_the_loss_is_equation_3_and_its_means_are_those_of_the_rows(seed, lambda_gen, lambda_cls):
    rng = np.random.default_rng(seed)
    members = torch.as_tensor(INDEX.members)
    label = torch.as_tensor(Y)
    logits = torch.as_tensor(rng.standard_normal((8, members.shape[1])))
    logits = logits.masked_fill(members[label] < 0, -torch.inf)
    class_logits = torch.as_tensor(rng.standard_normal((8, 3)))
    out = output(rng, "bernoulli", n=8)._replace(class_logits=class_logits, index_logits=logits)
    local = torch.as_tensor(INDEX.local)
    loss = VAELoss(torch.as_tensor(INDEX.sizes), lambda_gen, lambda_cls)
    total = loss(out, {"label": label, "local": local})

    named = [
        -class_logits[i].log_softmax(0)[Y[i]]
        - logits[i, : INDEX.sizes[Y[i]]].log_softmax(0)[local[i]]
        for i in range(8)
    ]
    generated = negative_log_likelihood(*out[:3]) + divergence(out.mean, out.log_variance)
    expected = lambda_gen * generated.mean() + lambda_cls * torch.stack(named).mean()
    torch.testing.assert_close(total, expected)
    means = loss.pop_means()
    assert means["kl_loss"] == pytest.approx(float(divergence(out.mean, out.log_variance).mean()))
    assert means["class_loss"] + means["index_loss"] == pytest.approx(
        float(torch.stack(named).mean())
    )
    assert means["index_accuracy"] == np.mean(logits.argmax(1).numpy() == INDEX.local)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 9, 7), (1, 1, 2), (1, 8, 5), (6,)])
def test_decoded_rows_have_the_size_of_stored_rows(shape):
    module = network(shape).eval()
    x = torch.rand(2, int(np.prod(shape)))
    mean, log_variance = module.encode(x)
    assert mean.shape == log_variance.shape == (2, 5)
    assert module.decode(mean).shape == x.shape
    out = module(x, torch.tensor([0, 1]))
    assert out.inputs.shape == out.image.shape == (2, *shape)


@pytest.mark.parametrize("axes", [None, (0, 3, 1, 2)])
@pytest.mark.parametrize("standardized", [False, True])
def test_scaling_can_be_undone(axes, standardized):
    channels = None
    if standardized:
        n = 4 if axes is None else 3
        channels = Standardization(np.linspace(-1, 1, n), np.linspace(0.1, 3, n))
    scaling = InputScaling((4, 6, 3), axes, 1 / 255, channels)
    x = torch.rand(5, 72)
    torch.testing.assert_close(scaling.inverse(scaling(x)), x)


def test_each_class_has_a_linear_head_of_its_own():
    module = network().eval()
    decoder, z = module.decoder, torch.randn(6, 5)
    label = torch.tensor([0, 1, 2, 2, 1, 0])
    got = decoder(z, label)
    weight, bias = decoder.index_head.weight, decoder.index_head.bias
    for i, c in enumerate(label.tolist()):
        rows = np.flatnonzero(c == Y)
        own = nn.functional.linear(got.index_features[i], weight[rows], bias[rows])
        torch.testing.assert_close(got.index_logits[i, : len(rows)], own)
        assert got.index_logits[i, len(rows) :].isneginf().all()


@pytest.mark.parametrize("heads", ["per_class", "shared"])
def test_what_the_decoder_reads_from_codes_agrees(heads):
    decoder, z = network(heads=heads).eval().decoder, torch.randn(6, 5)
    per_class = decoder.index_readers_per_class(z)
    class_logits = next(per_class)
    torch.testing.assert_close(class_logits, decoder.class_logits(z))
    sizes = np.bincount(Y)
    for c, reader in enumerate(per_class):
        expected = decoder(z, torch.full((6,), c))
        weight, bias = reader.weights(c)
        logits = (reader.features @ weight.T + bias)[:, : sizes[c]]
        torch.testing.assert_close(logits, expected.index_logits[:, : sizes[c]])
        torch.testing.assert_close(class_logits, expected.class_logits)
    predicted = decoder(z)
    torch.testing.assert_close(predicted.label, class_logits.argmax(1))
    assert predicted.index_logits.shape == (6, sizes.max())


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("heads", ["per_class", "shared"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (6,)])
def test_every_weight_is_trained(shape, heads, likelihood):
    module = network(shape, heads=heads, likelihood=likelihood)
    loss = VAELoss(torch.as_tensor(INDEX.sizes), 0.6, 0.4)
    x, label = torch.rand(8, int(np.prod(shape))), torch.as_tensor(Y)
    loss(module(x, label), {"label": label, "local": torch.as_tensor(INDEX.local)}).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or name.endswith("bias"), name


def test_codes_are_drawn_from_the_generator():
    module = network((6,)).eval()
    x, label = torch.rand(4, 6), torch.zeros(4, dtype=int)
    state = torch.random.get_rng_state()
    images = []
    for seed in (1, 1, 2):
        module.set_generator(torch.Generator().manual_seed(seed))
        images.append(module(x, label).image)
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_gaussian_noise_has_a_floor():
    decoder = network((6,), likelihood="gaussian").decoder
    with torch.no_grad():
        assert float(decoder.log_noise) == pytest.approx(0, abs=1e-3)
        decoder.raw_log_noise.fill_(-100.0)
        assert float(decoder.log_noise.exp()) == pytest.approx(1e-4)
