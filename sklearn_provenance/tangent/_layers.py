"""Layers: parameters that share one gradient matrix, and how classes of layers are registered.

The gradients of a layer are one matrix per row of the data, G = Σ_t g_t a_tᵀ over positions t.
Shapes in comments: B rows, T positions, I inputs, O outputs of a layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ._forms import Form, Formed

_KINDS: dict[type, type] = {}
_STRUCTURES: list[tuple[Callable, type]] = []  # what modules are like, and the class of layers
_JOINT: dict[frozenset[type], type] = {}


def register_layer(*types: type | str) -> Callable[[type], type]:
    """Register a class of layers for the modules whose parameters it describes.

    Parameters
    ----------
    *types : type or str
        Classes of modules. A subclass belongs to its base class, unless it is registered itself. A
        class of a package that may not be installed is given by name, as "package.module.Class".

    Returns
    -------
    callable
        Decorator of a subclass of :class:`Layer`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_provenance.tangent import Layer, TangentModel, register_layer
    >>> class Gain(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = nn.Parameter(torch.ones(3))
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> @register_layer(Gain)
    ... class GainLayer(Layer):
    ...     def factor(self, module, x, g, n_rows):
    ...         return self.formed((x * g).reshape(n_rows, -1, 3).sum(1))
    >>> TangentModel(Gain()).plan(torch.eye(3)).coverage.routes
    {'weight': 'factors'}
    """

    def register(kind):
        _KINDS.update(dict.fromkeys(types, kind))
        return kind

    return register


def register_structure(fits: Callable[[nn.Module], bool]) -> Callable[[type], type]:
    """Register a class of layers for modules of no registered class, by what they are like."""

    def register(kind):
        _STRUCTURES.append((fits, kind))
        return kind

    return register


def layer_class(module):
    """Find the class of layers for a module's own parameters; None if none is registered."""
    for t in type(module).__mro__:
        kind = _KINDS.get(t) or _KINDS.get(f"{t.__module__}.{t.__qualname__}")
        if kind is not None:
            return kind
    for fits, kind in _STRUCTURES:
        if fits(module):
            return kind
    return None


def register_joint_layer(*kinds: type) -> Callable[[type], type]:
    """Register a class of layers for a weight that modules of several kinds share."""

    def register(joint):
        _JOINT[frozenset(kinds)] = joint
        return joint

    return register


def joint_layer_class(kinds):
    """Find the class of layers for a weight of modules of these kinds; None if none is known."""
    return _JOINT.get(frozenset(kinds))


@dataclass(eq=False)
class Layer:
    """Parameters that share one gradient matrix.

    This class describes a single parameter of a module that is not registered. A subclass for a
    kind of module, see :func:`register_layer`, must have ``factor``. If the module has several
    parameters, the subclass also needs ``shape``, ``join`` and ``split``, for those parameters that
    are in ``names``: a frozen bias is not.

    Parameters
    ----------
    number : int
        Place among the layers of a network.
    names : dict
        Name of each parameter that gradients are taken in, by its role (weight, bias).
    weights : dict
        Parameters by name.
    scales : dict
        Factor of the NTK parameterization by name.
    modules : list
        Modules that use the parameters.
    """

    number: int
    names: dict[str, str]
    weights: dict[str, torch.Tensor]
    scales: dict[str, float]
    modules: list[nn.Module] = field(default_factory=list)
    # How its gradients are computed: "factors" or "functional" (torch.func). It is "idle" until
    # the layer influences a measurement.
    route: str = field(default="idle", init=False)
    # Whether factors that were not zero have been compared with autograd.
    confirmed: bool = field(default=False, init=False)
    # How often the module was called for each row of the data, while factors were examined.
    calls_per_row: set = field(default_factory=set, init=False)
    # T, the outer products in the gradient of a row, as last seen.
    positions: int = field(default=1, init=False)
    # Whether calls without an axis for the rows of the data are shared by all of them.
    shared: bool = field(default=False, init=False)
    # Whether such a call looked up distances of positions, as seen.
    of_distances: bool = field(default=False, init=False)

    # Whether gradients are sums of few outer products: rotating their vectors then costs less.
    low_rank = False
    # Whether each outer product has a single row that is not zero.
    one_hot = False
    # Whether a form is small, and holds no gradients of outputs, so that it is made at once.
    formed_at_once = False
    # Roles of the parameters of a module by their names in it, if other than these names. The
    # module's other parameters are layers of their own.
    roles: ClassVar[dict[str, str] | None] = None

    @staticmethod
    def fan_in(module: nn.Module, role: str, parameter: torch.Tensor) -> int | None:
        """Count the inputs that a weight sums over.

        Parameters
        ----------
        module : torch.nn.Module
            Module that holds the parameter.
        role : str
            Name of the parameter in it.
        parameter : torch.nn.Parameter
            The parameter.

        Returns
        -------
        int or None
            None for biases, norms, embeddings and unknown parameters.
        """
        recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase) and role.startswith("weight")
        attention = isinstance(module, nn.MultiheadAttention) and role.endswith("proj_weight")
        if recurrent or attention:
            return parameter.shape[1]
        return None

    @property
    def key(self) -> str:
        """Name of the first parameter."""
        return next(iter(self.names.values()))

    @property
    def n_parameters(self) -> int:
        """Numbers in all parameters."""
        return sum(p.numel() for p in self.weights.values())

    @property
    def kernel(self) -> int:
        """How many of the inputs of a position are the same number at neighbouring positions."""
        return 1

    @property
    def shape(self) -> tuple[int, int]:
        """(O, I) of the gradient matrix."""
        first = next(iter(self.weights.values()))
        if first.ndim < 2:
            return 1, first.numel()
        return first.shape[0], first[0].numel()

    def join(self, gradients: dict[str, torch.Tensor]) -> Form:
        """Make a form of gradients by name.

        Parameters
        ----------
        gradients : dict
            For each name a tensor of shape (B, ...) in the shape of the parameter.

        Returns
        -------
        Form
            Gradients in the scales of the NTK parameterization.
        """
        (name,) = self.names.values()
        return self.formed(gradients[name] * self.scales[name])

    def split(self, matrix: torch.Tensor) -> dict[str, torch.Tensor]:
        """Make gradients by name, the inverse of ``join``.

        Parameters
        ----------
        matrix : torch.Tensor of shape (B, O, I)
            Gradient matrices.

        Returns
        -------
        dict
            For each name a tensor of shape (B, numel).
        """
        return {self.key: matrix.flatten(1)}

    def formed(self, gradient: torch.Tensor) -> Formed:
        """Make a form of gradients that are written out.

        Parameters
        ----------
        gradient : torch.Tensor of shape (B, ...)
            Gradients in the shape of the parameters, or in ``shape``. The order of the numbers
            must be that of ``join``.

        Returns
        -------
        Formed
            The gradients.
        """
        return Formed(gradient.reshape(len(gradient), *self.shape))

    def factor(self, module: Any, x: torch.Tensor, g: torch.Tensor, n_rows: int) -> Form:
        """Make the form of one call of ``module``.

        Parameters
        ----------
        module : torch.nn.Module
            One of ``modules``.
        x : torch.Tensor
            Input of the call, its rows on the first axis. A module that is called on patches or
            words has several rows for a row of the data, one after the other.
        g : torch.Tensor
            Gradient of the measurements in the output, in its shape.
        n_rows : int
            Rows of the data. The gradients of the rows of ``x`` that belong to one are added up.

        Returns
        -------
        Form
            Gradients of the ``n_rows`` rows.
        """
        raise NotImplementedError

    def factors(
        self, module: Any, x: torch.Tensor, gradients: list[torch.Tensor], n_rows: int
    ) -> list[Form]:
        """Make the forms of one call for several measurements of its rows.

        Parameters
        ----------
        module : torch.nn.Module
            One of ``modules``.
        x : torch.Tensor
            Input of the call, as for ``factor``.
        gradients : list of torch.Tensor
            Gradient of each measurement in the output.
        n_rows : int
            Rows of the data.

        Returns
        -------
        list of Form
            Forms, which may share what depends on ``x`` alone.
        """
        return [self.factor(module, x, g, n_rows) for g in gradients]

    def _call_factors(self, module, x, gradients, n_rows):
        """Make the forms of one call in the parameters' precision: mixed precision has less."""
        dtype = next(iter(self.weights.values())).dtype
        x = x.detach()
        if x.is_floating_point():
            x = x.to(dtype)
        return self.factors(module, x, [g.to(dtype) for g in gradients], n_rows)

    def _joined(self, gradients):
        """Join gradients (by name) to one matrix (O, I); parameters without one count as zero."""
        parts = {n: gradients.get(n, torch.zeros_like(p)) for n, p in self.weights.items()}
        return self.join({n: part[None] for n, part in parts.items()}).matrix()[0]
