"""Layers that draw their initial weights and masks from given generators.

Torch's layers draw from its global generator, so that two fits in two threads would disturb each
other and the random numbers of the user.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in comments: B rows,
K_y outputs of class y, M outputs of the largest class.
"""

import torch
from torch import nn
from torch.nn.utils import skip_init


class Dropout(nn.Module):
    """Dropout that draws from ``generator``; None stands for torch's global one."""

    def __init__(self, p):
        super().__init__()
        self.p = p
        self.generator = None

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep.div_(1 - self.p)

    def extra_repr(self):
        return f"p={self.p}"


class _FirstBatchStatistics:
    """Batch normalisation whose running statistics start at those of the first batch.

    Torch starts them at mean 0 and variance 1, which small initial weights miss by orders of
    magnitude: a network trained for few steps would predict as if it had not been trained.
    """

    _steps = None

    def forward(self, x):
        if self.training:
            if self._steps is None:
                self._steps = int(self.num_batches_tracked)
            self._steps += 1
            self.momentum = max(0.1, 1 / self._steps)
        return super().forward(x)


def recompute_batch_norm(module, batches):
    """Set running statistics to the average of some batches at the weights as they are.

    A moving average lags behind weights that still move fast, as they do at the end of a short
    training, and the network predicts worse than it was trained.

    Parameters
    ----------
    module : Module
        Its batch normalisation layers of this file are set, not those of a user's backbone.
    batches : iterable of dict
        Arguments of forward passes in training mode; up to ten are averaged evenly.
    """
    for layer in module.modules():
        if isinstance(layer, _FirstBatchStatistics):
            layer.reset_running_stats()
            layer._steps = 0
    module.train()
    with torch.no_grad():
        for inputs in batches:
            module(**inputs)


class BatchNorm1d(_FirstBatchStatistics, nn.BatchNorm1d):
    """Batch normalisation over features."""


class BatchNorm2d(_FirstBatchStatistics, nn.BatchNorm2d):
    """Batch normalisation over channels."""


class MixedPrecision(nn.Module):
    """A network that computes in ``amp_dtype`` on one kind of device; None in float32."""

    def __init__(self, amp_dtype, amp_device):
        super().__init__()
        self.amp_dtype = amp_dtype
        self.amp_device = amp_device

    def _autocast(self, x):
        enabled = self.amp_dtype is not None and x.device.type == self.amp_device
        return torch.autocast(x.device.type, self.amp_dtype, enabled=enabled)


class InputScaling(nn.Module):
    """Turn stored rows (B, n_features) into network input (B, C, H, W) or (B, n_features).

    Parameters
    ----------
    shape : tuple of int
        Shape of one row before it was flattened.
    axes : tuple of int or None
        Transposition of a batch of such rows to channels-first order, if they need one.
    scale : float
        Factor for all values, without ``standardization``.
    standardization : Standardization, default=None
        Mean and factor of every channel, or column of a table, which take the place of ``scale``.
    """

    def __init__(self, shape, axes, scale, standardization=None):
        super().__init__()
        self.shape = tuple(shape)
        self.axes = axes
        self.scale = scale
        # None stays out of the state, as networks without them have it.
        self.register_buffer("mean", None)
        self.register_buffer("factor", None)
        if standardization is not None:
            along = (-1,) + (1,) * (len(self.output_shape) - 1)
            self.mean, self.factor = (
                torch.as_tensor(values, dtype=torch.float32).view(along)
                for values in standardization
            )

    @property
    def output_shape(self):
        if self.axes is None:
            return self.shape
        return tuple(self.shape[axis - 1] for axis in self.axes[1:])

    def forward(self, x):
        if not x.is_floating_point():
            x = x.float()
        if self.mean is None and self.scale != 1:
            x = x * self.scale
        x = x.view(-1, *self.shape)
        if self.axes is not None:
            x = x.permute(self.axes).contiguous()
        if self.mean is not None:
            x = (x - self.mean) * self.factor
        return x

    def inverse(self, x):
        """Turn network input back into floating-point rows."""
        if self.mean is not None:
            x = x / self.factor + self.mean
        if self.axes is not None:
            x = x.permute(torch.tensor(self.axes).argsort().tolist())
        x = x.flatten(1)
        if self.mean is None:
            x = x / self.scale
        return x


class ClassHeads(nn.Module):
    """One linear head of K_y outputs per class, padded to M columns with -inf."""

    def __init__(self, in_features, sizes, generator):
        super().__init__()
        self.max_size = max(sizes)
        self.heads = nn.ModuleList(index_layer(in_features, size, generator) for size in sizes)

    def forward(self, features, label):
        order = label.argsort(stable=True)
        counts = torch.bincount(label, minlength=len(self.heads)).tolist()
        logits = []
        for rows, head in zip(features[order].split(counts), self.heads, strict=True):
            if len(rows):
                own = head(rows)  # (B_y, K_y)
                pad = self.max_size - own.shape[1]
                logits.append(nn.functional.pad(own, (0, pad), value=-torch.inf))
        return torch.cat(logits)[order.argsort()]  # (B, M)


def linear(in_features, out_features, generator, std=0.02):
    """Build a linear layer with weights from N(0, std²) and bias 0 ([PN] 7.1.2)."""
    layer = skip_init(nn.Linear, in_features, out_features)
    nn.init.normal_(layer.weight, 0, std, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def index_layer(in_features, out_features, generator):
    """Build the last layer of an index branch ([PN] 7.1.2)."""
    return linear(in_features, out_features, generator, std=0.01)


def dense(in_features, units, dropout, generator, relu=True):
    """Build a linear layer with batch normalisation, ReLU and dropout."""
    layers = [linear(in_features, units, generator), BatchNorm1d(units)]
    if relu:
        layers.append(nn.ReLU())
    if dropout:
        layers.append(Dropout(dropout))
    return nn.Sequential(*layers)


def hidden_layers(in_features, layout, generator):
    """Build dense layers from pairs of units and dropout; count the features they give."""
    layers = []
    for units, dropout in layout:
        layers.append(dense(in_features, units, dropout, generator))
        in_features = units
    return nn.Sequential(*layers), in_features


def convolution(kind, in_channels, channels, generator, **options):
    """Build a 3 x 3 convolution, or a transposed one, with He's initial weights ([PN] 7.1.2).

    Channels lie last in memory, with which training is faster.
    """
    layer = skip_init(kind, in_channels, channels, 3, padding=1, **options)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer.to(memory_format=torch.channels_last)


def convolution_block(in_channels, channels, pool, generator):
    """Build a 3 x 3 convolution with batch normalisation, ReLU and pooling ([PN] 7.1, 7.2)."""
    layer = convolution(nn.Conv2d, in_channels, channels, generator)
    return nn.Sequential(layer, BatchNorm2d(channels), nn.ReLU(), pool)
