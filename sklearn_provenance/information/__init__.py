"""Information in nats: the mathematics of attribution as functions of tensors.

Notation, in every module: training rows x with tangent features φ_x (together Φ), a query x_* with
φ_*, the kernel k(x, x') = φ_x·φ_x', noise variance σ². Given a set A of rows, the posterior
precision of the weights is S_A = I + σ^-2 Σ_{x in A} φ_x φ_x^T, and

    c_x^A = φ_x^T S_A^-1 φ_*      v_x^A = φ_x^T S_A^-1 φ_x      v_*^A = φ_*^T S_A^-1 φ_*

Functions take kernels ("function space"); their `_features` counterparts take features ("weight
space"), which is cheaper when there are fewer features than rows and keeps more digits when σ² is
small. Everything is computed in float64, on the device of the tensors given.

References
----------
[IT] Tailor, Felicioni, Ciosek (2026). A Bayesian information-theoretic approach to data
attribution, arXiv:2604.03858.
"""

from ._coreset import greedy_coreset, greedy_coreset_features
from ._density import (
    DensitySystem,
    density_system,
    density_system_features,
    profiled_log_density,
    profiled_log_density_features,
)
from ._greedy import greedy, greedy_features
from ._influence import (
    greedy_influence,
    greedy_influence_features,
    joint_influence,
    joint_influence_features,
    pointwise_influence,
    pointwise_influence_features,
)
from ._nats import (
    joint_information_gain,
    joint_information_gain_features,
    joint_information_loss,
    pointwise_information_gain,
    pointwise_information_loss,
    pointwise_information_loss_features,
)
from ._one_direction import most_influential_along
from ._relatif import relatif_cosine, relatif_cosine_features
from ._searched import linear_response_by_search, select_in_pools
from ._variance import (
    add_one_in,
    leave_one_out,
    leave_out_system,
    linear_response,
    linear_response_error_bound,
    noise_margin,
    posterior_covariance,
    posterior_variance,
)
from ._weight_space import posterior_features

__all__ = [
    "DensitySystem",
    "add_one_in",
    "density_system",
    "density_system_features",
    "greedy",
    "greedy_coreset",
    "greedy_coreset_features",
    "greedy_features",
    "greedy_influence",
    "greedy_influence_features",
    "joint_influence",
    "joint_influence_features",
    "joint_information_gain",
    "joint_information_gain_features",
    "joint_information_loss",
    "leave_one_out",
    "leave_out_system",
    "linear_response",
    "linear_response_by_search",
    "linear_response_error_bound",
    "most_influential_along",
    "noise_margin",
    "pointwise_influence",
    "pointwise_influence_features",
    "pointwise_information_gain",
    "pointwise_information_loss",
    "pointwise_information_loss_features",
    "posterior_covariance",
    "posterior_features",
    "posterior_variance",
    "profiled_log_density",
    "profiled_log_density_features",
    "relatif_cosine",
    "relatif_cosine_features",
    "select_in_pools",
]
