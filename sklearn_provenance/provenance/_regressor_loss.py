"""The loss of a provenance regressor.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

from torch import nn

from ._neighbours import neighbour_cross_entropy, neighbour_mask, sample_neighbours
from ._training import TrackedLoss


class RegressionLoss(TrackedLoss):
    """Weighted sum of the loss of standardised targets and the index loss ([PN] Eq. 2).

    Parameters
    ----------
    targets : Tensor of shape (n_outputs, n_targets), float64
        Standardised targets of the rows that have an output.
    radii : Tensor of shape (n_outputs,), float64
        Distances within which other rows are neighbours.
    loss, huber_delta, alpha, mixing, lambda_output, lambda_index, label_smoothing
        As in :class:`ProvenanceRegressor`.
    """

    def __init__(
        self,
        targets,
        radii,
        loss,
        huber_delta,
        alpha,
        mixing,
        lambda_output,
        lambda_index,
        label_smoothing,
    ):
        super().__init__()
        self.register_buffer("targets", targets)
        self.register_buffer("radii", radii)
        self.loss = loss
        self.huber_delta = huber_delta
        self.alpha = alpha
        self.mixing = mixing
        self.lambda_output = lambda_output
        self.lambda_index = lambda_index
        self.label_smoothing = label_smoothing

    def forward(self, output, target):
        index_loss = self._index_loss(output.index_logits, target["output"])
        output_loss = self._output_loss(output.values, target["values"])
        return self.lambda_output * output_loss + self.lambda_index * index_loss

    def _output_loss(self, values, target):
        if self.loss == "huber":
            loss = nn.functional.huber_loss(values, target, delta=self.huber_delta)
        else:
            loss = nn.functional.mse_loss(values, target)
        self.add("output_loss", loss.detach() * len(values), len(values))
        return loss

    def _index_loss(self, logits, own):
        output = own.clamp(min=0)  # self.index_loss leaves out rows without an output
        mask = None
        drawn = None
        if self.alpha > 0:
            mask = neighbour_mask(self.targets, self.radii, output)  # (B, N)
        if self.mixing == "sampled":
            drawn = output
            if mask is not None:
                drawn = sample_neighbours(output, mask, self.alpha, self.generator)
        losses = neighbour_cross_entropy(
            logits, output, mask, self.alpha, self.label_smoothing, drawn
        )
        return self.index_loss(losses, logits.detach().argmax(1), own, drawn)
