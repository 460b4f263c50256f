"""Checks on the arrays of this package: float64, finite, of matching shapes.

Also the one division that may be 0 / 0.
"""

import math

import torch

EPS = torch.finfo(torch.float64).eps


def check_noise_variance(noise_variance):
    """Return σ² as a float, or raise unless it is positive and finite."""
    value = float(noise_variance)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"noise_variance must be a positive finite number, got {noise_variance!r}")
    return value


def check_tensor(name, value, shape):
    """Return value as a finite float64 tensor of a shape; names in the shape are any size."""
    tensor = torch.as_tensor(value).detach().to(torch.float64)
    sizes = tuple(tensor.shape)
    expected = tuple(
        size if isinstance(wanted, str) else wanted
        for wanted, size in zip(shape, sizes, strict=False)
    )
    if len(shape) != len(sizes) or expected != sizes:
        shown = ", ".join(map(str, shape))
        if len(shape) == 1:
            shown += ","
        raise ValueError(f"{name} must have shape ({shown}), got {sizes}")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite, got nan or infinity")
    return tensor


def check_kernel(kernel):
    """Return a square kernel matrix with a non-negative diagonal."""
    kernel = check_tensor("kernel", kernel, ("n_train", "n_train"))
    if kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"kernel must be square, got {tuple(kernel.shape)}")
    if (kernel.diagonal() < 0).any():
        lowest = kernel.diagonal().min().item()
        raise ValueError(f"kernel must have a non-negative diagonal, got {lowest:.3g}")
    return kernel


def check_noisy_kernel(kernel, noise_variance):
    """Return a kernel and a noise variance that its diagonal can hold in float64."""
    kernel = check_kernel(kernel)
    noise_variance = check_noise_variance(noise_variance)
    check_scale(kernel.diagonal(), noise_variance)
    return kernel, noise_variance


def check_scale(row_variance, noise_variance):
    """Raise if a noise variance is below the rounding of the rows' prior variances."""
    if len(row_variance):
        check_scale_of(row_variance.max().item(), noise_variance)


def check_scale_of(largest, noise_variance):
    """Raise if a noise variance is below the rounding of the largest prior variance of a row."""
    if noise_variance < EPS * largest:
        raise unresolved(noise_variance, largest)


def check_query_variance(query_variance, n_queries):
    """Return the prior variances k_** of the queries."""
    variance = check_tensor("query_variance", query_variance, (n_queries,))
    if (variance < 0).any():
        raise ValueError(f"query_variance must not be negative, got {variance.min().item():.3g}")
    return variance


def check_function_space(kernel, cross, query_variance, noise_variance):
    """Return (kernel, cross, query_variance, noise_variance) of matching shapes."""
    kernel, noise_variance = check_noisy_kernel(kernel, noise_variance)
    cross = check_tensor("cross", cross, ("n_queries", kernel.shape[0]))
    query_variance = check_query_variance(query_variance, cross.shape[0])
    return kernel, cross, query_variance, noise_variance


def check_weight_space(features, query_features, noise_variance):
    """Return (features, query_features, noise_variance) of matching shapes."""
    features = check_tensor("features", features, ("n_train", "n_features"))
    shape = ("n_queries", features.shape[1])
    query_features = check_tensor("query_features", query_features, shape)
    return features, query_features, check_noise_variance(noise_variance)


def check_row_numbers(name, rows, n_rows, device, *, padded=False):
    """Return rows as int64, each in 0..n_rows-1, or -1 if padding is allowed."""
    rows = torch.as_tensor(rows, device=device)
    if rows.dtype.is_floating_point or rows.dtype in (torch.bool, torch.complex64):
        raise ValueError(f"{name} must hold integer row numbers, got {rows.dtype}")
    rows = rows.to(torch.int64)
    if rows.numel() and (rows.min() < -int(padded) or rows.max() >= n_rows):
        got = f"{rows.min().item()}..{rows.max().item()}"
        pads = " (-1 pads)" if padded else ""
        raise ValueError(f"{name} must lie in 0..{n_rows - 1}{pads}, got {got}")
    return rows


def check_row_numbers_or_all(rows, n_train, device):
    """Check rows; None stands for all of them."""
    if rows is None:
        return torch.arange(n_train, device=device)
    return check_row_numbers("rows", rows, n_train, device)


def check_resolved(variance, prior, noise_variance):
    """Raise if rounding made a posterior variance non-positive.

    A prior of zero is allowed: nothing can be learnt about that query.
    """
    lost = (variance <= 0) & (prior > 0)
    if lost.any():
        raise unresolved(noise_variance, prior[lost].max().item())


def unresolved(noise_variance, scale):
    """Make the error for a noise variance that is lost beside the kernel in float64."""
    return ValueError(
        f"noise_variance={noise_variance:.3g} is too small for float64 next to kernel entries of "
        f"{scale:.3g} (their ratio must stay well above {EPS:.1g}), or the kernel is not positive "
        "semi-definite; raise noise_variance, or use the functions of features, which still "
        "resolve variances and gains"
    )


def nats_of(gain, variance):
    """Compute the information 1/2 log(1 + gain / variance) in nats; 0 if both are 0."""
    return 0.5 * torch.log1p(ratio(gain, variance))


def ratio(gain, variance):
    """Divide gain by variance; 0 if both are 0."""
    return torch.where((gain == 0) & (variance == 0), 0.0, gain / variance)
