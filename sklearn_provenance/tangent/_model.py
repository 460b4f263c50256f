"""A network linearised in its parameters: what is differentiated, and by which route."""

from collections.abc import Callable, Sequence
from typing import Literal, Self

import torch
from torch import nn

from .._utils.modules import Generators, evaluation, held
from .._utils.types import Rows, Targets
from ._batches import as_rows, copied, n_batch_rows
from ._coverage import Coverage, coverage_of
from ._functional import Functional
from ._linearisation import Linearisation
from ._module import check_module, select_parameters
from ._network_layers import active_layers, batch_size_for, find_layers
from ._outputs import check_measurement, finite_logits
from ._plan import Examination
from ._read_logits import call_module
from ._sequences import check_sequences


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
        ``forward(module, x)`` returns logits of shape (n_samples, n_classes), an object with such
        ``logits``, or a tuple in which only the logits have two dimensions. None calls the module.
    measurement : {"label_logit", "margin", "log_probability"} or callable, default="label_logit"
        The scalar whose gradient is taken, see :func:`measure`. A callable is called as
        ``measurement(outputs, targets)``, with what ``forward`` returns (which may then be
        anything) and the labels, and returns shape (n_samples,).
    ntk_parameterization : bool or float, default=False
        Take gradients in Ω where a weight is W = (s / √fan_in) Ω: the features of weights of
        linear, convolution, recurrent and attention layers are multiplied by s / √fan_in. Biases,
        normalisation, embeddings and unknown parameters stay as they are. True is s = 1.
    parameters : {"auto", "trainable", "all", "linear"}, type or list, default="auto"
        Parameters that gradients are taken in. ``"trainable"`` are those with ``requires_grad``;
        ``"auto"`` takes these, or all if there are none (a model frozen for inference);
        ``"linear"`` takes those of them that belong to linear layers. A class of modules takes
        what its modules hold. A list has names of parameters, patterns of names such as
        ``"encoder.*.weight"``, and classes. A tied parameter is chosen by each of its names.

    Raises
    ------
    TypeError
        If ``module`` is no module, or ``parameters`` no such choice.
    ValueError
        If the module has no parameters, parameters in half precision, or outputs that have no
        gradient for each row.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", sections 3 and 4.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        forward: Callable | None = None,
        measurement: str | Callable = "label_logit",
        ntk_parameterization: bool | float = False,
        parameters: str | type | Sequence[str | type] = "auto",
    ) -> None:
        check_module(module)
        check_measurement(measurement)
        self.module = module
        self.forward = forward or call_module
        self.measurement = measurement
        self.ntk_parameterization = ntk_parameterization
        with held(module):  # while another thread runs it, parameters may be swapped
            self.weights = select_parameters(module, parameters)
            self.layers = find_layers(module, self.weights, float(ntk_parameterization))
        self.planned = False
        # Set by plan() if the module draws random numbers in evaluation mode: the device whose
        # generator is restored after each pass.
        self.draws_on: torch.device | None = None
        # Rows that have been linearised; it tells Linearisation when to check factors again.
        self._n_seen = 0
        self.functional = Functional(module, self.forward, measurement)
        first = next(iter(self.weights.values()))
        self.device = first.device
        self.dtype = first.dtype

    @property
    def double_device(self) -> torch.device:
        """Device for double precision: the network's if it is a CUDA GPU, else the CPU."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def measuring(self, measurement: str | Callable, forward: Callable | None = None) -> Self:
        """Linearise the same network in the same parameters for another measurement.

        Parameters
        ----------
        measurement : {"label_logit", "margin", "log_probability"} or callable
            The scalar whose gradient is taken.
        forward : callable, default=None
            ``forward(module, x)`` gives the outputs that are measured; None keeps the forward.

        Returns
        -------
        TangentModel
            A new model, without a plan.
        """
        return type(self)(
            self.module,
            forward=forward or self.forward,
            measurement=measurement,
            ntk_parameterization=self.ntk_parameterization,
            parameters=list(self.weights),
        )

    def plan(self, x: Rows, labels: Targets = None) -> Self:
        """Decide on each layer's route by computing the gradients of some rows one at a time.

        Parameters
        ----------
        x : torch.Tensor
            Rows. Up to six different ones are used: as a batch, as a batch in another order, and
            one at a time.
        labels : torch.Tensor of shape (n_rows,), default=None
            Targets for a callable measurement; None takes the predicted classes.

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
        if n_batch_rows(x) == 0:
            raise ValueError("x must have at least one row, got none")
        check_sequences(self.module, x, self.forward)
        with evaluation(self.module, self.draws_on):
            generators = Generators(self.device)
            try:
                Examination(self, x, labels).choose_routes()
            finally:
                if generators.restore():
                    self.draws_on = self.device
            self.planned = True
        return self

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
