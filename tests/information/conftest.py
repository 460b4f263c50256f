"""Fixtures of the tests of information."""

import pytest

from sklearn_provenance.information import _local_shards
from sklearn_provenance.tangent import _points


@pytest.fixture
def small_blocks():
    """Blocks of a row or some, read and counted."""
    with pytest.MonkeyPatch.context() as patch:

        def cut(numbers):
            patch.setattr(_points, "_NUMBERS", numbers)
            patch.setattr(_local_shards, "NUMBERS", numbers)

        yield cut
