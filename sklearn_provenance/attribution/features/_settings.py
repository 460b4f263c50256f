"""What features take from an attributor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..._utils.kept import MEMORY_LIMIT
from ...tangent import TangentFeatures


@dataclass(frozen=True)
class Settings:
    """How rows are measured, and what computing that may take: parameters of an attributor."""

    measurement: str | Callable = "label_logit"
    ntk_parameterization: bool | float = False
    parameters: str | type | Sequence = "auto"
    batch_size: int | str = "auto"
    verbose: bool = False
    memory: object = None
    memory_limit: float = MEMORY_LIMIT
    probe: Callable | None = None  # inputs of a few rows, where a store holds what is made of rows

    def inputs(self, model, X):
        """Return what a model takes of rows X; of some of them where there is a store."""
        if self.probe is None:
            return model.inputs(X)
        return self.probe(model, X)

    @property
    def all_parameters(self):
        """Whether gradients are taken in all that is trained."""
        return isinstance(self.parameters, str) and self.parameters == "auto"


def sketch_of(template, model, settings):
    """Make an unfitted TangentFeatures of an attributor's settings, and what a template adds.

    Raises
    ------
    ValueError
        If the template contradicts the attributor.
    """
    params = template.get_params(deep=False)
    defaults = TangentFeatures().get_params(deep=False)
    own = {name: getattr(settings, name) for name in ("measurement", "ntk_parameterization")}
    if not settings.all_parameters:
        own["parameters"] = settings.parameters
    for name, value in own.items():
        if params[name] not in (defaults[name], value):
            raise ValueError(
                f"features has {name}={params[name]!r} and the attributor {name}={value!r}; "
                f"give {name} to the attributor, which hands it on"
            )
    if params["module"] is not None and params["module"] is not model.module:
        raise ValueError(
            "features must be a TangentFeatures without a module, because the attributor supplies "
            "the estimator's; got one with a module"
        )
    own |= {"module": model.module, "forward": params["forward"] or model.forward}
    own["verbose"] = params["verbose"] or bool(settings.verbose)
    if params["batch_size"] == "auto":
        own["batch_size"] = settings.batch_size
    # Whatever the user's configuration makes of other transformers, arrays are computed with.
    return TangentFeatures(**params | own).set_output(transform="default")
