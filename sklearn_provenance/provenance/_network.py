"""The networks of the provenance paper: a backbone, a class branch and an index branch.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in comments: B
rows, C classes, M outputs of the largest class, F features.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from ._backbones import layout, make_stages
from ._layers import (
    ClassHeads,
    Dropout,
    InputScaling,
    MixedPrecision,
    hidden_layers,
    index_layer,
    linear,
)
from ._output_reader import OutputReader


class NetworkOutput(NamedTuple):
    """Output of a forward pass."""

    class_logits: torch.Tensor | None  # (B, C); None in a single branch
    # (B, M) local if class-conditional, else (B, n_outputs); or what reads some of them
    index_logits: torch.Tensor | OutputReader
    index_features: torch.Tensor  # (B, F), what the last layer of the index branch sees
    label: torch.Tensor | None  # (B,) the class that index_logits are local to, if they are local

    @property
    def task(self):
        """The output that predictions come from; None in a single branch."""
        return self.class_logits


def widest_layer(module):
    """Count the units of the widest layer, except for the last one of the index branch."""
    sizes = [0]
    for name, parameter in module.named_parameters():
        if not name.startswith("index_head"):
            sizes.append(sum(parameter.shape[:1]))
    return max(sizes)


class BranchedNetwork(MixedPrecision):
    """A backbone with a branch for the task and an index branch.

    Subclasses call :meth:`_build_stages` and :meth:`_build_index_hidden` in this order, and add the
    last layer of the index branch.

    Parameters
    ----------
    user_shape : tuple of int
        Shape of one stored row before it was flattened.
    axes : tuple of int or None
        Transposition of a batch of such rows to channels-first order, if they need one.
    input_scale : float
        Factor for stored values.
    standardization : Standardization or None
        Mean and factor of every channel, in place of ``input_scale``.
    amp_dtype : torch.dtype or None
        Type for automatic mixed precision; None computes in single precision.
    amp_device : str
        Kind of device on which it is used.
    """

    def __init__(self, user_shape, axes, input_scale, standardization, amp_dtype, amp_device):
        super().__init__(amp_dtype, amp_device)
        self.scaling = InputScaling(user_shape, axes, input_scale, standardization)
        self.draws_outputs = False  # True while a loss reads outputs that it draws

    def _build_stages(self, backbone, units, sharing_level, n_task_outputs, generator):
        """Add the shared stages and those of the index branch alone.

        Returns the branch of the task, None without task outputs, and the number of features that
        the stages give.
        """
        input_shape = self.scaling.output_shape
        stages, n_features = make_stages(backbone, input_shape, units, generator)
        n_shared = sharing_level
        if n_shared is None:
            n_shared = len(stages)
        self.shared = nn.Sequential(*stages[:n_shared])
        if not n_task_outputs:
            self.index_stages = nn.Sequential(*stages[n_shared:])
            return None, n_features
        hidden, n_hidden = hidden_layers(n_features, units.class_hidden, generator)
        output = linear(n_hidden, n_task_outputs, generator)
        task_branch = nn.Sequential(*stages[n_shared:], hidden, output)
        # Stages that are not shared are built twice, with other weights.
        index_stages = []
        if n_shared < len(stages):
            index_stages = make_stages(backbone, input_shape, units, generator)[0][n_shared:]
        self.index_stages = nn.Sequential(*index_stages)
        return task_branch, n_features

    def _build_index_hidden(self, n_input, units, generator):
        """Add the hidden layers of the index branch."""
        self.index_hidden, self.n_index_features = hidden_layers(
            n_input, units.index_hidden, generator
        )
        self.index_dropout = Dropout(units.index_dropout)

    @property
    def values_per_row(self):
        """Numbers that a forward pass without index logits holds per row, roughly."""
        n_units = widest_layer(self)
        shape = self.scaling.output_shape
        if len(shape) == 1:
            return n_units
        return max(n_units, 64 * math.prod(shape[1:]))  # 64 channels of the image's size

    def set_generator(self, generator):
        """Make every dropout draw from one generator."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator


class ProvenanceNetwork(BranchedNetwork):
    """A provenance network ([PN] 3, 7.1, 7.2, 7.6).

    Parameters
    ----------
    architecture : {"class_conditional", "class_independent", "single_branch"}
        Which branches there are and what the index branch ranges over.
    sizes : sequence of int
        Outputs of each class, K_y.
    generator : torch.Generator
        Source of the initial weights.
    backbone, width, dropout, sharing_level, heads, class_conditioning
        As in :class:`ProvenanceClassifier`.
    user_shape, axes, input_scale, standardization, amp_dtype, amp_device
        As in :class:`BranchedNetwork`.

    Attributes
    ----------
    has_class_branch : bool
        Whether classes have logits of their own.
    index_per_class : bool
        Whether index logits are those of one class's rows, in local order.
    """

    def __init__(
        self,
        architecture,
        user_shape,
        axes,
        input_scale,
        sizes,
        generator,
        backbone="mlp",
        width="medium",
        dropout=0.0,
        sharing_level=None,
        heads="shared",
        class_conditioning=True,
        standardization=None,
        amp_dtype=None,
        amp_device="cpu",
    ):
        super().__init__(user_shape, axes, input_scale, standardization, amp_dtype, amp_device)
        self.architecture = architecture
        n_classes = len(sizes)
        self.has_class_branch = architecture != "single_branch"
        self.index_per_class = architecture == "class_conditional"
        self.conditioning = self.index_per_class and class_conditioning
        units = layout(width, architecture, backbone, dropout)

        n_task_outputs = 0
        if self.has_class_branch:
            n_task_outputs = n_classes
        class_branch, n_features = self._build_stages(
            backbone, units, sharing_level, n_task_outputs, generator
        )
        if class_branch is not None:
            self.class_branch = class_branch
        if self.conditioning:
            n_features += n_classes  # the one-hot class
        self._build_index_hidden(n_features, units, generator)
        if not self.index_per_class:
            self.index_head = index_layer(self.n_index_features, sum(sizes), generator)
        elif heads == "per_class":
            self.index_head = ClassHeads(self.n_index_features, list(sizes), generator)
        else:
            self.index_head = index_layer(self.n_index_features, max(sizes), generator)
        self.register_buffer("sizes", torch.as_tensor(sizes), persistent=False)

    def forward(self, x, label=None, all_logits=True):
        """Compute both branches for a batch of stored rows (B, n_features).

        ``label`` is the class that a class-conditional index branch sees: the true class in
        training (teacher forcing, [PN] Eq. 21); None takes the predicted one. ``all_logits=False``
        has an :class:`OutputReader` in place of index logits.
        """
        with self._autocast(x):
            trunk = self.shared(self.scaling(x))
            class_logits = None
            if self.has_class_branch:
                class_logits = self.class_branch(trunk).float()  # (B, C)
            if not self.index_per_class:
                label = None
            elif label is None:
                label = class_logits.argmax(1)
            features, reader = self._index_branch(self.index_stages(trunk), label)
            logits = reader
            if all_logits and not self.draws_outputs:
                logits = self._index_logits(reader, label)
        return NetworkOutput(class_logits, logits, features, label)

    def class_logits(self, x):
        """Compute class logits (B, C) alone."""
        with self._autocast(x):
            return self.class_branch(self.shared(self.scaling(x))).float()

    def index_readers_per_class(self, x):
        """Iterate over class logits (B, C), then a reader of index logits for every class."""
        with self._autocast(x):
            trunk = self.shared(self.scaling(x))
            yield self.class_branch(trunk).float()
            features = self.index_stages(trunk)
            for c in range(len(self.sizes)):
                label = torch.full((len(x),), c, device=x.device)
                yield self._index_branch(features, label)[1]

    def _index_branch(self, features, label):
        if self.conditioning:
            one_hot = nn.functional.one_hot(label, len(self.sizes)).to(features.dtype)
            features = torch.cat([features, one_hot], 1)  # [PN] Eqs. 13 and 21
        features = self.index_hidden(features)  # (B, F)
        return features.float(), OutputReader(self.index_head, self.index_dropout(features))

    def _index_logits(self, reader, label):
        if reader.has_heads:
            return self.index_head(reader.features, label).float()
        logits = self.index_head(reader.features).float()
        if label is not None:  # [PN] Eq. 20
            valid = torch.arange(logits.shape[1], device=logits.device) < self.sizes[label][:, None]
            logits = logits.masked_fill(~valid, -torch.inf)
        return logits
