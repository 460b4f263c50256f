"""Logits of some outputs of an index branch.

Shapes in comments: B rows, F features, D outputs that rows share, T outputs that a row has alone.
"""

import torch


class _TakeRows(torch.autograd.Function):
    """Take rows of a parameter; the gradient is a sparse tensor of these rows."""

    @staticmethod
    def forward(ctx, parameter, rows):
        ctx.save_for_backward(rows)
        ctx.shape = parameter.shape
        return parameter[rows]

    @staticmethod
    def backward(ctx, gradient):
        (rows,) = ctx.saved_tensors
        return torch.sparse_coo_tensor(
            rows[None], gradient, ctx.shape, check_invariants=False
        ), None


class OutputReader:
    """Read some outputs of the last layer of an index branch, in place of all of them.

    Parameters
    ----------
    head : Linear or ClassHeads
        The last layer.
    features : Tensor of shape (B, F)
        What it sees.
    members : Tensor of shape (n_classes, M), default=None
        Outputs of each class, -1 pads, where one layer holds the heads of all classes.
    """

    def __init__(self, head, features, members=None):
        self.head = head
        self.features = features
        self.members = members

    @property
    def has_heads(self):
        """Whether each class has a head of its own."""
        return hasattr(self.head, "heads")

    def take(self, rows):
        """Return a reader of some of the rows."""
        return OutputReader(self.head, self.features[rows], self.members)

    def weights(self, label=None):
        """Return weights and biases of the outputs of a class, in local order.

        Parameters
        ----------
        label : int, default=None
            The class; None for all outputs, where they are not those of a class.

        Returns
        -------
        weight : Tensor of shape (K, F)
        bias : Tensor of shape (K,)
            Where classes share a layer, there are as many as the largest class has.
        """
        if label is not None and self.members is not None:
            outputs = self.members[label]
            outputs = outputs[outputs >= 0]
            return self.head.weight[outputs], self.head.bias[outputs]
        layer = self.head
        if self.has_heads:
            layer = self.head.heads[label]
        return layer.weight, layer.bias

    def logits(self, chosen, drawn):
        """Compute logits of outputs that rows have alone, and of outputs that they share.

        Gradients of the weights are sparse: they have the rows of these outputs only.

        Parameters
        ----------
        chosen : Tensor of shape (B, T)
            Outputs of each row.
        drawn : Tensor of shape (D,)
            Outputs of all rows.

        Returns
        -------
        chosen_logits : Tensor of shape (B, T)
        drawn_logits : Tensor of shape (B, D)
        """
        return _logits(self.head, self.features, chosen, drawn)

    def logits_per_class(self, label, chosen, drawn):
        """Compute such logits where each class has a head.

        Parameters
        ----------
        label : Tensor of shape (B,)
            Class of each row.
        chosen : Tensor of shape (B, T)
            Local outputs of each row.
        drawn : dict of int to Tensor of shape (D_c,)
            Local outputs that rows of each class share.

        Returns
        -------
        chosen_logits : Tensor of shape (B, T)
        drawn_logits : Tensor of shape (B, D)
            -inf where a class has fewer draws.
        """
        largest = max(len(outputs) for outputs in drawn.values())
        order = label.argsort(stable=True)
        parts = []
        for c, outputs in drawn.items():
            rows = order[label[order] == c]
            head = self.head.heads[c]
            of_chosen, of_drawn = _logits(head, self.features[rows], chosen[rows], outputs)
            missing = largest - len(outputs)
            of_drawn = torch.nn.functional.pad(of_drawn, (0, missing), value=-torch.inf)
            parts.append((of_chosen, of_drawn))
        back = order.argsort()
        chosen_logits, drawn_logits = (torch.cat(part)[back] for part in zip(*parts, strict=True))
        return chosen_logits, drawn_logits


def _logits(layer, features, chosen, drawn):
    outputs = torch.cat([drawn, chosen.flatten()])
    weight = _TakeRows.apply(layer.weight, outputs).to(features.dtype)  # (D + B T, F)
    bias = _TakeRows.apply(layer.bias, outputs)
    n_drawn = len(drawn)
    drawn_logits = (features @ weight[:n_drawn].T).float() + bias[:n_drawn]  # (B, D)
    own = weight[n_drawn:].view(*chosen.shape, -1)  # (B, T, F)
    chosen_logits = (own @ features[:, :, None])[:, :, 0].float()
    return chosen_logits + bias[n_drawn:].view(chosen.shape), drawn_logits
