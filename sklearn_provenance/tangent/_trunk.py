"""A network cut in two: a frozen lower part, whose outputs are kept, and an upper part."""

import copy
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import nn
from tqdm.auto import tqdm

from .._utils.modules import evaluation_mode
from .._utils.numeric import in_bytes
from .._utils.rows import few_rows, n_rows, take_rows
from .._utils.table_ids import ids_looked_at
from .._utils.types import Rows
from ._comparison import norm
from ._read_logits import call_module
from ._run import as_batch
from ._sequences import check_sequences
from ._upper_part import HIDDEN, Skipped, UpperPart


class CachedTrunk:
    """A network cut in two by :func:`cached_trunk`.

    Parameters
    ----------
    module : torch.nn.Module
        The whole network.
    split : str
        Name of the first module of the upper part.
    batch_size : int
        Rows per pass of the lower part.

    Attributes
    ----------
    upper : UpperPart
        The trainable part, with parameters of its own.
    rows : torch.Tensor or mapping
        The rows that were given, cached.
    lower_names : list of str
        Parameters of the network that the upper part lacks, or that it keeps frozen because they
        are shared with the lower part.
    """

    def __init__(self, module: nn.Module, split: str, batch_size: int) -> None:
        self.module = module
        self.split = split
        self.batch_size = batch_size
        self.upper: Any = None
        self.rows: Any = None
        self.lower_names: list[str] = []

    def __repr__(self) -> str:
        cut = f"CachedTrunk({type(self.module).__name__} cut before {self.split!r}"
        if self.rows is None:
            return f"{cut}, no rows cached)"
        hidden = self.rows[HIDDEN] if isinstance(self.rows, Mapping) else self.rows
        shape = tuple(hidden.shape[1:])
        kind = str(hidden.dtype).removeprefix("torch.")
        size = in_bytes(hidden.nbytes)
        return f"{cut}, {len(hidden)} rows of shape {shape} in {kind} cached, {size})"

    @torch.inference_mode(False)
    def cache(self, X: Rows, *, verbose: bool = False) -> Rows:
        """Run the lower part on rows.

        Parameters
        ----------
        X : torch.Tensor, array-like or mapping
            Rows as the network takes them.
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        torch.Tensor or mapping
            What enters the upper part, on the CPU. Of a mapping all entries are kept, and one
            named "hidden" is added; tokenized texts keep their texts.
        """
        n = n_rows(X)
        hidden = None
        with tqdm(desc="cache", total=n, disable=not verbose) as progress:
            for start in range(0, n, self.batch_size):
                rows = slice(start, min(start + self.batch_size, n))
                part = self._hidden(take_rows(X, rows)).cpu()
                if hidden is None:
                    hidden = part.new_empty(n, *part.shape[1:])
                hidden[rows] = part
                progress.update(rows.stop - rows.start)
        if not isinstance(X, Mapping):
            return hidden
        if hasattr(X, "with_entry"):  # tokenized texts
            return X.with_entry(HIDDEN, hidden)
        return dict(X) | {HIDDEN: hidden}

    def whole(self, upper: nn.Module | None = None) -> nn.Module:
        """Put the two parts together again.

        Parameters
        ----------
        upper : UpperPart, default=None
            The upper part, or a copy that was trained; None takes ``upper``.

        Returns
        -------
        torch.nn.Module
            A copy of the network with the weights of the upper part.
        """
        network = copy.deepcopy(self.module)
        weights = (upper or self.upper).network.state_dict()
        network.load_state_dict(weights, strict=False)
        return network

    def _hidden(self, X):
        """Compute what enters the module of the split, detached."""
        seen = []

        def note(module, args):
            _check_hidden(args, n_rows(X), self.split)
            seen.append(args[0].detach())
            raise _Reached

        with evaluation_mode(self.module), torch.no_grad():
            x = as_batch(X, self.module)
            handle = self.module.get_submodule(self.split).register_forward_pre_hook(note)
            try:
                with ids_looked_at(self.module):
                    call_module(self.module, x)
            except _Reached:
                pass
            finally:
                handle.remove()
        return seen[0]

    def _cut(self, X):
        """Make the upper part, by watching which modules are called before the split."""
        with evaluation_mode(self.module), torch.no_grad():
            x = as_batch(X, self.module)
            with _watched(self.module) as calls, ids_looked_at(self.module):
                whole = call_module(self.module, x)
            lower = self._lower_modules(calls)
            network = copy.deepcopy(self.module)
        lower_ids = set()
        for name, output in lower.items():
            lower_ids |= {id(p) for p in self.module.get_submodule(name).parameters()}
            network.set_submodule(name, Skipped(output))
        # Parameters of the lower part that are still there are shared: they stay frozen.
        left = dict(network.named_parameters(remove_duplicate=False))
        for name, p in self.module.named_parameters(remove_duplicate=False):
            if id(p) in lower_ids:
                self.lower_names.append(name)
                if name in left:
                    left[name].requires_grad_(False)
        if not any(p.requires_grad for p in network.parameters()):
            raise ValueError(
                f"the part of the network from {self.split!r} on must have parameters that are "
                "trained, got none. Set requires_grad, or split further down"
            )
        self.upper = UpperPart(network, self.split)
        with evaluation_mode(self.upper), torch.no_grad():
            try:
                again = self.upper(as_batch(self.cache(X), self.upper))
            except Exception as error:
                raise ValueError(
                    f"the network must run from the module {self.split!r} on with what enters it, "
                    f"but it needs more of the lower part ({type(error).__name__}: {error}). "
                    "Choose another module as split, such as an earlier one"
                ) from error
        _check_same(whole, again, self.split)

    def _lower_modules(self, calls):
        """Find the modules that were called before the split: their names and outputs.

        Modules without parameters are left out: they cost little, and may compute something else
        than hidden states, such as rotary embeddings or masks.
        """
        counts = Counter(name for event, name, _ in calls if event == "begin")
        if counts[self.split] != 1:
            raise ValueError(
                f"the network must call the module {self.split!r} once, got {counts[self.split]} "
                "calls. Choose another module as split"
            )
        names = [(event, name) for event, name, _ in calls]
        place = names.index(("begin", self.split))
        finished = {name: output for event, name, output in calls[:place] if event == "end"}
        lower = {}
        for name, output in finished.items():
            inside = any(name.startswith(f"{other}.") for other in finished)
            if inside or not any(True for _ in self.module.get_submodule(name).parameters()):
                continue
            if any(called == name for _, called, _ in calls[place:]):
                raise ValueError(
                    f"the module {name!r} must not be called before and after {self.split!r}, "
                    "because it would belong to both parts. Choose another module as split"
                )
            lower[name] = output
        if not lower:
            raise ValueError(
                f"a module with parameters must be called before {self.split!r}, got none, so "
                "there is nothing to cache"
            )
        return lower


