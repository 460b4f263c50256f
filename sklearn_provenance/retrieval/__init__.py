"""Finding the rows with the largest |inner product|, in memory or in a file.

An index is built on rows and searched with queries: which k rows x have the largest absolute value
of q·x, for each query q? All indices share one contract, so that one can stand for another:

- ``build(rows)`` refers to the rows and returns the index itself.
- ``search(queries, k)`` returns row numbers and signed inner products, the largest absolute product
  first.

An object of one's own with these two methods serves as well, see :func:`make_index`.
"""

from ._exact import ExactIndex
from ._faiss import FaissIndex
from ._make import make_index

__all__ = ["ExactIndex", "FaissIndex", "make_index"]
