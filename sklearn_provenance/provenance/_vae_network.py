"""The variational autoencoder of the provenance paper, whose decoder names training rows.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in comments: B rows,
C classes, M outputs of the largest class, d latent dimensions, F features of the heads.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from ._backbones import MLP_FACTOR, SIZES
from ._layers import (
    BatchNorm2d,
    InputScaling,
    MixedPrecision,
    convolution,
    dense,
    hidden_layers,
    index_layer,
    linear,
)
from ._network import NetworkOutput, widest_layer
from ._output_reader import OutputReader

# The noise of a Gaussian decoder does not fall below a hundredth of the data's size.
_LEAST_LOG_NOISE = math.log(1e-4)
# Adam moves a weight by about its learning rate: the log noise would take thousands of steps.
_NOISE_STEPS = 10


class VAEOutput(NamedTuple):
    """Output of a forward pass."""

    inputs: torch.Tensor  # (B, *input_shape), what is to be reconstructed
    image: torch.Tensor  # (B, *input_shape), logits of a Bernoulli or means of a Gaussian
    log_noise: torch.Tensor | None  # (), log variance of the Gaussian
    mean: torch.Tensor  # (B, d)
    log_variance: torch.Tensor  # (B, d)
    class_logits: torch.Tensor  # (B, C)
    index_logits: torch.Tensor  # (B, M)


class VAENetwork(MixedPrecision):
    """A variational autoencoder with a class head and index heads on its decoder ([PN] 7.10).

    Parameters
    ----------
    members : Tensor of shape (n_classes, M)
        Outputs of each class, -1 pads.
    generator : torch.Generator
        Source of the initial weights.
    likelihood : {"bernoulli", "gaussian"}
        Distribution of a value given the code.
    backbone, width, latent_dim, heads
        As in :class:`ProvenanceVAE`.
    user_shape, axes, input_scale, amp_dtype, amp_device
        As in :class:`BranchedNetwork`.
    """

    def __init__(
        self,
        user_shape,
        axes,
        input_scale,
        members,
        generator,
        likelihood,
        backbone,
        width,
        latent_dim,
        heads,
        amp_dtype=None,
        amp_device="cpu",
    ):
        super().__init__(amp_dtype, amp_device)
        self.scaling = InputScaling(user_shape, axes, input_scale)
        shape = self.scaling.output_shape
        if backbone == "cnn":
            channels = SIZES[width][0]
            self.encoder, n_features = _encoder_cnn(shape, channels, generator)
            stages = _decoder_cnn(shape, channels, latent_dim, generator)
        else:
            units = MLP_FACTOR * SIZES[width][1]
            self.encoder, n_features = _encoder_mlp(shape, units, generator)
            stages = _decoder_mlp(shape, units, latent_dim, generator)
        self.posterior = linear(n_features, 2 * latent_dim, generator, n_features**-0.5)
        self.decoder = Decoder(*stages, members, heads, likelihood, generator)
        self.generator = None

    def forward(self, x, label):
        """Reconstruct stored rows (B, n_features) from codes drawn from their posteriors."""
        inputs = self.scaling(x)
        with self._autocast(x):
            mean, log_variance = self._posterior(inputs)
            noise = torch.empty_like(mean).normal_(generator=self.generator)
            trunk = self.decoder.stem(mean + noise * (log_variance / 2).exp())
            image = self.decoder.render(trunk).float()
            output = self.decoder.heads(trunk, label)
        return VAEOutput(
            inputs,
            image,
            self.decoder.log_noise,
            mean,
            log_variance,
            output.class_logits,
            output.index_logits,
        )

    def encode(self, x):
        """Compute mean and log variance (B, d) of the posterior of stored rows."""
        with self._autocast(x):
            return self._posterior(self.scaling(x))

    def decode(self, z):
        """Compute the rows (B, n_features) that codes stand for, as they are stored: their mean."""
        with self._autocast(z):
            image = self.decoder.render(self.decoder.stem(z)).float()
        return self.scaling.inverse(self.decoder.mean(image))

    def set_generator(self, generator):
        """Draw the noise of codes from a generator."""
        self.generator = generator

    @property
    def values_per_row(self):
        """Numbers that a forward pass holds per row, roughly."""
        return max(self.decoder.values_per_row, 64 * math.prod(self.scaling.output_shape[1:]))

    def _posterior(self, inputs):
        return self.posterior(self.encoder(inputs)).float().chunk(2, 1)


class Decoder(nn.Module):
    """Turn codes into values, classes and training rows.

    Called on codes (B, d) it is a class-conditional provenance network.

    Parameters
    ----------
    stem, pool, render : Module
        From a code to an intermediate feature, from there to what the heads see, and to values.
    n_features : int
        F, what the heads see.
    members : Tensor of shape (n_classes, M)
        Outputs of each class, -1 pads.
    heads : {"per_class", "shared"}
        Whether each class has an index head of its own.
    likelihood : {"bernoulli", "gaussian"}
        Distribution of a value.
    generator : torch.Generator
        Source of the initial weights.
    """

    has_class_branch = True  # as networks of the classifier answer
    index_per_class = True

    def __init__(self, stem, pool, render, n_features, members, heads, likelihood, generator):
        super().__init__()
        self.stem = stem
        self.pool = pool
        self.render = render
        self.per_class = heads == "per_class"
        n_classes = len(members)
        self.class_head = linear(n_features, n_classes, generator)
        if self.per_class:
            # One layer holds the heads of all classes: a step through thousands of layers would
            # spend most of its time between them.
            self.index_head = index_layer(n_features, int((members >= 0).sum()), generator)
        else:
            # A shared head without a hidden layer could do no more than shift by class.
            units = ((2 * n_features, 0.0),)
            self.index_hidden, n_hidden = hidden_layers(n_features + n_classes, units, generator)
            self.index_head = index_layer(n_hidden, members.shape[1], generator)
        self.register_parameter("raw_log_noise", None)
        if likelihood == "gaussian":
            self.raw_log_noise = nn.Parameter(torch.tensor(0.0))
        self.register_buffer("members", members, persistent=False)

    def forward(self, z, label=None, all_logits=True):
        """Compute class logits and local index logits of codes (B, d).

        Index logits are those of the class ``label``; None takes the predicted one.
        ``all_logits=False`` has an :class:`OutputReader` in their place.
        """
        return self.heads(self.stem(z), label, all_logits)

    def heads(self, trunk, label=None, all_logits=True):
        """Compute the same from the intermediate feature."""
        features = self.pool(trunk)  # (B, F)
        class_logits = self.class_head(features).float()  # (B, C)
        if label is None:
            label = class_logits.argmax(1)
        index_logits = self._reader(features, label)
        if all_logits:
            index_logits = self._index_logits(index_logits, label)
        return NetworkOutput(class_logits, index_logits, features.float(), label)

    def class_logits(self, z):
        """Compute class logits (B, C) alone."""
        return self.class_head(self.pool(self.stem(z))).float()

    def index_readers_per_class(self, z):
        """Iterate over class logits (B, C), then a reader of index logits for every class."""
        features = self.pool(self.stem(z))  # (B, F)
        yield self.class_head(features).float()
        for c in range(len(self.members)):
            yield self._reader(features, torch.full((len(z),), c, device=z.device))

    @property
    def log_noise(self):
        """Log variance of a Gaussian value; None for a Bernoulli."""
        if self.raw_log_noise is None:
            return None
        above = _NOISE_STEPS * self.raw_log_noise - _LEAST_LOG_NOISE
        return _LEAST_LOG_NOISE + nn.functional.softplus(above)

    def mean(self, image):
        """Return the mean of values whose distribution ``render`` gives."""
        if self.raw_log_noise is None:
            return image.sigmoid()
        return image

    @property
    def values_per_row(self):
        """Numbers that a forward pass without index logits holds per row, roughly."""
        return widest_layer(self)

    def _reader(self, features, label):
        """Return what reads index logits of the class of each row."""
        if self.per_class:
            return OutputReader(self.index_head, features, self.members)
        one_hot = nn.functional.one_hot(label, len(self.members)).to(features.dtype)
        hidden = self.index_hidden(torch.cat([features, one_hot], 1))
        return OutputReader(self.index_head, hidden)

    def _index_logits(self, reader, label):
        members = self.members[label]  # (B, M)
        logits = self.index_head(reader.features)
        if self.per_class:
            logits = logits.gather(1, members.clamp(min=0))
        return logits.float().masked_fill(members < 0, -torch.inf)


def _encoder_cnn(shape, channels, generator):
    _, _, quarter = _sizes(shape)
    first, second, third = channels
    layers = [
        *_block(nn.Conv2d, shape[0], first, generator, stride=2),
        *_block(nn.Conv2d, first, second, generator, stride=2),
        *_block(nn.Conv2d, second, third, generator, stride=1),
    ]
    return nn.Sequential(*layers, nn.Flatten()), third * math.prod(quarter)


def _decoder_cnn(shape, channels, latent_dim, generator):
    full, half, quarter = _sizes(shape)
    first, second, third = channels
    grid = (third, *quarter)
    stem = nn.Sequential(
        linear(latent_dim, math.prod(grid), generator, latent_dim**-0.5),
        nn.Unflatten(1, grid),
        *_block(nn.ConvTranspose2d, third, second, generator),
    )
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    render = nn.Sequential(
        *_block(nn.ConvTranspose2d, second, first, generator, **_doubling(quarter, half)),
        *_block(nn.ConvTranspose2d, first, first // 2, generator, **_doubling(half, full)),
        convolution(nn.Conv2d, first // 2, shape[0], generator),
    )
    return stem, pool, render, second


def _sizes(shape):
    """Return height and width of an image, of its half, and of its quarter, rounded up."""
    full = tuple(shape[1:])
    half = tuple(-(-side // 2) for side in full)
    return full, half, tuple(-(-side // 2) for side in half)


def _doubling(small, large):
    """Return the options of a transposed convolution that doubles the sides of an image."""
    padding = tuple(b - (2 * a - 1) for a, b in zip(small, large, strict=True))
    return {"stride": 2, "output_padding": padding}


def _block(kind, in_channels, channels, generator, **options):
    layer = convolution(kind, in_channels, channels, generator, **options)
    return layer, BatchNorm2d(channels), nn.ReLU()


def _encoder_mlp(shape, units, generator):
    n_features = math.prod(shape)
    layers = [dense(n_features, units, 0.0, generator), dense(units, units, 0.0, generator)]
    return nn.Sequential(nn.Flatten(), *layers), units


def _decoder_mlp(shape, units, latent_dim, generator):
    n_features = math.prod(shape)
    stem = dense(latent_dim, units, 0.0, generator)
    render = nn.Sequential(
        dense(units, units, 0.0, generator),
        linear(units, n_features, generator, units**-0.5),
        nn.Unflatten(1, tuple(shape)),
    )
    return stem, nn.Identity(), render, units
