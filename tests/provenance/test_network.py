"""The networks have the layers that the paper names."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance.provenance._layers import BatchNorm1d, Dropout, recompute_batch_norm
from sklearn_provenance.provenance._network import ProvenanceNetwork

ARCHITECTURES = ["class_conditional", "class_independent", "single_branch"]
SIZES = [3, 5, 2]
N = sum(SIZES)


def network(architecture="class_conditional", shape=(1, 28, 28), seed=0, **options):
    options = {"backbone": "cnn" if len(shape) == 3 else "mlp", "width": "small", **options}
    generator = torch.Generator().manual_seed(seed)
    return ProvenanceNetwork(architecture, shape, None, 1.0, SIZES, generator, **options)


def layers(module, kinds=(nn.Linear, nn.Conv2d)):
    return [m for m in module.modules() if isinstance(m, kinds)]


def sizes_of(module):
    return [
        (m.in_channels, m.out_channels)
        if isinstance(m, nn.Conv2d)
        else (m.in_features, m.out_features)
        for m in layers(module)
    ]


def dropouts(module):
    return [m.p for m in module.modules() if isinstance(m, Dropout)]


def test_paper_single_branch_follows_7_1():
    net = network("single_branch", width="paper")
    assert sizes_of(net) == [
        (1, 128),
        (128, 256),
        (256, 512),
        (8192, 4096),
        (4096, 2048),
        (2048, N),
    ]
    assert dropouts(net) == [0.4, 0.2, 0.1]
    pools = [type(m) for m in net.modules() if "Pool" in type(m).__name__]
    assert pools == [nn.MaxPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d]
    assert net.shared[2](net.shared[1](net.shared[0](torch.zeros(1, 1, 28, 28)))).shape == (1, 8192)


@pytest.mark.parametrize("conditioning", [True, False])
def test_paper_two_branch_follows_7_2(conditioning):
    net = network(width="paper", class_conditioning=conditioning).eval()
    extra = 3 if conditioning else 0
    assert sizes_of(net.shared) == [(1, 64), (64, 128), (128, 256), (4096, 2048)]
    assert sizes_of(net.class_branch) == [(2048, 512), (512, 3)]
    assert sizes_of(net.index_hidden) == [(2048 + extra, 2048), (2048, 1024)]
    assert sizes_of(net.index_head) == [(1024, max(SIZES))]
    assert dropouts(net) == [0.3, 0.2, 0.2, 0.1, 0.0]
    assert net.shared[1](net.shared[0](torch.zeros(1, 1, 28, 28))).shape == (1, 128, 7, 7)
    projection = [type(m) for m in net.shared[3]]
    assert projection == [nn.Linear, BatchNorm1d, Dropout]  # no ReLU in the paper


def test_sizes_of_the_guide_with_sixty_thousand_outputs():
    """The paper's 7.6 states 4.0, 17.2, 35.8 and 79.6 million for these channels."""

    def n_parameters(width, n_rows):
        generator = torch.Generator().manual_seed(0)
        network = ProvenanceNetwork(
            *("class_independent", (28, 28), None, 1.0, [n_rows] * 10, generator),
            backbone="cnn",
            width=width,
            sharing_level=1,
        )
        return sum(p.numel() for p in network.parameters())

    millions = {}
    for width in ("small", "medium", "large", "xlarge"):
        few, more = n_parameters(width, 1), n_parameters(width, 2)
        millions[width] = round((few + (more - few) * 5999) / 1e6, 2)
    assert millions == {"small": 8.48, "medium": 18.34, "large": 42.43, "xlarge": 107.99}


def test_paper_sizes_with_ten_classes_of_six_thousand():
    """The paper says 8.7 million parameters; its own layer sizes give more."""
    generator = torch.Generator().manual_seed(0)
    sizes = [6000] * 10
    two = ProvenanceNetwork(
        "class_conditional", (1, 28, 28), None, 1.0, sizes, generator, backbone="cnn", width="paper"
    )
    convolutions = sum(9 * i * o + 3 * o for i, o in [(1, 64), (64, 128), (128, 256)])
    dense = [(4096, 2048), (2048, 512), (2058, 2048), (2048, 1024)]
    hidden = sum(i * o + 3 * o for i, o in dense)  # weights, bias, batch normalisation
    outputs = 512 * 10 + 10 + 1024 * 6000 + 6000
    assert convolutions + hidden + outputs == 22_291_706
    assert sum(p.numel() for p in two.parameters()) == 22_291_706


