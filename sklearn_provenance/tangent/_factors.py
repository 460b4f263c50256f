"""Per-example gradients of a network's measurement, layer by layer, from one backward pass."""

from dataclasses import dataclass

import torch

from ._batches import as_rows, batch_size_for, n_rows, take
from ._layers import find_layers
from ._measurements import check_measurement, scalar
from ._module import Functional, call, check_module, evaluation, select_parameters

_PROBE = 3


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
    anything else, three examples are differentiated one at a time: a layer whose factors do not
    reproduce these gradients (a subclass that computes something else, a weight used without
    calling its layer) goes through torch.func as well. The module is never changed: it
    is in evaluation mode, and hooked, only while it runs. Two threads should not run one module.

    Parameters
    ----------
    module : torch.nn.Module
        Maps a batch to logits. A batch is a tensor, or a tuple, list or dict of tensors.
    forward : callable, default=None
        ``forward(module, x)`` gives logits of shape (n_samples, n_classes); None calls the module.
    measurement : {"label_logit", "margin", "log_probability"}, default="label_logit"
        The scalar to differentiate, see :func:`measure`.
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
        self.weights = select_parameters(module, parameters)
        self.layers = find_layers(module, self.weights, float(ntk_parameterization))
        self.planned = False
        self.functional = Functional(module, self.forward, measurement)
        first = next(iter(self.weights.values()))
        self.device, self.dtype = first.device, first.dtype

    def measuring(self, measurement):
        """Linearise the same network in the same parameters for another measurement.

        Parameters
        ----------
        measurement : {"label_logit", "margin", "log_probability"}
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

    def plan(self, x):
        """Decide on each layer's route by differentiating a few examples one at a time.

        Parameters
        ----------
        x : torch.Tensor
            Examples, of which the first, the last and the one between are used.

        Returns
        -------
        TangentModel
            Itself.
        """
        n = n_rows(x)
        if n == 0:
            raise ValueError("x has no examples.")
        # Three different examples where there are three: a layer that mixes up rows shows.
        rows = torch.tensor([0, n // 2, n - 1])[:_PROBE]
        x = take(x, rows)
        batch = Linearisation(self, x)
        # log p of a certain label has no gradient to check factors by, that of the runner-up has.
        ranked = batch.logits.detach().argsort(1, descending=True)[:, :2]
        labels = ranked[:, -1 if self.measurement == "log_probability" else 0]
        with evaluation(self.module):
            single = [take(x, slice(i, i + 1)) for i in range(_PROBE)]
            logits = torch.cat([self.forward(self.module, row).detach() for row in single])
            truth = [
                self.functional.one(self.weights, row, labels[i : i + 1])
                for i, row in enumerate(single)
            ]
        if not _close(batch.logits.detach(), logits):
            raise ValueError(
                "The output for one example changes with the other examples of its batch, or from "
                "call to call, so an example has no gradient of its own."
            )
        truth = {
            name: [t[name] for t in truth]
            for name in self.weights
            if any(t[name] is not None for t in truth)
        }
        truth = {
            name: torch.stack([torch.zeros_like(self.weights[name]) if r is None else r for r in t])
            for name, t in truth.items()
        }
        found = batch._from_hooks(labels)
        size = sum(float(t.double().square().sum()) for t in truth.values()) ** 0.5
        for layer in self.layers:
            if not truth.keys() & layer.names.values():
                continue
            zeros = {name: p.new_zeros(_PROBE, *p.shape) for name, p in layer.weights.items()}
            expected = layer.join(zeros | {k: truth[k] for k in layer.weights if k in truth})
            factor = found.get(layer.number)
            exact = factor is not None and _close(factor.matrix(), expected.matrix(), size)
            layer.route = "factors" if exact else "functional"
            layer.positions = factor.a.shape[1] if exact and hasattr(factor, "a") else 1
        self.planned = True
        return self

    @property
    def coverage(self):
        """Coverage: routes of the parameters and their shares."""
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
        return sum(layer.n_parameters for layer in self.layers if layer.route != "idle")

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
        x = as_rows(X, self)
        n, step = n_rows(x), batch_size_for(self, batch_size)
        parts = []
        for start in range(0, n, step):
            batch = take(x, slice(start, start + step))
            with evaluation(self.module), torch.no_grad():
                outputs = self.forward(self.module, batch)
            parts.append(check_logits(outputs, n_rows(batch), start).cpu())
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


class Linearisation:
    """One batch's forward pass; gradients at several labels cost a backward pass each.

    Parameters
    ----------
    model : TangentModel
        The network.
    x : torch.Tensor
        The batch.
    first_row : int, default=0
        What its first row is called in errors.
    """

    def __init__(self, model, x, first_row=0):
        self.model = model
        self.x = x
        self.n_samples = n_rows(x)
        self.calls = []
        handles = []
        with evaluation(model.module):
            try:
                for layer in model.layers:
                    if layer.route == "functional":
                        continue
                    for module in layer.modules:
                        # First in line: a hook of the user's may replace the layer's output.
                        hook = self._hook(layer)
                        handles.append(module.register_forward_hook(hook, prepend=True))
                logits = model.forward(model.module, x)
            finally:
                for handle in handles:
                    handle.remove()
        self.logits = check_logits(logits, self.n_samples, first_row)

    def _labels(self, labels):
        """Labels of the rows as columns of the logits, on their device."""
        return check_labels(labels, self.logits).to(self.logits.device)

    def _hook(self, layer):
        def hook(module, args, output):
            if not torch.is_grad_enabled() or not args:
                return None
            replaced = None
            if not output.requires_grad:  # every parameter so far is frozen
                output = output.detach().requires_grad_()
                replaced = output.clone()  # a leaf must not be written to in place
            # The edge, not the tensor: an in-place activation would change what the tensor means.
            edge = torch.autograd.graph.get_gradient_edge(output)
            self.calls.append((layer, module, args[0], edge))
            return replaced

        return hook

    def factors(self, labels):
        """Give the per-example gradients, one layer at a time.

        Parameters
        ----------
        labels : torch.Tensor of shape (n_samples,) or (n_samples, n_classes)
            Column of the logits that each example is measured at. Or, as floats, directions v: the
            scalar that is differentiated is then v·logits, whatever the measurement.

        Yields
        ------
        layer : Layer
            Parameters that the factor belongs to.
        factor : Outer, Lookup or Formed
            Per-example gradients with respect to them. Layers without influence are left out.
        """
        if isinstance(labels, torch.Tensor) and labels.shape == self.logits.shape:
            labels = labels.to(self.logits)
        else:
            labels = self._labels(labels)
        found = self._backward(labels)
        pending = [n for n, calls in found.items() if calls is None]
        names = [layer.key for layer in self.model.layers if layer.number in pending]
        gradients = {}
        if names:
            layers = [layer for layer in self.model.layers if layer.number in pending]
            weights = {n: p for layer in layers for n, p in layer.weights.items()}
            with evaluation(self.model.module):
                gradients = self.model.functional.gradients(weights, self.x, labels)
        for layer in self.model.layers:
            if layer.number in pending:
                yield layer, layer.join({name: gradients.pop(name) for name in layer.weights})
            elif layer.number in found:
                yield layer, self._sum(layer, found.pop(layer.number))

    def _from_hooks(self, labels):
        """Factors by layer number where hooks saw all of it, to be checked by ``plan``."""
        found = {}
        for number, calls in self._backward(labels, planning=True).items():
            if calls:
                layer = self.model.layers[number]
                layer.calls_per_row = {len(x) // self.n_samples for _, x, _ in calls}
                try:
                    found[number] = self._sum(layer, calls)
                except RuntimeError:  # shapes that the layer does not promise
                    continue
        return found

    def _backward(self, labels, planning=False):
        """Calls (module, input, output gradient) by layer; None where torch.func is needed."""
        model = self.model
        found = {layer.number: None for layer in model.layers if layer.route == "functional"}
        if not self.logits.requires_grad:
            return found
        edges = [edge for *_, edge in self.calls]
        # Not hooked and idle so far: asked for directly, which is free while it stays so.
        idle = [
            (layer, p)
            for layer in model.layers
            if layer.route == "idle" and not layer.modules
            for p in layer.weights.values()
            if p.requires_grad
        ]
        inputs = edges + [p for _, p in idle]
        if not inputs:
            return found
        with evaluation(model.module):
            total = scalar(self.logits, labels, model.measurement).sum()
            gradients = torch.autograd.grad(total, inputs, retain_graph=True, allow_unused=True)
        for (layer, _), g in zip(idle, gradients[len(edges) :], strict=True):
            if g is not None:
                layer.route, found[layer.number] = "functional", None
        for (layer, module, x, _), g in zip(self.calls, gradients, strict=False):
            if g is None or (layer.number in found and found[layer.number] is None):
                continue
            if layer.route == "idle" and not planning:
                layer.route = "functional"  # its factors were never checked
            per_row, rest = divmod(len(x), self.n_samples)
            fits = per_row and not rest and (planning or per_row in layer.calls_per_row)
            if fits and layer.route != "functional":
                found.setdefault(layer.number, []).append((module, x, g))
            else:
                found[layer.number] = None
        return found

    def _sum(self, layer, calls):
        factor = None
        for module, x, g in calls:
            own = layer._call_factor(module, x, g, self.n_samples)
            factor = own if factor is None else factor + own
        return factor


def check_logits(logits, n_samples, first_row=0):
    """Raise unless a module's outputs are finite logits of ``n_samples`` rows."""
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits)
        raise ValueError(
            f"The network must return logits of shape (n_samples, n_classes), got {shape}. "
            "Pass forward, a function of the module and a batch that returns them."
        )
    if len(logits) != n_samples:
        raise ValueError(f"{n_samples} examples gave {len(logits)} rows of logits.")
    values = logits.detach()
    bad = ~values.isfinite()
    if bad.any():
        rows = bad.any(1).nonzero()[:3, 0]
        value = float(values[rows[0]][bad[rows[0]]][0])
        named = ", ".join(str(first_row + int(i)) for i in rows)
        raise ValueError(f"logits of row {named} are not finite ({value})")
    return logits


