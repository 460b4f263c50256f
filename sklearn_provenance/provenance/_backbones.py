"""Backbones turn inputs into features, in stages that two branches can share from the first on.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

import copy
import threading
from dataclasses import dataclass

import torch
from torch import nn

from .._utils.arguments import check_weights
from .._utils.restored import restored_generators
from ._layers import convolution_block, dense


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layer sizes of a network; hidden layers are pairs of units and dropout."""

    channels: tuple  # of the three convolution blocks
    projection: int | None  # units of the first fully connected layer
    projection_relu: bool
    dropout: float  # after the backbone's fully connected layers
    class_hidden: tuple = ()
    index_hidden: tuple
    index_dropout: float = 0.0  # at the input of the last layer of the index branch
    mlp: tuple = ()  # units of an MLP backbone


# Channels and fully connected units of [PN] 7.6.
SIZES = {
    "small": ((32, 64, 128), 128),
    "medium": ((64, 128, 256), 256),
    "large": ((128, 256, 512), 512),
    "xlarge": ((256, 512, 1024), 1024),
}
# [PN] 7.1, Eqs. 4-6. Eq. 6 puts a dropout of 0.1 at the output. On the logits it would erase the
# logit of the target in one step of ten, so here it acts on the input of the last layer.
SINGLE_BRANCH = Layout(
    channels=(128, 256, 512),
    projection=None,
    projection_relu=False,
    dropout=0.0,
    index_hidden=((4096, 0.4), (2048, 0.2)),
    index_dropout=0.1,
)
# [PN] 7.2, Eqs. 8-16. The projection has batch normalisation and dropout but no ReLU there.
TWO_BRANCH = Layout(
    channels=(64, 128, 256),
    projection=2048,
    projection_relu=False,
    dropout=0.3,
    class_hidden=((512, 0.2),),
    index_hidden=((2048, 0.2), (1024, 0.1)),
)
# The paper has no tabular network: measured in benchmarks/defaults.py.
MLP_DEPTH = 2
MLP_FACTOR = 2


def layout(width, architecture, backbone, dropout):
    """Return layer sizes by name; those of "paper" include their dropout."""
    if width == "paper":
        if architecture == "single_branch":
            return SINGLE_BRANCH
        return TWO_BRANCH
    channels, units = SIZES[width]
    if backbone == "mlp":
        units *= MLP_FACTOR
    return Layout(
        channels=channels,
        projection=units,
        projection_relu=True,
        dropout=dropout,
        index_hidden=((units, dropout),),
        mlp=(units,) * MLP_DEPTH,
    )


def make_stages(backbone, input_shape, sizes, generator):
    """Build the stages of a backbone.

    Parameters
    ----------
    backbone : {"cnn", "mlp"}, Module or callable
        A module is copied with its weights; a callable is a factory without arguments.
    input_shape : tuple of int
        Shape of one input.
    sizes : Layout
        Layer sizes of the built-in backbones.
    generator : torch.Generator
        Source of the initial weights.

    Returns
    -------
    stages : list of Module
        In order. A backbone that the user gives is one stage.
    n_features : int
        Features per row after the last stage.
    """
    if isinstance(backbone, str):
        return {"cnn": _cnn, "mlp": _mlp}[backbone](input_shape, sizes, generator)
    return _custom(backbone, input_shape, generator)


def _cnn(input_shape, sizes, generator):
    channels, *sides = input_shape
    stages = []
    for out in sizes.channels[:-1]:
        # Small images keep at least the 4 x 4 grid that the last block ends with.
        if min(sides) >= 8:
            pool = nn.MaxPool2d(2)
            sides = [side // 2 for side in sides]
        else:
            pool = nn.Identity()
        stages.append(convolution_block(channels, out, pool, generator))
        channels = out
    last = sizes.channels[-1]
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    stages.append(convolution_block(channels, last, pool, generator))
    n_features = last * 4 * 4
    if sizes.projection is not None:
        stages.append(
            dense(n_features, sizes.projection, sizes.dropout, generator, sizes.projection_relu)
        )
        n_features = sizes.projection
    return stages, n_features


def _mlp(input_shape, sizes, generator):
    n_features = torch.Size(input_shape).numel()
    stages = []
    for units in sizes.mlp:
        stages.append(dense(n_features, units, sizes.dropout, generator))
        n_features = units
    stages[0] = nn.Sequential(nn.Flatten(), stages[0])
    return stages, n_features


_factory_lock = threading.Lock()


def _custom(backbone, input_shape, generator):
    if isinstance(backbone, nn.Module):
        return _stage(copy.deepcopy(backbone).cpu(), input_shape)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    # A factory draws from torch's global generator: only one at a time may, and the generator is
    # restored afterwards.
    with _factory_lock, restored_generators(seed=seed):
        module = backbone()
        if not isinstance(module, nn.Module):
            raise TypeError(
                "backbone must be a torch.nn.Module or a factory that returns one; "
                f"it returned {type(module).__name__}"
            )
        return _stage(module.cpu(), input_shape)  # lazy modules draw their weights here


def _stage(module, input_shape):
    if any(isinstance(m, torch.jit.ScriptModule) for m in module.modules()):
        raise TypeError("the backbone must be a torch.nn.Module in Python, got one of torch.jit")
    try:
        with torch.no_grad(), restored_generators():
            out = module.eval()(torch.zeros(2, *input_shape))
    except Exception as error:  # anything that the module's own code can raise
        raise ValueError(
            f"the backbone must take a batch of inputs of shape {tuple(input_shape)}: {error}"
        ) from error
    _check_features(out)
    check_weights(module, "the backbone")
    return [nn.Sequential(module, nn.Flatten()).train()], out[0].numel()


def _check_features(out):
    """Raise unless a backbone maps two inputs to features that layers can read."""
    if isinstance(out, torch.Tensor):
        is_dense = out.layout == torch.strided and not out.is_meta
        has_rows = out.ndim > 1 and len(out) == 2 and out.numel() > 0
        if is_dense and has_rows and out.dtype == torch.float32:
            return
        got = f"{out.dtype} of shape {tuple(out.shape)}, {out.layout} on {out.device}"
    else:
        got = type(out).__name__
    raise ValueError(
        "the backbone must map a batch of inputs to one dense tensor of float32 features, a row "
        f"per input; two inputs gave {got}"
    )
