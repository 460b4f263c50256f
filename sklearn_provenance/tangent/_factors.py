"""A network linearised in its parameters: what is differentiated, and by which route."""

from dataclasses import dataclass

import torch

from .._utils.modules import Generators, evaluation, held
from ._batches import as_rows, copied, n_rows, take
from ._examination import examined_rows
from ._layers import batch_size_for, find_layers
from ._linearisation import Linearisation, call, close, norm, random_weights
from ._module import Functional, check_module, select_parameters
from ._outputs import check_measurement, finite_logits


@dataclass
class Coverage:
    """How the gradient of each parameter is computed.

    Parameters
    ----------
    routes : dict
        For each parameter's name ``"factors"`` (from layer factors, fast), ``"functional"``
        (through torch.func, slow and as exact), ``"idle"`` (no influence on the measurement: its
        gradient is zero and has no features) or ``"excluded"`` (not differentiated by).
    shares : dict
        Share of the module's parameters with each route; the shares add up to 1.
    """

    routes: dict
    shares: dict


class TangentModel:
    """A network linearised in its parameters.

    Gradients of a linear, convolution, normalisation or embedding layer come from hooks that keep
    its input and the gradient of its output; those of any other parameter from torch.func. Before
    anything else, some rows are differentiated one at a time: a layer whose factors do not
    reproduce these gradients (a subclass that computes something else, a weight used without
    calling its layer, rows that change places) goes through torch.func as well. The module is never
    changed: it is in evaluation mode, and hooked, only while it runs, and threads take turns.

    Parameters
    ----------
    module : torch.nn.Module
        Maps a batch to logits. A batch is a tensor, or a tuple, list or dict of tensors.
    forward : callable, default=None
        ``forward(module, x)`` gives logits of shape (n_samples, n_classes), an object with such
        ``logits``, or a tuple with a single tensor of two dimensions; None calls the module.
    measurement : {"label_logit", "margin", "log_probability"} or callable, default="label_logit"
        The scalar to differentiate, see :func:`measure`. Or ``measurement(outputs, targets)`` of
        what ``forward`` returns, which may then be anything, and of the labels: (n_samples,).
    ntk_parameterization : bool or float, default=False
        Differentiate by Ω where a weight is W = (s / √fan_in) Ω: the features of weights of
        linear, convolution, recurrent and attention layers are multiplied by s / √fan_in. Biases,
        normalisation, embeddings and unknown parameters stay as they are. True is s = 1.
    parameters : {"auto", "trainable", "all"} or list of str, default="auto"
        What to differentiate by: ``"trainable"`` parameters are those with ``requires_grad``;
        ``"auto"`` takes these, or all if there are none (a model frozen for inference).

    Raises
    ------
    TypeError
        If ``module`` is no module.
    ValueError
        If the module has no parameters, half-precision ones, or no gradient per example.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", sections 2 and 4.
    """

    def __init__(
        self,
        module,
        *,
        forward=None,
        measurement="label_logit",
        ntk_parameterization=False,
        parameters="auto",
    ):
        check_module(module)
        check_measurement(measurement)
        self.module = module
        self.forward = call if forward is None else forward
        self.measurement = measurement
        self.ntk_parameterization = ntk_parameterization
        with held(module):
            self.weights = select_parameters(module, parameters)
            self.layers = find_layers(module, self.weights, float(ntk_parameterization))
        self.planned = False
        self.draws_on = None  # device of a module that draws random numbers in evaluation mode
        self._n_seen = 0  # rows that have been linearised
        self.functional = Functional(module, self.forward, measurement)
        first = next(iter(self.weights.values()))
        self.device, self.dtype = first.device, first.dtype

    def measuring(self, measurement):
        """Linearise the same network in the same parameters for another measurement.

        Parameters
        ----------
        measurement : {"label_logit", "margin", "log_probability"} or callable
            The scalar to differentiate.

        Returns
        -------
        TangentModel
            A new one, without a plan.
        """
        return TangentModel(
            self.module,
            forward=self.forward,
            measurement=measurement,
            ntk_parameterization=self.ntk_parameterization,
            parameters=list(self.weights),
        )

    def plan(self, x, labels=None):
        """Decide on each layer's route by differentiating some rows one at a time.

        Parameters
        ----------
        x : torch.Tensor
            Rows, of which up to six that differ are used: as a batch in two orders, and alone.
        labels : torch.Tensor of shape (n_rows,), default=None
            What a callable measurement takes; None takes the predicted classes.

        Returns
        -------
        TangentModel
            Itself.

        Raises
        ------
        ValueError
            If the output of a row changes with the other rows of its batch, or from call to call.
        """
        if n_rows(x) == 0:
            raise ValueError("x has no examples.")
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
        numbers = examined_rows(x)
        x = take(x, torch.tensor(numbers))
        orders = [list(range(len(numbers))), list(reversed(range(len(numbers))))]
        batches = self._batches(x, numbers, orders)
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
            own = [truth[n] for n in layer.weights if n in truth]
            if own:
                layer.route = "factors" if layer.number in exact else "functional"
                layer.confirmed = len(set(numbers)) > 1 and any(bool(t.any()) for t in own)
        slow = [layer for layer in self.layers if layer.route == "functional"]
        slow = {n: p for layer in slow for n, p in layer.weights.items()}
        if slow and self.functional.vectorised:
            found = self.functional.gradients(slow, x, labels)
            size = _size(truth)
            sums = {n: torch.tensordot(weights, g, 1) for n, g in found.items()}
            if not all(close(sums[n], truth.get(n, 0 * sums[n]), size) for n in slow):
                self.functional.one_by_one(slow)

    def _batches(self, x, numbers, orders):
        """The examined rows as batches in several orders."""
        return [
            Linearisation(self, take(x, torch.tensor(order)), [numbers[i] for i in order], True)
            for order in orders
        ]

    def _with_shared_tables(self, unknown, exact, try_again):
        """Find tables that a batch calls once for all its rows, such as those of positions.

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
        """Let calls of some layers that have no axis for rows serve all rows, and of no others."""
        for layer in self.layers:
            layer.shared = layer.number in numbers
            layer.route = "idle"  # watched again

    def _reproduced(self, batches, orders, labels, weights, truth, outputs):
        """Numbers of the layers whose factors give the gradients of rows alone, in every batch."""
        exact, size = [], _size(truth)
        for batch, order in zip(batches, orders, strict=True):
            self._compare_outputs(batch, [outputs[i] for i in order], labels[order])
        for batch, order in zip(batches, orders, strict=True):
            exact.append(set())
            found, _ = batch._backward(labels[order])
            for layer in self.layers:
                calls = found.get(layer.number)
                factor = batch._sum_of_calls(layer, calls) if calls else None
                if factor is None:
                    continue
                total = factor.total(weights[order])
                if close(total, self._joined(layer, truth), size):
                    exact[-1].add(layer.number)
                    layer.positions = factor.positions
        return set.intersection(*exact)

    def _one_by_one(self, x, labels, weights):
        """Weighted sum of the rows' gradients by name, where there are any; and outputs."""
        truth, outputs = {}, []
        for i, weight in enumerate(weights):
            row = take(x, slice(i, i + 1))
            gradients, output = self.functional.one(self.weights, row, labels[i : i + 1])
            outputs.append(output)
            for name, gradient in gradients.items():
                if gradient is not None:
                    known = truth.get(name)
                    gradient = gradient.detach()
                    truth[name] = gradient * weight if known is None else known + gradient * weight
        return truth, outputs

    def _joined(self, layer, truth):
        """One gradient matrix (O, I) of gradients by name."""
        parts = {n: truth.get(n, torch.zeros_like(p)) for n, p in layer.weights.items()}
        return layer.join({n: part[None] for n, part in parts.items()}).matrix()[0]

    def _examined_labels(self, batch):
        logits = batch._readable_logits()
        if logits is None:
            return torch.zeros(batch.n_samples, dtype=torch.long)
        # log p of a certain label has no gradient to check factors by, that of the runner-up has.
        ranked = logits.argsort(1, descending=True)[:, :2]
        return ranked[:, -1 if self.measurement == "log_probability" else 0]

    def _compare_outputs(self, batch, outputs, labels):
        """Raise unless a batch gives what its rows give alone."""
        if callable(self.measurement):
            together = batch._measured(labels)
            alone = [
                self.measurement(output, labels[i : i + 1]) for i, output in enumerate(outputs)
            ]
        else:
            together, alone = batch.logits, outputs
        alone = torch.cat([a.detach() for a in alone])
        if not close(together.detach(), alone):
            raise ValueError(
                "The output for one example changes with the other examples of its batch, or from "
                "call to call, so an example has no gradient of its own."
            )

    @property
    def coverage(self):
        """Coverage: routes of the parameters and their shares."""
        with held(self.module):
            everything = dict(self.module.named_parameters())
        routes = dict.fromkeys(everything, "excluded")
        for layer in self.layers:
            routes |= dict.fromkeys(layer.weights, layer.route)
        total = sum(p.numel() for p in everything.values())
        counts = dict.fromkeys(("factors", "functional", "idle", "excluded"), 0)
        for name, p in everything.items():
            counts[routes[name]] += p.numel()
        return Coverage(routes, {route: count / total for route, count in counts.items()})

    @property
    def n_components(self):
        """Parameters that influence the measurement, as far as has been seen."""
        active = [layer for layer in self.layers if layer.route != "idle"]
        return sum(p.numel() for layer in active for p in layer.weights.values())

    @torch.inference_mode(False)
    def logits(self, X, batch_size="auto"):
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

    def linearise(self, x, first_row=0):
        """Run the network on a batch and keep what its gradients need.

        Parameters
        ----------
        x : torch.Tensor
            A batch.
        first_row : int, default=0
            What its first row is called in errors.

        Returns
        -------
        Linearisation
            Its logits and, for any labels, the layers' factors.
        """
        if not self.planned:
            self.plan(x)
        return Linearisation(self, x, first_row)


def _size(gradients):
    return sum(norm(g) ** 2 for g in gradients.values()) ** 0.5
