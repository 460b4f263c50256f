"""Sketches are linear, unbiased, independent of the route, and as good as dense signs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance.tangent import TangentFeatures
from sklearn_provenance.tangent._forms import Formed
from sklearn_provenance.tangent._image_sum import ImageSum, finish
from sklearn_provenance.tangent._lookup import Lookup
from sklearn_provenance.tangent._outer import Outer
from sklearn_provenance.tangent._sketch import SKETCHES, Sketch, TensorMap, _Draws

from .conftest import build, reference

KINDS = sorted(SKETCHES)


class Named:
    """What a sketch wants to know of a layer."""

    def __init__(self, number=0):
        self.number = number


def sketched(kind, n_components, seed, *factors):
    pairs = [(Named(i), factor) for i, factor in enumerate(factors)]
    n = len(factors[0].matrix())
    return Sketch(kind, n_components, seed)(pairs, n, torch.float64, torch.device("cpu"))


def outer(n, T, n_in, n_out, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    return Outer(draw(n, T, n_in), draw(n, T, n_out))


def empty_sum(n, n_components):
    return ImageSum(torch.full((n, n_components), torch.nan, dtype=torch.float64))


@given(
    n_in=st.integers(1, 40), n_out=st.integers(1, 40), T=st.integers(1, 5),
    n_components=st.integers(1, 60), seed=st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=40)
def test_tensor_sketch_has_one_map_and_two_routes(n_in, n_out, T, n_components, seed):
    factor = outer(3, T, n_in, n_out, seed)
    results = {}
    for fft in (False, True):
        chosen = TensorMap((n_out, n_in), n_components, _Draws(seed), "cpu")
        chosen.cheaper_by_fft = lambda *_, fft=fft: fft
        image_sum = empty_sum(3, n_components)
        chosen.add_to(image_sum, factor)
        assert image_sum.has_spectrum == fft
        finish([image_sum], [])
        results[fft] = image_sum.memory
    torch.testing.assert_close(results[True], results[False], rtol=1e-10, atol=1e-10)


def definition(layer_map, factor):
    """Put every number of the gradients into its bucket, with its sign."""
    image = torch.zeros(len(factor), layer_map.n_components, dtype=torch.float64)
    for o, (row, row_sign) in enumerate(zip(layer_map.row, layer_map.row_sign, strict=True)):
        for i, (column, sign) in enumerate(
            zip(layer_map.column, layer_map.column_sign, strict=True)
        ):
            bucket = (row + column) % layer_map.n_components
            image[:, bucket] += row_sign * sign * factor.matrix()[:, o, i]
    return image


@given(
    layers=st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8), st.booleans()),
        min_size=1, max_size=4,
    ),
    n=st.integers(1, 7), n_labels=st.integers(1, 3), group=st.integers(1, 3),
    n_components=st.integers(1, 40), block=st.integers(1, 200), seed=st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_sums_over_layers_and_labels_are_those_of_the_definition(
    layers, n, n_labels, group, n_components, block, seed
):
    """Layers of one position and of several, by FFTs and by scattering, in blocks of rows."""
    sketch = Sketch("tensor", n_components, seed)
    named = [Named(number) for number in range(len(layers))]
    forms = []  # of each layer at each label, with the same inputs
    for number, (T, n_in, n_out, fft) in enumerate(layers):
        a = outer(n, T, n_in, n_out, seed).a
        forms.append([Outer(a, outer(n, T, n_in, n_out, seed + c).g) for c in range(n_labels)])
        chosen = TensorMap((n_out, n_in), n_components, _Draws(seed, number), "cpu")
        chosen.cheaper_by_fft = lambda *_, fft=fft: fft
        sketch.maps[number] = chosen
    groups = []
    for start in range(0, n_labels, group):
        some = slice(start, start + group)
        groups.append(list(zip(named, (of_layer[some] for of_layer in forms), strict=True)))
    found = torch.full((n_labels, n, n_components), torch.nan, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn_provenance.tangent._image_sum._BLOCK", block)
        sketch.several(groups, list(found))
    for label in range(n_labels):
        images = (definition(sketch.maps[i], of[label]) for i, of in enumerate(forms))
        torch.testing.assert_close(found[label], sum(images), rtol=1e-10, atol=1e-10)


def test_the_sketch_of_rows_without_any_gradient_is_zero():
    out = [torch.full((2, 4), torch.nan) for _ in range(2)]
    Sketch("tensor", 4, 0).several([iter([]), iter([])], out)
    assert not torch.stack(out).any()


@pytest.mark.parametrize("T", [1, 3])
def test_labels_share_the_spectra_of_the_same_inputs_and_of_no_others(T, monkeypatch):
    first, other = (outer(4, T, 9, 8, seed) for seed in (0, 1))
    factors = [first, Outer(first.a, other.g), Outer(first.a.clone(), first.g), other, first]
    chosen = TensorMap((8, 9), 32, _Draws(0), "cpu")
    chosen.cheaper_by_fft = lambda *_: True
    counted = []
    spectrum_of = chosen._spectrum
    monkeypatch.setattr(chosen, "_spectrum", lambda *a: counted.append(a) or spectrum_of(*a))
    shared = {}
    for factor in factors:
        found, expected = empty_sum(4, 32), empty_sum(4, 32)
        chosen.add_several([expected], [factor], {})
        counted.clear()
        chosen.add_several([found], [factor], shared)
        assert torch.equal(found.spectrum, expected.spectrum)
        # Only the second of the factors has the inputs of the one before it.
        assert len(counted) == (1 if factor is factors[1] else 2)


@given(
    kind=st.sampled_from(KINDS), n_components=st.integers(1, 50), seed=st.integers(0, 2**31),
    V=st.integers(1, 30), d=st.integers(1, 8), T=st.integers(1, 6),
)  # fmt: skip
@settings(max_examples=40)
def test_lookups_are_sketched_like_the_gradient_they_stand_for(kind, n_components, seed, V, d, T):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(0, V, (3, T), generator=generator)
    factor = Lookup(index, torch.randn(3, T, d, generator=generator, dtype=torch.float64), V)
    formed = Formed(factor.matrix())
    a, b = (sketched(kind, n_components, seed, f) for f in (factor, formed))
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_components", [1, 7, 64])
def test_sketches_are_linear(kind, n_components):
    left, right = outer(4, 3, 9, 8, seed=1), outer(4, 2, 9, 8, seed=2)
    separate = sketched(kind, n_components, 5, left) + sketched(kind, n_components, 5, right)
    torch.testing.assert_close(sketched(kind, n_components, 5, left + right), separate)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_components", [4, 16, 33])
def test_inner_products_are_unbiased(kind, n_components):
    """E <s(x), s(y)> = <x, y>, over seeds, within four and a half standard errors.

    Sizes on both sides of the number of components, two layers of one shape (equal signs in them
    would show as a bias) and a larger one.
    """
    layers = [outer(4, 1, 6, 5, seed=1), outer(4, 1, 6, 5, seed=2), outer(4, 3, 21, 18, seed=3)]
    layers[1] = Outer(layers[0].a, layers[0].g + 0.1 * layers[1].g)
    jacobian = torch.cat([f.matrix().flatten(1) for f in layers], 1)
    exact = jacobian @ jacobian.T
    kernels = []
    for seed in range(400):
        features = sketched(kind, n_components, seed, *layers)
        kernels.append(features @ features.T)
    kernels = torch.stack(kernels)
    deviation = (kernels.mean(0) - exact) / (kernels.std(0) / len(kernels) ** 0.5)
    pairs = deviation[torch.triu(torch.ones(4, 4)).bool()]
    if kind != "rademacher":  # the diagonal can be exact: no collisions, so no spread
        pairs = pairs[~pairs.isnan()]
    assert pairs.abs().max() < 4.5


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("tensor", "mlp"),
        ("sjlt", "tokens"),
        pytest.param("tensor", "convolutions", marks=pytest.mark.thorough),
        pytest.param("tensor", "tokens", marks=pytest.mark.thorough),
        pytest.param("sjlt", "mlp", marks=pytest.mark.thorough),
        pytest.param("sjlt", "convolutions", marks=pytest.mark.thorough),
    ],
)
def test_error_is_comparable_to_dense_signs(name, kind):
    network, x, labels = build(name, torch.float32, n=16)
    jacobian = reference(network, x, labels).double().numpy()
    exact = jacobian @ jacobian.T

    def error(sketch):
        squares = []
        for seed in range(40):
            features = TangentFeatures(network, 64, sketch=sketch, random_state=seed).fit(x)
            phi = features.transform(x, labels).astype(float)
            squares.append(np.linalg.norm(phi @ phi.T - exact) ** 2)
        return np.sqrt(np.mean(squares))

    assert error(kind) < 1.2 * error("rademacher")


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_fixed_by_the_seed_and_differ_between_layers(kind):
    same = outer(3, 1, 6, 5)
    first = sketched(kind, 32, 0, same)
    assert torch.equal(first, sketched(kind, 32, 0, same))
    assert not torch.allclose(first, sketched(kind, 32, 1, same))
    both = sketched(kind, 32, 0, same, same)
    assert not torch.allclose(both - first, first)


@pytest.mark.parametrize("n_buckets", [1, 7, 32])
@pytest.mark.parametrize("n", [1, 7, 20, 100])
def test_buckets_are_filled_evenly(n, n_buckets):
    for seed in range(20):
        buckets = _Draws(seed).buckets(n, n_buckets)
        filled = torch.bincount(buckets, minlength=n_buckets)
        assert len(filled) == n_buckets
        assert filled.max() <= -(-n // n_buckets)  # one at most, of fewer numbers than buckets


@pytest.mark.parametrize("name", ["convolutions", "tokens"])
def test_signs_that_are_not_kept_are_drawn_again(monkeypatch, name):
    network, x, labels = build(name, n=4)
    monkeypatch.setattr("sklearn_provenance.tangent._sketch._DRAWN", 100)
    expected = TangentFeatures(network, 8, sketch="rademacher").fit(x).transform(x, labels)
    monkeypatch.setattr("sklearn_provenance.tangent._sketch._KEPT_SIGNS", 0)
    features = TangentFeatures(network, 8, sketch="rademacher").fit(x)
    for _ in range(2):
        np.testing.assert_array_equal(features.transform(x, labels), expected)
