"""Logits of some outputs of an index branch, and the cross entropy that they estimate.

A branch of many outputs takes most of the time of a step, although a step changes few of its logits
by much. Sampled softmax computes those of the target and of outputs that are drawn at random.

Shapes in comments: B rows, F features, D outputs that are drawn.
"""

import torch

# Up to this many times the draws, all outputs are shuffled; beyond, draws that repeat are dropped.
_SHUFFLED = 8


def draw_distinct(n_draws, n_outputs, generator=None, device=None):
    """Draw distinct outputs uniformly.

    Parameters
    ----------
    n_draws : int
        Outputs to draw; all of them if there are no more.
    n_outputs : int
        Outputs to draw from. The time does not grow with their number where they are far more than
        the draws.
    generator : torch.Generator, default=None
        Source of randomness.
    device : torch.device, default=None
        Where to draw.

    Returns
    -------
    outputs : Tensor of shape (min(n_draws, n_outputs),)
        Any set of that size is equally likely.
    """
    if n_draws >= n_outputs:
        return torch.arange(n_outputs, device=device)
    if n_outputs <= _SHUFFLED * n_draws:
        return torch.randperm(n_outputs, generator=generator, device=device)[:n_draws]
    drawn = torch.empty(0, dtype=torch.long, device=device)
    while len(drawn) < n_draws:
        size = (n_draws + n_draws // 4 + 1,)
        more = torch.randint(n_outputs, size, generator=generator, device=device)
        drawn = torch.cat([drawn, more]).unique()
    # The smallest would not be a uniform choice.
    order = torch.randperm(len(drawn), generator=generator, device=device)
    return drawn[order[:n_draws]]


def outputs_stood_for(drawn, low, high, n_drawn, target):
    """Count the outputs that each draw stands for, so that sums over draws are unbiased.

    Draws come from ranges of outputs, uniformly and without repetition. Those of a range without
    the target of a row are a uniform sample of its other outputs, and share them evenly.

    Parameters
    ----------
    drawn : Tensor of shape (D,) or (n, D)
        Outputs that were drawn.
    low, high : Tensor of the same shape, or one that broadcasts to it
        The range low, ..., high - 1 that each draw is from.
    n_drawn : Tensor of such a shape
        Draws from this range.
    target : Tensor of shape (n,)
        Output that is the target of each row.

    Returns
    -------
    counts : Tensor of shape (n, D)
        0 for a draw that is the target. They add up to the outputs of all ranges but the target.
    """
    target = target[:, None]
    is_target = drawn == target  # (B, D)
    has_target = (low <= target) & (target < high)
    is_drawn = is_target.any(1, keepdim=True)
    n_others = high - low - has_target.long()
    counts = n_others / (n_drawn - (has_target & is_drawn).long()).clamp(min=1)
    return counts.masked_fill(is_target, 0)


def sampled_cross_entropy(
    target, drawn, counts, alpha=0.0, label_smoothing=0.0, class_mean=None, mixes=None
):
    """Estimate the cross entropy of index logits from some of them, one value per row.

    A draw stands for several outputs: its logit is raised by the logarithm of their number, which
    is the logarithm of one over its expected count.

    Parameters
    ----------
    target : Tensor of shape (n,)
        Logit of the target of each row.
    drawn : Tensor of shape (n, D)
        Logits of outputs that were drawn.
    counts : Tensor of shape (n, D)
        Outputs that each of them stands for; 0 for the target itself and for padding.
    alpha : float, default=0
        Weight of ``class_mean`` in the target.
    label_smoothing : float, default=0
        Share of the target spread evenly over the row's outputs.
    class_mean : Tensor of shape (n,), default=None
        Estimate of the mean logit of the other rows of the class.
    mixes : Tensor of shape (n,), bool, default=None
        False where the class has no other rows.

    Returns
    -------
    loss : Tensor of shape (n,)
        Nats. With Z the sum of exponentials of all logits, the loss is log Z minus the expectation
        of the logit under the target. The estimates of Z and of the expectation are unbiased. The
        logarithm of the first is too small on average, by Var(Z) / 2 Z² to first order. This bias,
        and that of the gradient, fall as one over the draws. Where all outputs were drawn the loss
        is exact.
    """
    raised = drawn.masked_fill(counts == 0, -torch.inf) + counts.log()  # (B, D)
    log_normaliser = torch.cat([target[:, None], raised], 1).logsumexp(1)
    expectation = target
    if alpha > 0:
        expectation = torch.where(mixes, (1 - alpha) * target + alpha * class_mean, target)
    if label_smoothing > 0:
        mean = (target + weighted_sum(drawn, counts)) / (1 + counts.sum(1))
        expectation = (1 - label_smoothing) * expectation + label_smoothing * mean
    return log_normaliser - expectation


def weighted_sum(values, weights):
    """Add up values of each row times weights, (n,); values of weight 0 may be infinite."""
    return (values.masked_fill(weights == 0, 0) * weights).sum(1)


def weighted_mean(values, weights):
    """Average values of each row, (n,); 0 where no weight is positive."""
    total = weights.sum(1)
    return weighted_sum(values, weights) / torch.where(total > 0, total, 1)
