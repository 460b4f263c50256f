"""A network linearised in its parameters: what is differentiated, and by which route."""

from collections.abc import Callable, Sequence
from typing import Literal, Self

import torch
from torch import nn

from .._utils.modules import Generators, evaluation, held
from .._utils.types import Rows, Targets
from ._batches import as_rows, copied, n_rows, take
from ._comparison import close, norm, random_weights
from ._coverage import Coverage, coverage_of
from ._examination import examined_rows
from ._functional import Functional
from ._linearisation import Linearisation
from ._module import check_module, plain_call, select_parameters
from ._network_layers import active_layers, batch_size_for, find_layers
from ._outputs import check_measurement, finite_logits, warn_of_probabilities


class TangentModel:
    """A network linearised in its parameters.

    Gradients of a linear, convolution, normalisation or embedding layer come from hooks that keep
    its input and the gradient of its output. Gradients in any other parameter come from torch.func.
    First, the gradients of some rows are computed one at a time. A layer whose factors do not
    reproduce them goes through torch.func as well: a subclass that computes something else, a
    weight that is used without a call of its layer, rows that change places. The module is never
    changed. It is in evaluation mode, and has hooks, only while it runs; threads take turns.

    Parameters
    ----------
    module : torch.nn.Module
        Maps a batch to logits. A batch is a tensor, or a tuple, list or dict of tensors.
    forward : callable, default=None
        ``forward(module, x)`` gives logits of shape (n_samples, n_classes), an object with such
        ``logits``, or a tuple with a single tensor of two dimensions; None calls the module.
    measurement : {"label_logit", "margin", "log_probability"} or callable, default="label_logit"
        The scalar whose gradient is taken, see :func:`measure`. A callable is called as
        ``measurement(outputs, targets)``, with what ``forward`` returns (which may then be
        anything) and the labels, and returns shape (n_samples,).
    ntk_parameterization : bool or float, default=False
        Take gradients in Ω where a weight is W = (s / √fan_in) Ω: the features of weights of
        linear, convolution, recurrent and attention layers are multiplied by s / √fan_in. Biases,
        normalisation, embeddings and unknown parameters stay as they are. True is s = 1.
    parameters : {"auto", "trainable", "all"} or list of str, default="auto"
        Parameters that gradients are taken in. ``"trainable"`` are those with ``requires_grad``;
        ``"auto"`` takes these, or all if there are none (a model frozen for inference).

    Raises
    ------
    TypeError
        If ``module`` is no module.
    ValueError
        If the module has no parameters, parameters in half precision, or outputs that have no
        gradient for each row.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", sections 3 and 4.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        forward: Callable | None = None,
        measurement: str | Callable = "label_logit",
        ntk_parameterization: bool | float = False,
        parameters: str | Sequence[str] = "auto",
    ) -> None:
        check_module(module)
        check_measurement(measurement)
        self.module = module
        self.forward = forward or plain_call
        self.measurement = measurement
        self.ntk_parameterization = ntk_parameterization
        with held(module):
            self.weights = select_parameters(module, parameters)
            self.layers = find_layers(module, self.weights, float(ntk_parameterization))
        self.planned = False
        # Device of a module that draws random numbers in evaluation mode.
        self.draws_on: torch.device | None = None
        self._n_seen = 0  # rows that have been linearised
        self.functional = Functional(module, self.forward, measurement)
        first = next(iter(self.weights.values()))
        self.device = first.device
        self.dtype = first.dtype

    @property
    def double_device(self) -> torch.device:
        """Where double precision is computed: a GPU of CUDA's, or the CPU."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def measuring(self, measurement: str | Callable) -> Self:
        """Linearise the same network in the same parameters for another measurement.

        Parameters
        ----------
        measurement : {"label_logit", "margin", "log_probability"} or callable
            The scalar whose gradient is taken.

        Returns
        -------
        TangentModel
            A new model, without a plan.
        """
        return type(self)(
            self.module,
            forward=self.forward,
            measurement=measurement,
            ntk_parameterization=self.ntk_parameterization,
            parameters=list(self.weights),
        )

    def plan(self, x: Rows, labels: Targets = None) -> Self:
        """Decide on each layer's route by computing the gradients of some rows one at a time.

        Parameters
        ----------
        x : torch.Tensor
            Rows, of which up to six that differ are used: as a batch in two orders, and alone.
        labels : torch.Tensor of shape (n_rows,), default=None
            What a callable measurement is called with; None takes the predicted classes.

        Returns
        -------
        self : TangentModel
            The model itself.

        Raises
        ------
        ValueError
            If the output of a row changes with the other rows of its batch, or from call to call.

        Warns
        -----
        UserWarning
            If the outputs look like probabilities, not logits.
        """
        if n_rows(x) == 0:
            raise ValueError("x must have at least one row, got none")
        with evaluation(self.module, self.draws_on):
            generators = Generators(self.device)
            try:
                self._examine(x, labels)
            finally:
                if generators.restore():
                    self.draws_on = self.device
            self.planned = True
        return self

    def _examine(self, x, labels):
        """Set the route of each layer, from rows as a batch in two orders, and alone."""
        numbers = examined_rows(x)
        x = take(x, torch.tensor(numbers))
        places = list(range(len(numbers)))
        orders = [places, places[::-1]]
        batches = self._batches(x, numbers, orders)
        if batches[0].logits is not None:
            warn_of_probabilities(batches[0].logits)
        if labels is None:
            labels = self._examined_labels(batches[0])
        else:
            labels = torch.as_tensor(labels)[torch.tensor(numbers)]
        labels = batches[0]._target(labels)
        weights = random_weights(len(numbers)).to(self.device, self.dtype)
        truth, outputs = self._one_by_one(x, labels, weights)

        def reproduced(batches):
            return self._reproduced(batches, orders, labels, weights, truth, outputs)

        exact = reproduced(batches)
        tables = [table for table in self.layers if table.one_hot and table.number not in exact]
        unknown = {table.number for table in tables if table.weights.keys() & truth.keys()}
        if unknown:
            exact = self._with_shared_tables(
                unknown, exact, lambda: reproduced(self._batches(x, numbers, orders))
            )
        for layer in self.layers:
            gradients = [truth[n] for n in layer.weights if n in truth]
            if gradients:
                layer.route = "factors" if layer.number in exact else "functional"
                layer.confirmed = len(set(numbers)) > 1 and any(bool(g.any()) for g in gradients)
        self._examine_functional(x, labels, weights, truth)

    def _examine_functional(self, x, labels, weights, truth):
        """Give up vmap if its gradients are not those of the rows alone."""
        slow: dict = {}
        for layer in self.layers:
            if layer.route == "functional":
                slow |= layer.weights
        if not slow or not self.functional.vectorised:
            return
        size = _size(truth)
        for name, gradients in self.functional.gradients(slow, x, labels).items():
            total = torch.tensordot(weights, gradients, 1)
            if not close(total, truth.get(name, torch.zeros_like(total)), size):
                self.functional.give_up_vmap(slow)
                return

    def _batches(self, x, numbers, orders):
        """Linearise the examined rows as batches in several orders."""
        return [
            Linearisation(self, take(x, torch.tensor(order)), [numbers[i] for i in order], True)
            for order in orders
        ]

    def _with_shared_tables(self, unknown, exact, try_again):
        """Find tables that a batch calls once for all its rows, such as those of positions.

        The calls of these tables have no axis for rows.

        Parameters
        ----------
        unknown : set of int
            Numbers of tables whose factors are not exact otherwise.
        exact : set of int
            Layers whose factors are exact otherwise.
        try_again : callable
            Finds the layers whose factors are exact.

        Returns
        -------
        set of int
            Layers whose factors are exact now.
        """
        while unknown:
            self._share(unknown)
            try:
                found = try_again()
            except Exception:  # the module wants the output as it was
                found = set()
            if unknown <= found:
                return found
            unknown &= found
        self._share(unknown)
        return exact

    def _share(self, numbers):
        """Let a call without an axis for rows serve all rows, in these layers and no others."""
        for layer in self.layers:
            layer.shared = layer.number in numbers
            layer.route = "idle"  # watched again

    def _reproduced(self, batches, orders, labels, weights, truth, outputs):
        """Find the layers whose factors give the gradients of rows alone, in every batch."""
        size = _size(truth)
        exact = {layer.number for layer in self.layers}
        for batch, order in zip(batches, orders, strict=True):
            self._compare_outputs(batch, [outputs[i] for i in order], labels[order])
        for batch, order in zip(batches, orders, strict=True):
            calls, *_ = batch._backward(labels[order])
            exact &= calls.keys()
            for number in sorted(exact):
                layer = self.layers[number]
                factor = batch._sum_of_calls(layer, calls[number])
                if factor is not None and close(
                    factor.total(weights[order]), self._joined(layer, truth), size
                ):
                    layer.positions = factor.positions
                else:
                    exact.remove(number)
        return exact

    def _one_by_one(self, x, labels, weights):
        """Compute the weighted sum of the rows' gradients by name, and the rows' outputs."""
        truth: dict = {}
        outputs = []
        for i, weight in enumerate(weights):
            row = slice(i, i + 1)
            gradients, output = self.functional.one(self.weights, take(x, row), labels[row])
            outputs.append(output)
            for name, gradient in gradients.items():
                truth[name] = truth.get(name, 0) + gradient.detach() * weight
        return truth, outputs

    def _joined(self, layer, truth):
        """Join gradients by name to one matrix (O, I); parameters that have none count as zero."""
        parts = {n: truth.get(n, torch.zeros_like(p)) for n, p in layer.weights.items()}
        return layer.join({n: part[None] for n, part in parts.items()}).matrix()[0]

    def _examined_labels(self, batch):
        """Choose labels whose measurements have a gradient: the largest logits."""
        logits = batch._readable_logits()
        if logits is None:
            return torch.zeros(batch.n_samples, dtype=torch.long)
        if self.measurement == "log_probability":
            # log p of a certain label has no gradient to check factors by: take the runner-up.
            return logits.argsort(1, descending=True)[:, :2][:, -1]
        return logits.argmax(1)

    def _compare_outputs(self, batch, outputs, labels):
        """Raise unless a batch gives what its rows give alone."""
        together = batch.logits
        alone = outputs
        if callable(self.measurement):
            together = batch._measured(labels)
            alone = [
                self.measurement(output, labels[i : i + 1]) for i, output in enumerate(outputs)
            ]
        alone = torch.cat([a.detach() for a in alone])
        if not close(together.detach(), alone):
            raise ValueError(
                "the output of a row must not depend on the other rows of its batch, or change "
                "from call to call, because the row would have no gradient of its own; got outputs "
                "of a batch and of its rows alone that differ"
            )

    @property
    def coverage(self) -> Coverage:
        """Coverage: routes of the parameters and their shares."""
        with held(self.module):
            sizes = {name: p.numel() for name, p in self.module.named_parameters()}
        routes = dict.fromkeys(sizes, "excluded")
        for layer in self.layers:
            routes |= dict.fromkeys(layer.weights, layer.route)
        return coverage_of(sizes, routes, ("factors", "functional", "idle", "excluded"))

    @property
    def n_components(self) -> int:
        """Parameters that influence the measurement, as far as has been seen."""
        return sum(layer.n_parameters for layer in active_layers(self.layers))

    @torch.inference_mode(False)
    def logits(self, X: Rows, batch_size: int | Literal["auto"] = "auto") -> torch.Tensor:
        """Run the network in evaluation mode.

        Parameters
        ----------
        X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
            Rows.
        batch_size : int or "auto", default="auto"
            Rows per pass.

        Returns
        -------
        torch.Tensor of shape (n_rows, n_classes)
            Logits in the network's precision, on the CPU.

        Raises
        ------
        ValueError
            If the outputs are no finite logits.
        """
        x, n = as_rows(X, self)
        step = batch_size_for(self, batch_size)
        parts = []
        for start in range(0, n, step):
            _, batch, size = copied(x, slice(start, start + step))
            with evaluation(self.module, self.draws_on), torch.no_grad():
                outputs = self.forward(self.module, batch)
            parts.append(finite_logits(outputs, size, start).cpu())
        return torch.cat(parts)

    def linearise(self, x: Rows, first_row: int = 0) -> Linearisation:
        """Run the network on a batch and keep what its gradients need.

        Parameters
        ----------
        x : torch.Tensor
            A batch.
        first_row : int, default=0
            Number of its first row in errors.

        Returns
        -------
        Linearisation
            Its logits and, for any labels, the layers' factors.
        """
        if not self.planned:
            self.plan(x)
        return Linearisation(self, x, first_row)


def _size(gradients):
    """Compute the norm of all gradients together."""
    return sum(norm(g) ** 2 for g in gradients.values()) ** 0.5
