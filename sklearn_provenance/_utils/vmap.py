"""``torch.func.vmap`` without its warnings."""

import threading
from contextlib import contextmanager

import torch

# Missing where torch no longer warns.
_warn = getattr(torch._C._functorch, "_set_vmap_fallback_warning_enabled", lambda enabled: None)


class _Users:
    """How many callers run without the warning now, on any thread."""

    lock = threading.Lock()
    count = 0


@contextmanager
def quiet_vmap():
    """Suppress torch's warning that an operation is batched by a loop, which users cannot change.

    There may be callers on several threads: after the last one, torch warns again.
    """
    with _Users.lock:
        _Users.count += 1
        _warn(False)
    try:
        yield
    finally:
        with _Users.lock:
            _Users.count -= 1
            if not _Users.count:
                _warn(True)
