"""One batch's forward pass, and the layers' factors for any labels.

Shapes in comments: B rows of the batch, C classes, O outputs, I inputs of a layer.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch

from .._utils.modules import evaluation
from ._batches import copied
from ._calls import recorded, requiring_grad
from ._comparison import close, norm, random_weights
from ._forms import Form
from ._layers import Layer
from ._network_layers import sums_of_calls
from ._outputs import all_finite, check_labels, finite_logits, measured
from ._routes import RouteChanged

# Rows up to which every batch's factors are compared with autograd.
_ALWAYS = 64
# Numbers of the gradients in outputs, at several labels, that are held together (64 MB).
_GROUP = 2**24


class Linearisation:
    """One batch's forward pass; gradients at several labels cost a backward pass each.

    Before the factors of a layer are used, they are compared with autograd: at first, until a
    batch's gradients are not zero, and again whenever the model has seen 256 times as many rows.
    What is compared is the sum of the batch's gradients with random weights. It is wrong if a
    factor is wrong, or if the factor of one row is given to another.

    Parameters
    ----------
    model : TangentModel
        The network.
    x : torch.Tensor
        The batch.
    first_row : int or sequence of int, default=0
        What its first row, or all its rows, are called in errors.
    planning : bool, default=False
        Whether the model compares the factors itself.
    held : bool, default=False
        Whether the module stays in evaluation mode, held against other threads, as long as this
        batch is asked.
    rows : slice, default=None
        Which rows of x are the batch; None for all.
    """

    def __init__(
        self,
        model: Any,
        x: Any,
        first_row: int = 0,
        planning: bool = False,
        held: bool = False,
        rows: slice | None = None,
    ) -> None:
        self.model = model
        self.x, inputs, self.n_samples = copied(x, rows)
        self.planning = planning
        self.held = held
        self.calls: list = []
        self.logits = None
        with self._running():
            self._choose_watched()
            watched: dict = {}
            for number in self.watched:
                watched |= model.layers[number].weights
            with (
                requiring_grad(watched.values()),
                recorded(model.layers, self.n_samples, self.calls),
            ):
                # The ends of the graph at parameters, which keep them after they are frozen again.
                self.ends = {
                    n: torch.autograd.graph.get_gradient_edge(p) for n, p in watched.items()
                }
                self.outputs = model.forward(model.module, inputs)
            if not callable(model.measurement):
                self.logits = finite_logits(self.outputs, self.n_samples, first_row)
                self.outputs = self.logits

    def _running(self):
        if self.held:
            return nullcontext()
        return evaluation(self.model.module, self.model.draws_on)

    def _choose_watched(self):
        """Choose the layers whose factors must be confirmed by this batch.

        All are, in the first batches and whenever there are 256 times as many rows.
        """
        self.watched = set()
        self.all_watched = False
        if self.planning:
            return
        before = self.model._n_seen
        after = before + self.n_samples
        self.model._n_seen = after
        # 256 times as many rows have 8 bits more.
        self.all_watched = before < _ALWAYS or before.bit_length() // 8 < after.bit_length() // 8
        for layer in self.model.layers:
            unconfirmed = self.all_watched or not layer.confirmed
            if layer.route == "idle" or (layer.route == "factors" and unconfirmed):
                self.watched.add(layer.number)

    def _readable_logits(self):
        """Return the logits in the outputs, detached; None if there are none."""
        if self.logits is not None:
            return self.logits.detach()
        try:
            return finite_logits(self.outputs, self.n_samples).detach()
        except (TypeError, ValueError):
            return None

    def labelled(
        self,
        labels: torch.Tensor | None = None,
        decide: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Find what rows are measured at.

        Parameters
        ----------
        labels : torch.Tensor of shape (n_samples,), default=None
            Labels to check; None asks ``decide``.
        decide : callable, default=None
            ``decide(logits)`` gives labels; None takes the largest logit.

        Returns
        -------
        labels : torch.Tensor of shape (n_samples,)
            On the network's device.
        logits : torch.Tensor of shape (n_samples, n_classes) or None
            Detached; None if there are none in the outputs.
        """
        logits = self._readable_logits()
        if labels is None:
            if logits is None:
                raise ValueError(
                    "labels must be given, because the network's outputs are no logits to predict "
                    "them from; got None"
                )
            labels = logits.argmax(1) if decide is None else decide(logits)
        return self._target(labels), logits

    def _target(self, labels):
        """Check what rows are measured at, and move it to the network's device."""
        labels = torch.as_tensor(labels)
        if callable(self.model.measurement):
            if len(labels) != self.n_samples:
                raise ValueError(
                    f"labels must have one entry for each of {self.n_samples} rows, "
                    f"got {len(labels)}"
                )
            if labels.is_inference():
                labels = labels.clone()  # autograd cannot keep it
            return labels.to(self.model.device)
        if labels.shape == self.logits.shape:
            return labels.to(self.logits)
        return check_labels(labels, self.logits).to(self.logits.device)

    def factors(self, labels: torch.Tensor) -> Iterator[tuple[Layer, Form]]:
        """Yield the gradients of the rows, one layer at a time.

        Parameters
        ----------
        labels : torch.Tensor of shape (n_samples,) or (n_samples, n_classes)
            Column of the logits that each row is measured at. Floats are directions v instead: then
            v·logits is differentiated, whatever the measurement is. A callable measurement is
            called with the labels as they are.

        Yields
        ------
        layer : Layer
            Parameters that the factor belongs to.
        factor : Form
            Gradients of the rows in them. Layers without influence are left out.
        """
        for layer, forms in self.factors_at([labels]):
            yield layer, forms[0]

    def factors_at(self, labels: list[torch.Tensor]) -> Iterator[tuple[Layer, list[Any]]]:
        """Yield the gradients of the rows at several labels, one layer at a time.

        There is one backward pass for each of the labels. Forms share what does not depend on the
        labels.

        Parameters
        ----------
        labels : list of torch.Tensor
            Labels of all rows, each as in :meth:`factors`.

        Yields
        ------
        layer : Layer
            Parameters that the factors belong to.
        forms : list of Form
            Gradients at each of the labels; None where the layer has no influence.
        """
        targets = [self._target(one) for one in labels]
        if len(targets) > 1 and self.watched:
            self._prepared(targets[0])  # factors that are confirmed now are made together below
        prepared = [self._small_forms_made(*self._prepared(target)) for target in targets]
        for layer in self.model.layers:
            forms: list[Any] = [None] * len(labels)
            waiting = {}
            for place, (calls, ready, gradients) in enumerate(prepared):
                if layer.number in gradients:
                    forms[place] = layer.join(gradients.pop(layer.number))
                elif layer.number in ready:
                    forms[place] = ready.pop(layer.number)
                elif layer.number in calls:
                    waiting[place] = calls.pop(layer.number)
            for places in self._alike(waiting):
                found = self._sums_of_calls(layer, [waiting.pop(place) for place in places])
                for place, form in zip(places, found, strict=True):
                    forms[place] = form
            if any(form is not None for form in forms):
                yield layer, forms

    def factors_in_groups(self, labels: list[torch.Tensor]) -> Iterator[Iterator]:
        """Yield what :meth:`factors_at` does for as many labels at a time as the cache can hold.

        Gradients of the outputs are used while they are in the processor's cache, and their memory
        is free for those at the next labels.

        Parameters
        ----------
        labels : list of torch.Tensor
            Labels of all rows, each as in :meth:`factors`.

        Yields
        ------
        iterator
            Layers and forms at the next labels, see :meth:`factors_at`.
        """
        held = sum(call.x.numel() for call in self.calls if not call.layer.formed_at_once)
        size = max(1, _GROUP // max(1, held))
        for i in range(0, len(labels), size):
            yield self.factors_at(labels[i : i + size])

    @staticmethod
    def _alike(calls):
        """Group the places of calls that have the same inputs, in lists."""
        groups: dict = {}
        for place, of_place in calls.items():
            groups.setdefault(tuple(id(x) for _, x, _ in of_place), []).append(place)
        return list(groups.values())

    def _prepared(self, labels):
        """Run the backward pass, and confirm the factors that are watched.

        Returns
        -------
        calls : dict of list
            Calls of layers whose factors need no confirmation, by number of the layer.
        ready : dict of Form
            Factors that were confirmed.
        gradients : dict of dict
            Gradients by name of the parameter, of layers without factors.
        """
        calls, functional, sums = self._backward(labels)
        layers = self.model.layers
        ready = {}
        for number in sorted(calls.keys() & self.watched):
            factor = self._sum_of_calls(layers[number], calls.pop(number))
            if self._confirmed(layers[number], factor, sums, calls):
                ready[number] = factor
            else:
                functional.add(number)
        self.watched = {n for n in self.watched if not layers[n].confirmed}
        weights = {}
        for number in sorted(functional):
            weights |= layers[number].weights
        found = {}
        if weights:
            with self._running():
                found = self.model.functional.gradients(weights, self.x, labels)
        gradients = {n: {name: found[name] for name in layers[n].weights} for n in functional}
        return calls, ready, gradients

    def _small_forms_made(self, calls, ready, gradients):
        """Make forms that hold no gradients of outputs, which are still in the cache and are freed.

        Takes and returns what :meth:`_prepared` returns.
        """
        layers = self.model.layers
        for number in [n for n in calls if layers[n].formed_at_once]:
            ready[number] = self._sum_of_calls(layers[number], calls.pop(number))
        return calls, ready, gradients

    def _measured(self, labels):
        """Compute the measurements (B,), with the graph that led to them."""
        return measured(self.outputs, labels, self.model.measurement, self.n_samples)

    def _backward(self, labels):
        """Compute the gradients of the layers' outputs.

        Returns
        -------
        calls : dict of list
            Calls (module, input, output gradient) by number of the layer.
        functional : set of int
            Numbers of the layers that need torch.func.
        sums : dict of torch.Tensor
            Gradient of Σ_b w_b m_b, for random weights w, by name of a watched parameter.
        """
        functional = {layer.number for layer in self.model.layers if layer.route == "functional"}
        with self._running():
            values = self._measured(labels)
            if not values.requires_grad:
                return {}, functional, {}
            gradients, sums = self._gradients(values)
        calls: dict = {}
        for (layer, module, x, _), g in zip(self.calls, gradients, strict=True):
            if g is None:
                continue
            per_row, rest = divmod(len(x), self.n_samples)
            expected = self._examined(layer) or per_row in layer.calls_per_row
            if per_row and not rest and expected:
                calls.setdefault(layer.number, []).append((module, x, g))
            else:
                functional.add(layer.number)
        for layer in self.model.layers:
            if layer.number not in calls and layer.weights.keys() & sums.keys():
                functional.add(layer.number)  # used without a call of its module
            if layer.number in functional:
                calls.pop(layer.number, None)
                if layer.route == "idle":
                    layer.route = "functional"
        return calls, functional, sums

    def _gradients(self, values):
        """Compute gradients of the recorded calls, and of the watched parameters.

        Returns
        -------
        gradients : list of torch.Tensor or None
            Gradients of Σ_b m_b in the outputs of the calls.
        sums : dict of torch.Tensor
            Gradients of Σ_b w_b m_b by name of the parameter.
        """
        edges = [call.edge for call in self.calls]
        ends = list(self.ends.values())
        if not ends:
            return _gradients_at(edges, values.sum()), {}
        self.weights = random_weights(self.n_samples).to(values)
        if self.all_watched:
            gradients = _gradients_at(edges, values.sum())
            wanted = True
        else:
            # The few layers that are watched are most often idle: their plain sums, for little
            # more in the same pass, say whether the weighted ones are worth another pass.
            gradients = _gradients_at(edges + ends, values.sum())
            sums = gradients[len(edges) :]
            gradients = gradients[: len(edges)]
            wanted = any(g is not None and g.any() for g in sums)
        if wanted:
            sums = _gradients_at(ends, (values * self.weights).sum())
        return gradients, {
            name: g.to_dense() for name, g in zip(self.ends, sums, strict=True) if g is not None
        }

    def _examined(self, layer):
        """Whether the factors of a layer are compared with autograd before they are used."""
        return self.planning or layer.number in self.watched

    def _sum_of_calls(self, layer, calls):
        """Make the form of all calls of a layer; None if it does not describe their shapes."""
        return self._sums_of_calls(layer, [calls])[0]

    def _sums_of_calls(self, layer, calls):
        """Make the forms of all calls of a layer at several labels."""
        try:
            forms = sums_of_calls(layer, calls, self.n_samples)
        except RuntimeError:
            if self._examined(layer):
                return [None] * len(calls)
            raise
        if self._examined(layer):
            layer.calls_per_row |= {len(x) // self.n_samples for _, x, _ in calls[0]}
        return forms

    def _size(self, sums, calls):
        """Compute the norm of Σ_b w_b ∇m_b in all parameters whose gradients are known."""
        squares = [norm(gradient) ** 2 for gradient in sums.values()]
        for number in calls.keys() - self.watched:
            factor = self._sum_of_calls(self.model.layers[number], calls[number])
            squares.append(norm(factor.total(self.weights.to(self.model.dtype))) ** 2)
        return sum(squares) ** 0.5

    def _confirmed(self, layer, factor, sums, calls):
        """Whether the factor of a watched layer may be used."""
        expected = layer._joined(sums)
        if factor is not None:
            total = factor.total(self.weights.to(expected))
            if not (all_finite(total) and all_finite(expected)):
                return True  # nothing can be compared, and norms that are not finite are named
            agrees = close(total, expected)
            # Beside the whole, a layer's gradients may be rounding errors, as those of queries and
            # keys in attention to a single token. They confirm nothing, and do no harm.
            if agrees or close(total, expected, self._size(sums, calls)):
                layer.route = "factors"
                layer.positions = factor.positions
                layer.confirmed = layer.confirmed or (agrees and bool(expected.any()))
                return True
        layer.route = "functional"
        if layer.confirmed:  # earlier batches were computed with its factors
            raise RouteChanged(
                f"the gradients of {', '.join(layer.names.values())} follow from its layer's "
                "calls for some rows and not for others; call again: from now on they are "
                "computed by torch.func"
            )
        return False


def _gradients_at(ends, value):
    """Compute gradients of a number at some ends of its graph; None where there is no way."""
    if not ends:
        return []
    return list(torch.autograd.grad(value, ends, retain_graph=True, allow_unused=True))
