"""The provenance network of a regression: a backbone, an output branch and an index branch.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in comments: B
rows, T targets per row, F features, N outputs of the index branch.
"""

from typing import NamedTuple

import torch

from ._backbones import layout
from ._layers import index_layer
from ._network import BranchedNetwork
from ._output_reader import OutputReader


class RegressionOutput(NamedTuple):
    """Output of a forward pass."""

    values: torch.Tensor  # (B, T), standardised targets
    index_logits: torch.Tensor | OutputReader  # (B, N), or what reads some of them
    index_features: torch.Tensor  # (B, F), what the last layer of the index branch sees
    label: None = None  # index logits range over all outputs

    @property
    def task(self):
        """The output that predictions come from."""
        return self.values


class RegressionNetwork(BranchedNetwork):
    """The class-independent network ([PN] 7.2) with an output branch in place of a class branch.

    Parameters
    ----------
    n_targets : int
        T.
    n_outputs : int
        N, the training rows that have an output.
    generator : torch.Generator
        Source of the initial weights.
    backbone, width, dropout, sharing_level
        As in :class:`ProvenanceRegressor`.
    user_shape, axes, input_scale, standardization, amp_dtype, amp_device
        As in :class:`BranchedNetwork`.
    """

    index_per_class = False  # as networks of the classifier answer

    def __init__(
        self,
        user_shape,
        axes,
        input_scale,
        n_targets,
        n_outputs,
        generator,
        backbone="mlp",
        width="medium",
        dropout=0.0,
        sharing_level=None,
        standardization=None,
        amp_dtype=None,
        amp_device="cpu",
    ):
        super().__init__(user_shape, axes, input_scale, standardization, amp_dtype, amp_device)
        units = layout(width, "class_independent", backbone, dropout)
        self.output_branch, n_features = self._build_stages(
            backbone, units, sharing_level, n_targets, generator
        )
        self._build_index_hidden(n_features, units, generator)
        self.index_head = index_layer(self.n_index_features, n_outputs, generator)

    def forward(self, x, label=None, all_logits=True):
        """Compute both branches for a batch of stored rows (B, n_features).

        ``label`` must be None; it is there because networks of the classifier have it.
        ``all_logits=False`` has an :class:`OutputReader` in place of index logits.
        """
        with self._autocast(x):
            trunk = self.shared(self.scaling(x))
            values = self.output_branch(trunk).float()  # (B, T)
            features = self.index_hidden(self.index_stages(trunk))  # (B, F)
            logits = OutputReader(self.index_head, self.index_dropout(features))
            if all_logits and not self.draws_outputs:
                logits = self.index_head(logits.features).float()  # (B, N)
        return RegressionOutput(values, logits, features.float())

    def values(self, x):
        """Compute standardised targets (B, T) alone."""
        with self._autocast(x):
            return self.output_branch(self.shared(self.scaling(x))).float()
