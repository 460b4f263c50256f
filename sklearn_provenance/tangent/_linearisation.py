"""One batch's forward pass, and the layers' factors for any labels.

Shapes in comments: B rows of the batch, C classes, O outputs, I inputs of a layer.
"""

from contextlib import nullcontext

import torch

from .._utils.modules import evaluation
from ._batches import copied
from ._forms import Gradients
from ._layers import sums_of_calls
from ._outputs import all_finite, check_finite, check_labels, finite_logits, scalar

# Rows up to which every batch's factors are compared with autograd.
_ALWAYS = 64


class RouteChanged(RuntimeError):
    """Factors that earlier batches have been computed with are not those of the module."""


def call(module, x):
    """Outputs of a batch: the module itself is the default ``forward``."""
    return module(x)


def linearised(model, X, rows, labels=None, decide=None, *, dtype=None, norms=True):
    """Labels, logits and gradients of a batch, from one forward and one backward pass.

    Parameters
    ----------
    model : TangentModel
        The network.
    X : torch.Tensor or OnDemand, or a structure of them
        All rows.
    rows : slice
        Those of the batch.
    labels : torch.Tensor of shape (B,), default=None
        What rows are measured at; None asks ``decide``, see :meth:`Linearisation.labelled`.
    decide : callable, default=None
        Labels of logits.
    dtype : torch.dtype, default=None
        Precision to keep gradients in; None keeps nothing but their norms.
    norms : bool, default=True
        Whether to take the norms, which must be finite.

    Returns
    -------
    labels : torch.Tensor of shape (B,)
        On the network's device.
    logits : torch.Tensor of shape (B, C) or None
        Detached.
    gradients : Gradients
        Of all layers with influence.
    """
    with evaluation(model.module, model.draws_on):
        batch = Linearisation(model, X, rows.start, held=True, rows=rows)
        labels, logits = batch.labelled(labels, decide)
        forms = batch.forms(labels)
    gradients = Gradients.compact(forms, len(labels) if norms else None, dtype)
    if norms and not gradients.norms.isfinite().all():
        check_finite(gradients.norms, "gradients", rows.start)
    return labels, logits, gradients