def cached_trunk(
    module: nn.Module,
    split: str,
    X: Rows,
    *,
    batch_size: int | Literal["auto"] = "auto",
    verbose: bool = False,
) -> CachedTrunk:
    """Cut a network in two, and run the frozen lower part once for all rows.

    Where only the upper layers of a large network are trained, and gradients are taken in these
    alone, the lower ones give the same numbers again and again. The upper part is an ordinary
    module of cached rows: train it, and hand it to an attributor. Its features are those of the
    whole network with the parameters of the lower part left out.

    Parameters
    ----------
    module : torch.nn.Module
        The whole network, which is not changed: both parts have weights of their own.
    split : str
        Name of the first module of the upper part, as in ``module.named_modules()``. The network
        must call it once. What is called before it is the lower part, which runs in evaluation
        mode.
    X : torch.Tensor, array-like or mapping
        Rows as the network takes them, such as the training rows.
    batch_size : int or "auto", default="auto"
        Rows per pass; "auto" is 32.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    CachedTrunk
        With ``upper``, the cached ``rows``, ``cache(X)`` for other rows, such as queries, and
        ``whole()``, the network with the weights of the upper part.

    Raises
    ------
    TypeError
        If ``module`` is no module.
    ValueError
        If there is no such module, it is not called once, or the outputs of the network depend on
        more of the lower part than what enters the split, as with connections that skip it.

    Notes
    -----
    A parameter that both parts use, such as an embedding that is tied to the output, stays frozen
    in the upper part.

    Examples
    --------
    >>> import torch
    >>> from sklearn_provenance.tangent import cached_trunk
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ... )
    >>> X = torch.randn(10, 4)
    >>> trunk = cached_trunk(network, "2", X)
    >>> trunk.rows.shape
    torch.Size([10, 8])
    >>> [name for name, _ in trunk.upper.named_parameters()]
    ['network.2.weight', 'network.2.bias']
    >>> torch.allclose(trunk.upper(trunk.rows), network(X))
    True
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    names = [name for name, _ in module.named_modules() if name]
    if split not in names:
        raise ValueError(
            f"split must be the name of a module of the network, such as {names[-1:]}; got "
            f"{split!r}. All names are in dict(module.named_modules())"
        )
    check_sequences(module, X)
    trunk = CachedTrunk(module, split, 32 if batch_size == "auto" else int(batch_size))
    trunk._cut(take_rows(X, few_rows(n_rows(X))))
    trunk.rows = trunk.cache(X, verbose=verbose)
    return trunk


class _Reached(Exception):
    """The split is reached; what follows need not run."""


@contextmanager
def _watched(module):
    """Note when calls of submodules begin and end: ("begin" or "end", name, output)."""
    calls = []
    handles = []

    def watch(name, submodule):
        def begin(module, args):
            calls.append(("begin", name, None))

        def end(module, args, output):
            calls.append(("end", name, output))

        handles.append(submodule.register_forward_pre_hook(begin))
        handles.append(submodule.register_forward_hook(end))

    try:
        for name, submodule in module.named_modules():
            if name:
                watch(name, submodule)
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _check_hidden(args, n, split):
    """Raise unless the first argument of the split has one entry for each row."""
    hidden = args[0] if args else None
    if not isinstance(hidden, torch.Tensor) or hidden.shape[:1] != (n,):
        found = tuple(hidden.shape) if isinstance(hidden, torch.Tensor) else type(hidden).__name__
        raise ValueError(
            f"the first argument of the module {split!r} must be a tensor with one entry for each "
            f"of {n} rows, got {found}. Choose another module as split"
        )


def _check_same(whole, again, split):
    """Raise unless the two parts together give the outputs of the whole network."""
    pairs = list(_pairs(whole, again))
    if not pairs or not all(_nearly_equal(*pair) for pair in pairs):
        raise ValueError(
            f"what enters the module {split!r} must be all that the upper part needs of the lower "
            "one, but the outputs of both parts differ from those of the whole network. Choose "
            "another module as split, one that nothing skips"
        )


def _nearly_equal(one, other):
    """Whether two outputs are tensors that differ by rounding alone."""
    if not isinstance(other, torch.Tensor) or one.shape != other.shape:
        return False
    tolerance = 1e-4 if one.dtype == torch.float32 else 1e-10
    return norm(one - other) <= tolerance * norm(one)


def _pairs(whole, again):
    """Yield the tensors of numbers that a network returns, each with that of its two parts.

    None in place of a tensor was not computed, such as the cache of a layer of the lower part:
    whoever asks for it gets an error.
    """
    if again is None:
        return
    if isinstance(whole, torch.Tensor):
        if whole.is_floating_point():
            yield whole, again
    elif isinstance(whole, Mapping):
        for name, part in whole.items():
            yield from _pairs(part, again.get(name))
    elif isinstance(whole, tuple | list):
        for part, part_again in zip_longest(whole, again):
            yield from _pairs(part, part_again)
