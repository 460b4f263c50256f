"""How a Fisher matrix treats the parameters of a network."""

from ._factors import Coverage


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
    return Coverage.of(sizes, routes, ("kronecker", "formed", "diagonal", "none"))
