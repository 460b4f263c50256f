"""Gradients at several labels from one forward pass are those of one label after the other."""

import numpy as np
import pytest
import torch

from sklearn_provenance.tangent import TangentFeatures, TangentModel, TangentRows

from .conftest import build, every_network

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


@pytest.mark.parametrize("sketch", ["tensor", "sjlt"])
@pytest.mark.parametrize("n_components", [7, "exact"])
@every_network
def test_features_at_several_labels(name, n_components, sketch):
    network, x, _ = build(name)
    n_classes = TangentModel(network).plan(x).logits(x).shape[1]
    made = {"n_components": n_components, "sketch": sketch, "batch_size": 2}
    features = TangentFeatures(network, **made).fit(x)
    n = len(TangentModel(network).logits(x))
    targets = [np.full(n, label) for label in range(n_classes)]
    together = features._measured_at(x, targets)
    for label, found in zip(targets, together, strict=True):
        expected = features.transform(x, label)
        np.testing.assert_allclose(found.features, expected, rtol=1e-9, atol=1e-11)
        np.testing.assert_array_equal(found.labels, label)


@pytest.mark.parametrize("sketch", ["tensor", "sjlt", "rademacher"])
@pytest.mark.parametrize("held", [1, 10**9])
@every_network
def test_a_shared_pass_is_class_by_class_however_many_share_the_cache(
    name, held, sketch, monkeypatch
):
    network, x, _ = build(name)
    features = TangentFeatures(network, 16, sketch=sketch).fit(x)
    n = len(features.model_.logits(x))
    targets = [np.full(n, label) for label in range(features.model_.logits(x).shape[1])]
    expected = [features.transform(x, label) for label in targets]
    monkeypatch.setattr("sklearn_provenance.tangent._linearisation._GROUP", held)
    for found, alone in zip(features._measured_at(x, targets), expected, strict=True):
        np.testing.assert_allclose(found.features, alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kept", [0, 10**9])
@pytest.mark.parametrize("fft", [False, True])
def test_both_routes_of_a_sketch_at_several_labels(monkeypatch, fft, kept):
    network, x, _ = build("convolutions")
    features = TangentFeatures(network, 64).fit(x)
    targets = [np.full(len(x), label) for label in range(3)]
    expected = [features.transform(x, label) for label in targets]
    monkeypatch.setattr(
        "sklearn_provenance.tangent._sketch.TensorMap.cheaper_by_fft", lambda *_: fft
    )
    # Whether buckets, and spectra of inputs, are kept; labels come in groups of one.
    for limit in ("_KEPT_PLACES", "_KEPT_SPECTRA"):
        monkeypatch.setattr(f"sklearn_provenance.tangent._sketch.{limit}", kept)
    monkeypatch.setattr("sklearn_provenance.tangent._linearisation._GROUP", 1)
    features = TangentFeatures(network, 64).fit(x)
    for found, alone in zip(features._measured_at(x, targets), expected, strict=True):
        np.testing.assert_allclose(found.features, alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["mlp", "convolutions", "tokens", "shared", "own"])
def test_rows_at_several_labels_share_what_labels_do_not_change(name):
    network, x, _ = build(name)
    model = TangentModel(network).plan(x)
    settings = {"batch_size": 2}
    several = TangentRows.at_labels(model, x, [0, 1, 2], together=1e9, **settings)
    assert len(several) == 3
    tensors = {}
    for label, rows in enumerate(several):
        alone = TangentRows(model, x, torch.full((len(rows),), label), **settings)
        torch.testing.assert_close(rows.inner(), alone.inner(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(rows.norms(), alone.norms(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(rows.logits, alone.logits)
        assert rows.labels.tolist() == [label] * len(rows)
        assert rows.nbytes == alone.nbytes
        for _, gradients in rows._kept:
            tensors |= gradients.tensors()
    if name in ("mlp", "tokens"):
        assert sum(tensor.nbytes for tensor in tensors.values()) < 3 * alone.nbytes


def test_labels_are_left_out_where_gradients_do_not_fit():
    network, x, _ = build("mlp")
    model = TangentModel(network).plan(x)
    (one,) = TangentRows.at_labels(model, x, [0], together=0)
    assert len(TangentRows.at_labels(model, x, [0, 1, 2], together=1.9 * one.nbytes)) == 2
    (first,) = TangentRows.at_labels(model, x, [1, 0, 2], together=0)
    assert first.labels.unique().tolist() == [1]
    assert first.nbytes == one.nbytes
    (kept_nowhere,) = TangentRows.at_labels(model, x, [1, 0], together=0, memory_limit=1)
    assert kept_nowhere.nbytes == 0
    torch.testing.assert_close(kept_nowhere.norms(), first.norms())
