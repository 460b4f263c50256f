"""Work on a Dask cluster: which client is in use, and functions of pieces with results in order.

Pieces depend on the rows alone, and their results are put together in the order of the pieces.
What is computed is therefore the same with any number of workers, and when workers come and go.
"""

import pickle
import uuid
import warnings
from collections import OrderedDict, deque
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

# The client that `using` was given, or False inside a task of a worker.
_CLIENT: ContextVar = ContextVar("client", default=None)
# While `using` lasts: an owner, and what was made for it last.
_HELD: ContextVar = ContextVar("held", default=None)
# How often a piece is run again after an error of the machine (OSError, MemoryError).
_RETRIES = 3
# Objects that a worker has unpacked and keeps for the next pieces.
_UNPACKED = 4
_unpacked: OrderedDict = OrderedDict()
_lock = Lock()


@contextmanager
def opened(client):
    """Give the client that was passed or, in place of an address, a new one that is closed again.

    Parameters
    ----------
    client : dask.distributed.Client, str or None
        A client, the address of a scheduler, or None for the client that is in use.
    """
    check_client(client)
    if client is None:
        yield current_client()
    elif isinstance(client, str):
        with import_distributed().Client(client) as made:
            yield made
    else:
        yield client


@contextmanager
def using(client):
    """Run what is called inside on the workers of a client; None keeps that which is in use.

    Parameters
    ----------
    client : dask.distributed.Client, str or None
        A client, or the address of a scheduler.
    """
    if client is None:
        if current_client() is None or _HELD.get() is not None:
            yield
            return
        held = _HELD.set({})
        try:
            yield
        finally:
            _HELD.reset(held)
        return
    with opened(client) as found:
        token = _CLIENT.set(found)
        held = _HELD.set({})
        try:
            yield
        finally:
            _HELD.reset(held)
            _CLIENT.reset(token)


def held(owner, make):
    """Return what ``make()`` gave for an owner, if it is what was made last while `using` lasts.

    It may refer to what workers hold in memory, which they forget afterwards.
    """
    known = _HELD.get()
    if known is None:
        return make()
    if owner not in known:
        known.clear()
        known[owner] = make()
    return known[owner]


def check_client(client):
    """Return a client, the address of a scheduler or None; raise a TypeError for all else."""
    is_client = all(hasattr(client, name) for name in ("submit", "nthreads"))
    is_client &= not isinstance(client, type)
    if not (is_client or client is None or isinstance(client, str)):
        raise TypeError(
            "client must be a dask.distributed.Client, the address of a scheduler or None; got "
            f"{client!r}"
        )
    return client


def check_use(client, can_be_used, where):
    """Raise a ValueError where a client was passed that a call has no use for."""
    check_client(client)
    if client is not None and not can_be_used:
        raise ValueError(f"client must be None here, because workers are used only where {where}")


def current_client():
    """Return the client that is in use: of :func:`using`, or of joblib's backend "dask"; or None.

    Inside a task there is none, because a task that waits for others would hold up its worker.
    """
    client = _CLIENT.get()
    if client is None:
        backend, _ = get_active_backend()
        if type(backend).__name__ == "DaskDistributedBackend" and not _in_a_task():
            client = backend.client
    return client or None


def is_task():
    """Return whether this is a task of a worker that :class:`Cluster` has given it."""
    return _CLIENT.get() is False


def _in_a_task():
    try:
        import_distributed().get_worker()
    except ValueError:
        return False
    return True


