"""What happens when the route of a layer's gradients changes after rows were computed."""

import functools


class RouteChanged(RuntimeError):
    """Factors that earlier batches were computed with are not those of the module."""


def restarted(function):
    """Call a function again when a layer has changed its route, which each does once at most."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        while True:
            try:
                return function(*args, **kwargs)
            except RouteChanged:
                continue

    return wrapper
