"""A digest of everything that tangent features are computed from."""

from .._utils.hashing import fingerprint
from .._utils.modules import held

# To be increased when the same network and parameters begin to give other numbers.
_VERSION = 3
# What does not change the features: where, how fast and how loudly they are computed.
_WITHOUT_EFFECT = ("batch_size", "verbose", "store")


def transformer_fingerprint(transformer):
    """Compute a digest of everything that tangent features depend on besides rows and labels.

    Parameters
    ----------
    transformer : TangentFeatures
        Fitted or not; once it is fitted, the sketch is known by its seed.

    Returns
    -------
    str or None
        As of :func:`fingerprint`: None, with a warning, if the network or its ``forward`` holds an
        object that cannot be digested.
    """
    params = transformer.get_params(deep=False)
    settings = {name: v for name, v in params.items() if name not in _WITHOUT_EFFECT}
    if params["n_components"] == "exact":
        del settings["sketch"], settings["random_state"]
    elif hasattr(transformer, "_sketch"):
        settings["random_state"] = transformer._sketch.seed
    with held(params["module"]):  # calls on other threads swap parameters for the time being
        return fingerprint(_VERSION, settings)