def integer_labels(labels):
    """Labels as a tensor of integers."""
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(
            f"Labels must be integers, the column of the logits of each class; got {labels.dtype}."
        )
    return labels.long()


def check_labels(labels, logits):
    """Labels as a tensor of columns of the logits."""
    labels = integer_labels(labels)
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"Expected one label for each of {len(logits)} examples, got {tuple(labels.shape)}."
        )
    if labels.is_inference():
        labels = labels.clone()  # autograd cannot keep it
    outside = (labels < 0) | (labels >= logits.shape[1])
    if outside.any():
        raise ValueError(
            f"Label {int(labels[outside][0])} is no column of {logits.shape[1]} logits. "
            "Labels count from 0 in the order of the network's outputs."
        )
    return labels


def _close(a, b, size=None):
    """Equal up to rounding, which is relative to b and to the whole that b is a part of."""
    if a.shape != b.shape or not torch.equal(torch.isfinite(a), torch.isfinite(b)):
        return False
    relative, floor = (1e-6, 1e-12) if b.dtype == torch.float64 else (1e-2, 1e-6)
    finite = torch.isfinite(b)
    a, b = a[finite].double(), b[finite].double()
    size = float(b.norm()) if size is None else size
    return bool((a - b).norm() <= relative * b.norm() + floor * size)
