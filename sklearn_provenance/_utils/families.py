"""Families of estimators: code for classes of a package that is imported with the first of them."""

from importlib import import_module


def import_family(dispatcher, estimator, families, package):
    """Import what registers the class of an estimator with a ``singledispatch`` function.

    Nothing is imported of a package before an estimator of it is seen: some are optional, others
    slow to import.

    Parameters
    ----------
    dispatcher : callable
        The function of :func:`functools.singledispatch`.
    estimator : object
        Whose class may not be registered yet.
    families : dict of str to tuple of str
        Files that register classes, by the package, or package and its part, that defines these
        classes or a base of theirs.
    package : str
        Package that the files belong to.

    Returns
    -------
    bool
        Whether the class is registered now.
    """
    for cls in type(estimator).__mro__:
        top, _, rest = cls.__module__.partition(".")
        for name in (top, f"{top}.{rest.partition('.')[0]}"):
            for file in families.get(name, ()):
                import_module(f".{file}", package)
    return dispatcher.dispatch(type(estimator)) is not dispatcher.dispatch(object)
