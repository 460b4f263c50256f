"""Find the rows with the largest |inner product|, in memory or in a file.

A search index is built on rows and searched with queries: which k rows x have the largest absolute
value of q·x, for each query q? All search indexes have the same methods, so that one can replace
another:

- ``build(rows)`` refers to the rows and returns the search index itself.
- ``search(queries, k)`` returns row numbers and signed inner products, the largest absolute product
  first.
- ``add(rows)`` takes rows behind those that it has; ``rows`` are all of them.
- ``remove(rows, numbers)`` forgets rows; ``rows`` are those that are left, numbered anew.
- ``save(path)`` writes what was built to a file, and ``load(path, rows)`` reads it.

Any object with the first two can be used instead, see :func:`make_index`. With the others, too, it
is kept in a store and follows its rows; otherwise it is built again.
"""

from ._exact import ExactIndex
from ._faiss import FaissIndex
from ._lance import LanceIndex
from ._make import make_index

__all__ = ["ExactIndex", "FaissIndex", "LanceIndex", "make_index"]
