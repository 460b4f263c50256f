"""How peaks of memory are measured, in processes of their own.

The code of such a process begins with ``MEASURE``. It says:

- Freed arrays go back to the system at once, so that a peak is that of arrays in use, and not of
  what the allocator holds; with glibc's defaults it differs by 80 MB between runs.
- Each call is made once before on something small, by the test, so that what is imported,
  compiled and cached once does not count.
- ``grown(call)`` starts a new peak, and returns by how many bytes memory grew, and what a
  MemoryError said.

What is left beside the budget is ``OVERHEAD``, for all tests.
"""

import os

import pytest

# Pages of libraries that are touched for the first time by larger sizes, objects of Python and
# torch, and the system's count of pages, which lags by up to 64 of them for each thread.
OVERHEAD = 4e6

measurable = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="needs peaks that can be reset"
)

MEASURE = """
import ctypes, gc, json, sys
libc = ctypes.CDLL(None)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
assert libc.mallopt(M_MMAP_THRESHOLD, 65536) and libc.mallopt(M_TRIM_THRESHOLD, 65536)
import numpy as np, torch
torch.set_num_threads(1)

def _memory(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) * 1024

def grown(call):
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = _memory("VmRSS")
    said = ""
    try:
        call()
    except MemoryError as error:
        said = str(error)
    return _memory("VmHWM") - before, said
"""
