"""Criteria of the scoreboard, one file each.

To add one, write a file with a function that registers itself. Its first paragraph is the
definition that the result shows; its options have defaults and constraints::

    @criterion("same_class", k=[whole()])
    def same_class(task, k=1):
        \"\"\"Mean share of the first k rows that have the query's label.\"\"\"
        problem = task.given()

        def values(method):
            return (problem.y[method.picks(problem, k)] == problem.y_queries[:, None]).mean(1)

        return Measure(values, chance=0.5)
"""

from importlib import import_module
from pkgutil import iter_modules

from ._base import CRITERIA, Criterion, NotMeasured

__all__ = ["CRITERIA", "Criterion", "NotMeasured"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
