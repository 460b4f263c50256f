"""Which layers' factors may be used: those that give the gradients of rows alone.

Shapes in comments: N examined rows, O outputs, I inputs of a layer.
"""

import torch

from ._batches import take_batch
from ._comparison import close, norm, random_weights
from ._examination import examined_rows
from ._linearisation import Linearisation
from ._outputs import measured, warn_of_probabilities


class Examination:
    """The gradients of a few rows that differ: as a batch in two orders, and alone.

    Parameters
    ----------
    model : TangentModel
        The network, in evaluation mode.
    x : torch.Tensor
        Rows.
    labels : torch.Tensor of shape (n_rows,), default=None
        Their labels; None takes the predicted classes.
    """

    def __init__(self, model, x, labels=None):
        self.model = model
        self.numbers = examined_rows(x)
        chosen = torch.tensor(self.numbers)
        self.x = take_batch(x, chosen)
        places = list(range(len(chosen)))
        self.orders = [places, places[::-1]]
        self.batches = self._batches()
        first = self.batches[0]
        if first.logits is not None:
            warn_of_probabilities(first.logits)
        labels = self._predicted() if labels is None else torch.as_tensor(labels)[chosen]
        self.labels = first._target(labels)
        self.weights = random_weights(len(chosen)).to(model.device, model.dtype)  # (N,)
        self.outputs = []  # of each row alone
        self.unconfirmed = set()  # layers whose gradients are too small to say anything
        self.truth = {}  # sum of the rows' gradients with the weights, by name of the parameter
        self._compute_truth()
        self.size = sum(norm(g) ** 2 for g in self.truth.values()) ** 0.5

    def choose_routes(self):
        """Set the route of each layer that has an influence."""
        exact = self._exact(self.batches)
        tables = {layer.number for layer in self.model.layers if layer.one_hot}
        unknown = {n for n in tables - exact if self._gradients(self.model.layers[n])}
        if unknown:
            exact = self._with_shared_tables(unknown, exact)
        for layer in self.model.layers:
            gradients = self._gradients(layer)
            if gradients:
                layer.route = "factors" if layer.number in exact else "functional"
                differ = len(set(self.numbers)) > 1 and layer.number not in self.unconfirmed
                layer.confirmed = differ and any(bool(g.any()) for g in gradients)
        self._check_vmap()

    def _batches(self):
        """Linearise the rows in each order."""
        batches = []
        for order in self.orders:
            x = take_batch(self.x, torch.tensor(order))
            numbers = [self.numbers[place] for place in order]
            batches.append(Linearisation(self.model, x, numbers, planning=True))
        return batches

    def _predicted(self):
        """Choose labels whose measurements have a gradient: the largest logits."""
        logits = self.batches[0]._readable_logits()
        if logits is None:
            return torch.zeros(len(self.numbers), dtype=torch.long)
        if self.model.measurement == "log_probability":
            # log p of a certain label has no gradient to check factors by: take the runner-up.
            return logits.argsort(1, descending=True)[:, :2][:, -1]
        return logits.argmax(1)

    def _compute_truth(self):
        """Compute the outputs and gradients of the rows one by one."""
        for i, weight in enumerate(self.weights):
            row = slice(i, i + 1)
            gradients, output = self.model.functional.one(
                self.model.weights, take_batch(self.x, row), self.labels[row]
            )
            self.outputs.append(output)
            for name, gradient in gradients.items():
                self.truth[name] = self.truth.get(name, 0) + gradient.detach() * weight

    def _gradients(self, layer):
        """List the gradients of a layer's parameters that have any."""
        return [self.truth[name] for name in layer.weights if name in self.truth]

    def _exact(self, batches):
        """Find the layers whose factors give the gradients of rows alone, in every batch."""
        exact = {layer.number for layer in self.model.layers}
        for batch, order in zip(batches, self.orders, strict=True):
            self._compare_outputs(batch, order)
        for batch, order in zip(batches, self.orders, strict=True):
            calls, *_ = batch._backward(self.labels[order])
            exact &= calls.keys()
            for number in sorted(exact):
                layer = self.model.layers[number]
                factor = batch._sum_of_calls(layer, calls[number])
                if factor is None:
                    exact.remove(number)
                    continue
                total = factor.total(self.weights[order])
                expected = layer._joined(self.truth)
                if not close(total, expected, self.size):
                    exact.remove(number)
                    continue
                layer.positions = factor.positions
                if not close(total, expected):  # rounding errors beside the whole
                    self.unconfirmed.add(number)
        return exact

    def _compare_outputs(self, batch, order):
        """Raise unless a batch gives what its rows give alone."""
        measurement = self.model.measurement
        alone = [self.outputs[place] for place in order]
        together = batch.logits
        if callable(measurement):
            labels = self.labels[order]
            together = batch._measured(labels)
            alone = [
                measured(output, labels[i : i + 1], measurement, 1)
                for i, output in enumerate(alone)
            ]
        alone = torch.cat([part.detach() for part in alone])
        if not close(together.detach(), alone):
            raise ValueError(
                "the output of a row must not depend on the other rows of its batch, or change "
                "from call to call, because the row would have no gradient of its own; got outputs "
                "of a batch and of its rows alone that differ"
            )

    def _with_shared_tables(self, unknown, exact):
        """Find tables that a batch calls once for all its rows, such as those of positions.

        The calls of these tables have no axis for rows.

        Parameters
        ----------
        unknown : set of int
            Numbers of tables whose factors are not exact otherwise.
        exact : set of int
            Layers whose factors are exact otherwise.

        Returns
        -------
        set of int
            Layers whose factors are exact now.
        """
        while unknown:
            self._share(unknown)
            try:
                found = self._exact(self._batches())
            except Exception:  # the module wants the output as it was
                found = set()
            if unknown <= found:
                return found
            unknown &= found
        self._share(unknown)
        return exact

    def _share(self, numbers):
        """Let a call without an axis for rows serve all rows, in these layers and no others."""
        for layer in self.model.layers:
            layer.shared = layer.number in numbers
            layer.route = "idle"  # watched again

    def _check_vmap(self):
        """Give up torch.func.vmap if its gradients are not those of the rows alone."""
        functional = self.model.functional
        slow = {}
        for layer in self.model.layers:
            if layer.route == "functional":
                slow |= layer.weights
        if not slow or not functional.vectorised:
            return
        for name, gradients in functional.gradients(slow, self.x, self.labels).items():
            total = torch.tensordot(self.weights, gradients, 1)
            if not close(total, self.truth.get(name, torch.zeros_like(total)), self.size):
                functional.give_up_vmap(slow)
                return
