"""Rules, a file each: what makes a training row important for a query."""

from ._base import Rule

__all__ = ["Rule"]