def test_initialisation_follows_7_1_2():
    net = network("single_branch", width="paper")
    *hidden, last = layers(net, nn.Linear)
    for layer in hidden:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=1e-4)
    assert last.weight.std().item() == pytest.approx(0.01, rel=0.03)
    for layer in layers(net, nn.Conv2d):
        fan_out = layer.out_channels * 9
        assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    for layer in layers(net, (nn.BatchNorm1d, nn.BatchNorm2d)):
        assert (layer.weight == 1).all()
        assert (layer.bias == 0).all()


def test_channels_lie_last_in_memory():
    net = network()
    for module in (net, copy.deepcopy(net)):
        *_, layer = layers(module, nn.Conv2d)
        assert layer.weight.is_contiguous(memory_format=torch.channels_last)
        hidden = module.shared[:2](torch.rand(5, 1, 28, 28))
        assert hidden.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("width", "channels", "units"),
    [
        ("small", (32, 64, 128), 128),
        ("medium", (64, 128, 256), 256),
        ("large", (128, 256, 512), 512),
        ("xlarge", (256, 512, 1024), 1024),
    ],
)
def test_sizes_follow_7_6(width, channels, units):
    net = network(width=width, dropout=0.5)
    convolutions = [m.out_channels for m in layers(net.shared, nn.Conv2d)]
    assert tuple(convolutions) == channels
    assert sizes_of(net.shared)[-1] == (channels[-1] * 16, units)
    assert set(dropouts(net)) == {0.5, 0.0}


@pytest.mark.parametrize("architecture", ["class_conditional", "class_independent"])
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_sharing_level_is_the_number_of_shared_layers(architecture, level):
    net = network(architecture, sharing_level=level)
    assert len(layers(net.shared)) == level
    own_class = layers(net.class_branch)[: 4 - level]
    own_index = layers(net.index_stages)
    assert [m.weight.shape for m in own_class] == [m.weight.shape for m in own_index]
    assert len(own_index) == 4 - level
    for a, b in zip(own_class, own_index, strict=True):
        assert not torch.equal(a.weight, b.weight)  # drawn separately
    x = torch.randn(4, 784)
    assert net.eval()(x).class_logits.shape == (4, 3)


@pytest.mark.parametrize(
    "architecture", ["class_conditional", "class_independent", "single_branch"]
)
@pytest.mark.parametrize("side", [1, 3, 5, 8, 16, 28, 32, 40])
def test_every_image_size_works(architecture, side):
    net = network(architecture, (3, side, side)).eval()
    out = net(torch.randn(2, 3 * side * side))
    assert out.index_logits.shape == (2, 5 if architecture == "class_conditional" else N)
    assert (out.class_logits is None) == (architecture == "single_branch")


@pytest.mark.parametrize("heads", ["shared", "per_class"])
@pytest.mark.parametrize("conditioning", [True, False])
def test_masks_never_let_an_invalid_index_through(heads, conditioning):
    net = network(shape=(4,), heads=heads, class_conditioning=conditioning).eval()
    x = torch.randn(64, 4)
    for c, size in enumerate(SIZES):
        logits = net(x, torch.full((64,), c)).index_logits
        assert logits.shape == (64, max(SIZES))
        assert torch.isfinite(logits[:, :size]).all()
        assert logits[:, size:].isneginf().all()


def test_one_head_per_class_has_as_many_outputs_as_rows():
    net = network(shape=(4,), heads="per_class")
    assert [head.out_features for head in net.index_head.heads] == SIZES


