"""What features take from an attributor."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How rows are measured, and what computing that may take: parameters of an attributor."""

    measurement: str | Callable = "label_logit"
    ntk_parameterization: bool | float = False
    batch_size: int | str = "auto"
    verbose: int = 0
    memory: object = None
    memory_limit: float = 0