def import_distributed():
    """Import dask.distributed."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "client needs the packages dask and distributed: pip install sklearn-provenance[dask]"
        ) from error
    return distributed


class Cluster:
    """The workers of a client, for one piece of work.

    Parameters
    ----------
    client : dask.distributed.Client
        The client.
    what : str
        What is done, in errors and in the progress bar.
    kept : str, default=""
        What an error says of results that are kept when the cluster is lost.
    """

    def __init__(self, client, what, kept=""):
        self.client = client
        self.what = what
        self.kept = kept
        self.n_done = 0
        self._distributed = import_distributed()

    def shared(self, *objects):
        """Send objects to the workers, each of which unpacks them once.

        Returns
        -------
        future
            What :meth:`submit` takes as ``shared``.
        """
        try:
            content = self._distributed.protocol.pickle.dumps(objects)
        except Exception as error:  # whatever an object's own code raises
            raise TypeError(
                f"{self.what} needs objects that can be sent to workers, but pickling failed: "
                f"{error}"
            ) from error
        return self._submit(_identity, (uuid.uuid4().hex, content))

    def sent(self, *values):
        """Send values to a worker, from which others fetch them; return the future of a tuple."""
        return self._submit(_identity, values)

    def submit(self, function, shared, *arguments):
        """Have a worker call ``function(*objects, *arguments)`` with shared objects."""
        return self._submit(_call, function, shared, *arguments)

    def _submit(self, function, *arguments):
        if self.client.status != "running":
            raise self._lost()
        with warnings.catch_warnings():
            # Rows in memory have to travel with their piece.
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            return self.client.submit(
                function, *arguments, pure=False, retries=_RETRIES, key=_key(self.what)
            )

    def result(self, future):
        """Wait for the result of a piece, and raise what it has raised."""
        try:
            value = future.result()
        except self._distributed.CancelledError as error:
            raise self._lost() from error
        except OSError as error:
            if future.status == "error":  # of the piece itself
                raise
            raise self._lost() from error  # while the result was fetched
        except self._distributed.KilledWorker as error:
            raise RuntimeError(
                f"workers must survive {self.what}, but one piece of it has ended the worker that "
                "ran it several times; their logs say why. Often memory is short: give workers "
                f"more, or pieces fewer rows{self.kept}"
            ) from error
        if isinstance(value, _Failed):
            value.error.add_note(f"On a Dask worker, in {self.what}.")
            raise value.error
        self.n_done += 1
        return value

    def in_order(self, function, shared, pieces, n_pieces=None, verbose=False):
        """Yield ``function(*objects, *piece)`` for each piece, in the order of the pieces.

        Pieces are asked for a few at a time, so that those with rows do not fill the scheduler.
        """
        waiting = deque()
        ahead = 4 * max(1, self._n_threads())
        bar = tqdm(total=n_pieces, desc=self.what, unit="piece", disable=not verbose)
        try:
            with bar:
                for piece in pieces:
                    waiting.append(self.submit(function, shared, *piece))
                    if len(waiting) > ahead:
                        yield self.result(waiting.popleft())
                        bar.update()
                while waiting:
                    yield self.result(waiting.popleft())
                    bar.update()
        finally:
            waiting.clear()  # a piece whose future is gone is not run any more

    def _n_threads(self):
        """Count the threads of all workers."""
        if self.client.status != "running":
            raise self._lost()
        try:
            return sum(self.client.nthreads().values())
        except OSError as error:  # the client has not noticed yet
            raise self._lost() from error

    def _lost(self):
        return RuntimeError(
            f"the scheduler must stay up during {self.what}, but the client has lost it after "
            f"{self.n_done} pieces; what workers held in memory is lost{self.kept}. Start the "
            "scheduler and its workers, make another client, and call again with it"
        )


class _Failed:
    """An error that is no fault of the machine: the piece is not run again."""

    def __init__(self, error):
        self.error = error


def _key(what):
    """Make the name of a task, which the dashboard shows without its last part."""
    return f"{what.replace(' ', '-')}-{uuid.uuid4().hex}"


def _identity(value):
    return value


def _call(function, packed, *arguments):
    """Call a function on a worker, with shared objects first."""
    failed = [one for one in arguments if isinstance(one, _Failed)]
    if failed:  # in a piece that this one needs
        return failed[0]
    token = _CLIENT.set(False)
    try:
        return function(*_unpack(packed), *arguments)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        return _Failed(error)
    finally:
        _CLIENT.reset(token)


def _unpack(packed):
    """Unpack shared objects; those that were used last are kept."""
    name, content = packed
    with _lock:
        if name not in _unpacked:
            _unpacked[name] = pickle.loads(content)
            if len(_unpacked) > _UNPACKED:
                _unpacked.popitem(last=False)
        _unpacked.move_to_end(name)
        return _unpacked[name]