class Linearisation:
    """One batch's forward pass; gradients at several labels cost a backward pass each.

    Factors of a layer are compared with autograd before they are used, on the sum of the batch's
    gradients with random weights: at first, until a batch's gradients are not zero, and again
    whenever the model has seen 256 times as many rows. Such a sum is wrong if a
    factor is, or if the factor of one row is given to another.

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

    def __init__(self, model, x, first_row=0, planning=False, held=False, rows=None):
        self.model = model
        self.x, inputs, self.n_samples = copied(x, rows)
        self.planning, self.held = planning, held
        self.calls = []
        with self._running():
            self._choose_watched()
            watched = {
                name: p
                for number in self.watched
                for name, p in model.layers[number].weights.items()
            }
            frozen = [p for p in watched.values() if not p.requires_grad]
            handles = []
            try:
                for p in frozen:
                    p.requires_grad_(True)
                # The ends of the graph at parameters, which keep them after they are frozen again.
                self.ends = {
                    n: torch.autograd.graph.get_gradient_edge(p) for n, p in watched.items()
                }
                for layer in model.layers:
                    if layer.route != "functional":
                        # First in line: a hook of the user's may replace the layer's output.
                        handles += [
                            module.register_forward_hook(self._hook(layer), prepend=True)
                            for module in layer.modules
                        ]
                outputs = model.forward(model.module, inputs)
            finally:
                for handle in handles:
                    handle.remove()
                for p in frozen:
                    p.requires_grad_(False)
            self.outputs, self.logits = outputs, None
            if not callable(model.measurement):
                self.outputs = self.logits = finite_logits(outputs, self.n_samples, first_row)

    def _running(self):
        if self.held:
            return nullcontext()
        return evaluation(self.model.module, self.model.draws_on)

    def _choose_watched(self):
        """Choose layers whose factors must be confirmed; note whether these are all.

        All are at first, and whenever there are 256 times as many rows.
        """
        model, self.watched, self.all_watched = self.model, set(), False
        if self.planning:
            return
        before = model._n_seen
        model._n_seen += self.n_samples
        self.all_watched = (
            before < _ALWAYS or before.bit_length() // 8 < model._n_seen.bit_length() // 8
        )
        self.watched = {
            layer.number
            for layer in model.layers
            if layer.route == "idle"
            or (layer.route == "factors" and (self.all_watched or not layer.confirmed))
        }

    def _hook(self, layer):
        def hook(module, args, output):
            if not torch.is_grad_enabled() or not args:
                return None
            x, replaced = args[0], None
            if layer.shared and _lacks_rows(x):
                # Each row gets an output of its own, whose gradient is that row's.
                x = x.reshape(1, -1).expand(self.n_samples, -1)
                output = replaced = output.expand(self.n_samples, *output.shape[-2:]).clone()
            if not output.requires_grad:  # every parameter so far is frozen
                output = output.detach().requires_grad_()
                replaced = output.clone()  # a leaf must not be written to in place
            # The edge, not the tensor: an in-place activation would change what the tensor means.
            edge = torch.autograd.graph.get_gradient_edge(output)
            self.calls.append((layer, module, x, edge))
            return replaced

        return hook

    def _readable_logits(self):
        """Logits of the outputs, detached; None if there are none in them."""
        if self.logits is not None:
            return self.logits.detach()
        try:
            return finite_logits(self.outputs, self.n_samples).detach()
        except (TypeError, ValueError):
            return None

    def labelled(self, labels=None, decide=None):
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
                    "labels must be given, since the network's outputs are no logits to predict "
                    "them from"
                )
            labels = logits.argmax(1) if decide is None else decide(logits)
        return self._target(labels), logits

    def _target(self, labels):
        """What rows are measured at, checked and on the network's device."""
        labels = torch.as_tensor(labels)
        if callable(self.model.measurement):
            if len(labels) != self.n_samples:
                raise ValueError(
                    f"Expected one label for each of {self.n_samples} rows, got {len(labels)}"
                )
            labels = labels.clone() if labels.is_inference() else labels
            return labels.to(self.model.device)
        if labels.shape == self.logits.shape:
            return labels.to(self.logits)
        return check_labels(labels, self.logits).to(self.logits.device)

    def factors(self, labels):
        """Give the per-example gradients, one layer at a time.

        Parameters
        ----------
        labels : torch.Tensor of shape (n_samples,) or (n_samples, n_classes)
            Column of the logits that each example is measured at. Or, as floats, directions v: the
            scalar that is differentiated is then v·logits, whatever the measurement. What a
            callable measurement takes.

        Yields
        ------
        layer : Layer
            Parameters that the factor belongs to.
        factor : Form
            Per-example gradients with respect to them. Layers without influence are left out.
        """
        yield from self._factors(self._target(labels))

    def _factors(self, labels):
        """As :meth:`factors`, of labels that are checked."""
        calls, ready, gradients = self._prepared(labels)
        for layer in self.model.layers:
            if layer.number in gradients:
                yield layer, layer.join(gradients.pop(layer.number))
            elif layer.number in ready:
                yield layer, ready.pop(layer.number)
            elif layer.number in calls:
                yield layer, self._sum_of_calls(layer, calls.pop(layer.number))

    def forms(self, labels):
        """Compute all factors at once, at labels that are checked.

        Parameters
        ----------
        labels : Tensor of shape (n,)
            Label of each row.

        Returns
        -------
        dict of Form
            Factors by number of the layer.
        """
        calls, forms, gradients = self._prepared(labels)
        for number, own in gradients.items():
            forms[number] = self.model.layers[number].join(own)
        forms |= sums_of_calls(self.model.layers, calls, self.n_samples)
        return {number: forms[number] for number in sorted(forms)}

    def _prepared(self, labels):
        """Run backward, and confirm the factors that are watched.

        Returns
        -------
        calls : dict of list
            Calls of layers whose factors are known to be right, by number of the layer.
        ready : dict of Form
            Factors that were confirmed.
        gradients : dict of dict
            Gradients by name of the parameter, of layers without factors.
        """
        found, sums = self._backward(labels)
        layers = self.model.layers
        ready = {}
        for number in [n for n in found if n in self.watched and found[n]]:
            factor = self._sum_of_calls(layers[number], found.pop(number))
            if self._confirmed(layers[number], factor, sums):
                ready[number] = factor
            else:
                found[number] = None
        self.watched = {n for n in self.watched if not layers[n].confirmed}
        pending = [layers[n] for n in sorted(found) if found[n] is None]
        gradients = {}
        if pending:
            weights = {n: p for layer in pending for n, p in layer.weights.items()}
            with self._running():
                gradients = self.model.functional.gradients(weights, self.x, labels)
        for layer in pending:
            del found[layer.number]
        by_layer = {m.number: {name: gradients[name] for name in m.weights} for m in pending}
        return found, ready, by_layer

    def _measured(self, labels):
        """Measurements (B,), with the graph that led to them."""
        values = scalar(self.outputs, labels, self.model.measurement)
        if not isinstance(values, torch.Tensor) or values.shape != (self.n_samples,):
            shape = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values)
            raise ValueError(
                f"measurement must return one number a row, shape ({self.n_samples},), got {shape}"
            )
        return values

    def _backward(self, labels):
        """Calls (module, input, output gradient) by layer, None where torch.func is needed.

        And, by the name of a watched parameter, the gradient of Σ_b w_b m_b for random weights w.
        """
        model = self.model
        found = {layer.number: None for layer in model.layers if layer.route == "functional"}
        with self._running():
            values = self._measured(labels)
            if not values.requires_grad:
                return found, {}
            edges = [edge for *_, edge in self.calls]
            names = list(self.ends)
            ends = list(self.ends.values())
            if ends:
                self.weights = random_weights(self.n_samples).to(values)
            # Where few layers are watched, most often because they are idle, their plain sums say
            # whether the weighted ones are worth another pass.
            plain = [] if self.all_watched else ends
            gradients = _gradients(values.sum(), edges + plain)
            sums = gradients[len(edges) :]
            if ends and (self.all_watched or any(g is not None and g.any() for g in sums)):
                sums = _gradients((values * self.weights).sum(), ends)
        sums = {n: s.to_dense() for n, s in zip(names, sums, strict=True) if s is not None}
        for (layer, module, x, _), g in zip(self.calls, gradients[: len(edges)], strict=True):
            if g is None or (layer.number in found and found[layer.number] is None):
                continue
            per_row, rest = divmod(len(x), self.n_samples)
            known = self.planning or layer.number in self.watched or per_row in layer.calls_per_row
            if per_row and not rest and known:
                found.setdefault(layer.number, []).append((module, x, g))
            else:
                found[layer.number] = None
        for layer in model.layers:
            unseen = layer.number not in found and layer.weights.keys() & sums.keys()
            if unseen:  # used without a call of its module
                found[layer.number] = None
            if layer.number in found and found[layer.number] is None and layer.route == "idle":
                layer.route = "functional"
        return found, sums

    def _sum_of_calls(self, layer, calls):
        """Factor of all calls of a layer; None if their shapes are not what it promises."""
        own = {layer.number: calls}
        try:
            factor = sums_of_calls(self.model.layers, own, self.n_samples)[layer.number]
        except RuntimeError:
            if self.planning or layer.number in self.watched:
                return None
            raise
        layer_calls = {len(x) // self.n_samples for _, x, _ in calls}
        if self.planning or layer.number in self.watched:
            layer.calls_per_row |= layer_calls
        return factor

    def _confirmed(self, layer, factor, sums):
        """Whether the factor of a watched layer may be used."""
        expected = self.model._joined(layer, sums)
        exact = False
        if factor is not None:
            total = factor.total(self.weights.to(expected))
            if not (all_finite(total) and all_finite(expected)):
                return True  # nothing can be compared, and norms that are not finite are named
            exact = close(total, expected)
        if exact:
            layer.route = "factors"
            layer.positions = factor.positions
            layer.confirmed = layer.confirmed or bool(expected.any())
            return True
        used, layer.route = layer.confirmed, "functional"
        if used:
            raise RouteChanged(
                f"the gradients of {', '.join(layer.names.values())} follow from its layer's "
                "calls for some rows and not for others; call again: from now on they are "
                "computed by torch.func"
            )
        return False


def _lacks_rows(x):
    """Whether a table looks up T rows of its own for all rows of the data: (T,) or (1, T)."""
    return x.ndim == 1 or (x.ndim == 2 and len(x) == 1)


def _gradients(value, ends):
    """Gradients of a number at some ends of its graph; None where there is no way."""
    if not ends:
        return []
    return list(torch.autograd.grad(value, ends, retain_graph=True, allow_unused=True))


def random_weights(n):
    """Weights (n,) with which a sum of gradients is wrong if one of them is, or changes place."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, generator=generator, dtype=torch.float64)


def close(a, b, size=None):
    """Equal up to rounding, which is relative to b and to the whole that b is a part of."""
    if a.shape != b.shape:
        return False
    if not (all_finite(a) and all_finite(b)):
        finite = b.isfinite()
        if not torch.equal(a.isfinite(), finite):
            return False
        a, b = a[finite], b[finite]
    relative, floor = (1e-6, 1e-12) if b.dtype == torch.float64 else (1e-2, 1e-6)
    difference, own = norm(a - b), norm(b)
    return difference <= relative * own + floor * (own if size is None else size)


def norm(values):
    """Norm in double precision: squares of single precision underflow."""
    return float(torch.linalg.vector_norm(values, dtype=torch.float64))
