"""How a Fisher matrix treats the parameters of a network."""

from ._factors import Coverage


def fisher_coverage(fisher, used, module):
    """Coverage of a Fisher matrix.

    Parameters
    ----------
    fisher : dict of LayerFisher
        By number of the layer.
    used : iterable of int
        Layers that are not left out.
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
    counts = dict.fromkeys(("kronecker", "formed", "diagonal", "none"), 0)
    for name, route in routes.items():
        counts[route] += sizes[name]
    total = sum(sizes.values())
    return Coverage(routes, {route: count / total for route, count in counts.items()})
