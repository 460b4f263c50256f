"""The methods that the benchmarks compare, by the names that their tables have."""

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    TangentFeatures,
)
from sklearn_provenance import attribution as methods


def baselines(model, seed=0, **common):
    """Methods that score rows one by one; RelatIF, a posterior of all rows, from a small sketch."""
    return {
        "Random": methods.RandomAttributor(model, random_state=seed, **common),
        "RepSim": methods.RepSimAttributor(model, **common),
        "GradDot": methods.GradDotAttributor(model, **common),
        "TRAK": methods.TRAKAttributor(model, **common),
        "EK-FAC": methods.EKFACAttributor(model, **common),
        "RelatIF": methods.RelatIFAttributor(model, features=sketch(2048), **common),
        "last layer": methods.LastLayerAttributor(model, **common),
    }


def information(model, sketched=True, **common):
    """InfoGain, its linear response and InfoLoss, which takes sketched features where asked to."""
    features = {"features": sketch()} if sketched else {}
    return {
        "InfoGain": InfoGainAttributor(model, **common),
        "linear response": InfoGainAttributor(model, solver="linear_response", **common),
        "InfoLoss": InfoLossAttributor(model, **features, **common),
    }


def influence(model, **common):
    """Influence on networks: rows picked jointly, and by their scores alone."""
    return {
        "influence": InfluenceAttributor(model, **common),
        "influence, additive": InfluenceAttributor(model, selection="additive", **common),
    }


def sketch(n_components=4096):
    return TangentFeatures(n_components=n_components)
