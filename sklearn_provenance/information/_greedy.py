"""Greedy subsets for a query, in nats: exact InfoGain, InfoLoss and linear response.

All three call :func:`._selection.select` with a matrix and a ranking:

    rule                 starts from         each round       picks the largest
    "info_gain"          nothing             adds a row       c² / (σ² + v)
    "linear_response"    nothing             adds a row       c²
    "info_loss"          all of D            removes a row    c² / (σ² - v)

The score of a pick is the change that it made, 1/2 log(v_*^before / v_*^after) nats or the inverse
for a removal, so the scores of a query add up to I(S; x_*). Linear response ranks by c², but its
picks are scored exactly.

*What greedy guarantees.* For one query InfoGain is monotone but **not submodular**: with rows
x1 = (1, 1), x2 = (0, 1), query (1, 0) and σ² = 0.1, x2 alone gains 0 nats and after x1 it gains
0.592. The submodularity-ratio guarantee of [1]_ holds, for the explained variance and not for the
nats. It is therefore not exact to skip candidates because their gain was small before.

References
----------
.. [1] Das, Kempe (2011). Submodular meets spectral: greedy algorithms for subset selection, sparse
       approximation and dictionary selection.
"""

import torch

from ._systems import RULES, FeatureSystem, KernelSystem
from ._validation import check_function_space, check_weight_space


def greedy(
    kernel: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    noise_variance: float,
    k: int,
    rule: str = "info_gain",
    candidates: torch.Tensor | None = None,
    own: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pick k rows for each query greedily, from kernels.

    Time is O(n_queries n_candidates k²); "info_loss" adds one factorisation of all rows.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows D, shared by the queries.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**. Nothing can be learnt about a query with k_** = 0: every pick is 0
        nats.
    noise_variance : float
        σ².
    k : int
        Rows to pick per query.
    rule : {"info_gain", "info_loss", "linear_response"}, default="info_gain"
        What is maximised, see the module. "info_loss" conditions on all rows of `kernel`.
    candidates : Tensor of shape (n_train,) or (n_queries, n_train), bool, default=None
        Rows that may be picked, for all queries or for each; None allows all.
    own : Tensor of shape (n_queries,), int64, default=None
        Number in D of each query, if the queries are rows of D. That row is withheld: it is neither
        conditioned on nor picked.

    Returns
    -------
    indices : Tensor of shape (n_queries, k), int64
        Rows in order of selection; -1 where no candidates are left. Gains that agree to 1e-10 count
        as a tie, and the lowest index is taken.
    nats : Tensor of shape (n_queries, k)
        Information of each pick given the picks before it; nan where the index is -1. The relative
        error is about ε k_** / v_*; :func:`greedy_features` has a smaller one.

    Raises
    ------
    ValueError
        If a parameter is out of range, shapes disagree, values are not finite or σ² is lost beside
        the kernel.

    References
    ----------
    [IT] Eqs. 8 (InfoGain), 15 (linear response) and 62 (InfoLoss).

    Examples
    --------
    >>> import torch
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    >>> query = torch.tensor([[1.0, 0.0]])
    >>> indices, nats = greedy(phi @ phi.T, query @ phi.T, torch.ones(1), 0.1, k=2)
    >>> indices
    tensor([[0, 1]])
    >>> nats
    tensor([[0.3233, 0.5920]], dtype=torch.float64)
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    check_rule(rule)
    k = check_count("k", k)
    system = KernelSystem(kernel, noise_variance, rule)
    return system.pick((cross, query_variance), k, candidates, own)[:2]


def greedy_features(
    features: torch.Tensor,
    query_features: torch.Tensor,
    noise_variance: float,
    k: int,
    rule: str = "info_gain",
    candidates: torch.Tensor | None = None,
    own: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pick k rows for each query greedily, from features.

    Time is O(n_queries n_candidates n_features k). With many picks it is that of :func:`greedy`
    plus O(n_candidates² n_features) once. This form is cheaper if there are fewer features than
    rows to condition on, and it is always more accurate. Scores of rules that add rows come from an
    orthonormal basis of the picks (relative error about ε sqrt(k_xx / σ²)). The ranking, and the
    scores of "info_loss", come from the recurrence (about ε k_xx / σ²).

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ, the rows D.
    query_features : Tensor of shape (n_queries, n_features)
        φ_*.
    noise_variance : float
        σ².
    k : int
        Rows to pick per query.
    rule : {"info_gain", "info_loss", "linear_response"}, default="info_gain"
        What is maximised. "info_loss" conditions on all rows of `features`.
    candidates : Tensor of shape (n_train,) or (n_queries, n_train), bool, default=None
        Rows that may be picked, for all queries or for each; None allows all.
    own : Tensor of shape (n_queries,), int64, default=None
        As :func:`greedy`.

    Returns
    -------
    indices : Tensor of shape (n_queries, k), int64
        As :func:`greedy`.
    nats : Tensor of shape (n_queries, k)
        As :func:`greedy`.

    Raises
    ------
    ValueError
        If a parameter is out of range, shapes disagree or values are not finite.

    References
    ----------
    [IT] Eqs. 8, 12-13, 15 and 62.

    Examples
    --------
    >>> import torch
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    >>> indices, nats = greedy_features(phi, torch.tensor([[1.0, 0.0]]), 0.1, k=2, rule="info_loss")
    >>> indices  # without row 1 nothing separates the two axes
    tensor([[1, 0]])
    >>> nats
    tensor([[0.7112, 0.0112]], dtype=torch.float64)
    """
    features, query_features, noise_variance = check_weight_space(
        features, query_features, noise_variance
    )
    check_rule(rule)
    k = check_count("k", k)
    system = FeatureSystem(features, noise_variance, rule)
    return system.pick(query_features, k, candidates, own)[:2]


def check_rule(rule):
    """Raise unless a rule exists."""
    if rule not in RULES:
        raise ValueError(f"rule must be one of {RULES}, got {rule!r}")


def check_count(name, value):
    """Return a count as an int, or raise unless it is positive and whole."""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)
