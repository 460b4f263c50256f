"""How the gradient in each parameter is computed, and what share of the parameters that is."""

from dataclasses import dataclass


@dataclass
class Coverage:
    """How the gradient in each parameter is computed.

    Parameters
    ----------
    routes : dict
        For each parameter's name ``"factors"`` (from layer factors, fast), ``"functional"``
        (through torch.func, slow and as exact), ``"idle"`` (no influence on the measurement: its
        gradient is zero and has no features) or ``"excluded"`` (no gradient is taken).
    shares : dict
        Share of the module's parameters with each route; the shares add up to 1.
    """

    routes: dict[str, str]
    shares: dict[str, float]


def coverage_of(sizes, routes, names):
    """Make the coverage of parameters, from their sizes and routes by name.

    ``names`` are all routes that there may be.
    """
    counts = dict.fromkeys(names, 0)
    for name, size in sizes.items():
        counts[routes[name]] += size
    total = sum(sizes.values())
    return Coverage(routes, {route: count / total for route, count in counts.items()})


def fisher_coverage(fisher, used, module):
    """Say how a Fisher matrix treats each parameter.

    Parameters
    ----------
    fisher : dict of LayerFisher
        By number of the layer.
    used : iterable of int
        Numbers of the layers that are not left out.
    module : torch.nn.Module
        The network.

    Returns
    -------
    Coverage
        Routes "kronecker", "formed", "diagonal" and "none".
    """
    sizes = {name: p.numel() for name, p in module.named_parameters()}
    routes = dict.fromkeys(sizes, "none")
    for number in used:
        routes |= dict.fromkeys(fisher[number].names, fisher[number].treatment)
    return coverage_of(sizes, routes, ("kronecker", "formed", "diagonal", "none"))
