"""Find the rows with the largest |inner product|, in memory or in a file.

A search index is built on rows and searched with queries: which k rows x have the largest absolute
value of q·x, for each query q? All search indexes have the same two methods, so that one can
replace another:

- ``build(rows)`` refers to the rows and returns the search index itself.
- ``search(queries, k)`` returns row numbers and signed inner products, the largest absolute product
  first.

Any object with these two methods can be used instead, see :func:`make_index`.
"""

from ._exact import ExactIndex
from ._faiss import FaissIndex
from ._make import make_index

__all__ = ["ExactIndex", "FaissIndex", "make_index"]