def test_class_heads_apply_each_rows_own_head():
    net = network(shape=(4,), heads="per_class").eval()
    head = net.index_head
    features, label = torch.randn(9, 256), torch.tensor([2, 0, 1, 1, 0, 2, 0, 1, 2])
    logits = head(features, label)
    for row in range(9):
        own = head.heads[label[row]](features[row])
        torch.testing.assert_close(logits[row, : len(own)], own)


def test_conditioning_decides_whether_the_class_matters():
    x = torch.randn(8, 4)
    for conditioning in (True, False):
        net = network(shape=(4,), class_conditioning=conditioning).eval()
        zero, one = (net(x, torch.full((8,), c)).index_logits[:, :3] for c in (0, 1))
        assert torch.equal(zero, one) != conditioning


def test_inference_conditions_on_the_predicted_class():
    net = network(shape=(4,)).eval()
    x = torch.randn(32, 4)
    out = net(x)
    assert torch.equal(out.label, out.class_logits.argmax(1))
    torch.testing.assert_close(out.index_logits, net(x, out.label).index_logits)
    class_logits, *per_class = net.index_readers_per_class(x)
    torch.testing.assert_close(class_logits, out.class_logits)
    for c, size in enumerate(SIZES):
        rows = out.label == c
        weight, bias = per_class[c].weights(c)
        logits = (per_class[c].features @ weight.T + bias)[rows, :size]
        torch.testing.assert_close(logits, out.index_logits[rows, :size])


def test_a_network_is_built_from_its_generator_alone():
    before = torch.random.get_rng_state()
    one, two, other = network(seed=3), network(seed=3), network(seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(layers(one)[0].weight, layers(other)[0].weight)


def test_a_module_backbone_is_copied_and_a_factory_is_seeded():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU())
    weights = copy.deepcopy(module.state_dict())
    net = network(shape=(3, 2, 2), backbone=module)
    assert torch.equal(net.shared[0][0][1].weight, module[1].weight)
    assert net.shared[0][0][1] is not module[1]
    with torch.no_grad():
        net.shared[0][0][1].weight.zero_()
    for name, value in module.state_dict().items():
        assert torch.equal(value, weights[name])

    before = torch.random.get_rng_state()
    one, two = (network(shape=(12,), backbone=lambda: nn.Linear(12, 7)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.shared[0][0].weight, two.shared[0][0].weight)


def test_dropout_keeps_the_mean_and_follows_its_generator():
    layer = Dropout(0.3)
    x = torch.ones(200, 500)
    layer.generator = torch.Generator().manual_seed(0)
    one = layer(x)
    layer.generator = torch.Generator().manual_seed(0)
    assert torch.equal(one, layer(x))
    assert (one == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert one.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(layer.eval()(x), x)


def test_uint8_rows_are_scaled_to_the_unit_interval():
    net = network(shape=(1, 8, 8))
    net.scaling.scale = 1 / 255
    rows = torch.from_numpy(np.full((2, 64), 255, dtype=np.uint8))
    out = net.scaling(rows)
    assert out.shape == (2, 1, 8, 8)
    torch.testing.assert_close(out, torch.ones_like(out))


def test_running_statistics_start_at_the_first_batch():
    layer, plain = BatchNorm1d(3), nn.BatchNorm1d(3, momentum=None)
    x = 0.01 * torch.randn(20, 64, 3) + 5
    for batch in x[:10]:  # the average of all batches as long as that is the faster one
        layer(batch), plain(batch)
    torch.testing.assert_close(layer.running_mean, plain.running_mean)
    torch.testing.assert_close(layer.running_var, plain.running_var)
    loaded = BatchNorm1d(3)
    loaded.load_state_dict(layer.state_dict())
    for batch in x[10:]:
        layer(batch), loaded(batch)
    torch.testing.assert_close(layer.running_mean, loaded.running_mean)


def test_settled_statistics_are_those_of_the_batches():
    layer = BatchNorm1d(3)
    layer(torch.randn(64, 3) + 100)
    x = torch.randn(7, 64, 3)
    recompute_batch_norm(layer, ({"x": batch} for batch in x))
    torch.testing.assert_close(layer.running_mean, x.mean((0, 1)))
    torch.testing.assert_close(layer.running_var, x.var(1).mean(0))
