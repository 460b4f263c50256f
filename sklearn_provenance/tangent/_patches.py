"""What a convolution's and a normalisation's weights multiply."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ._forms import cached_rows

# Rows whose gradients in a convolution's weight one call computes.
_MOST_GROUPS = 8
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def normalised(module, x):
    """Compute the output of a normalisation layer without its affine parameters."""
    if isinstance(module, BATCH_NORMS):
        return F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.RMSNorm):
        return F.rms_norm(x, module.normalized_shape, eps=module.eps)
    return F.group_norm(x, module.num_groups, eps=module.eps)


def unfold(module, x):
    """Cut patches (B, T, channels · kernel) of a convolution's input, in the order of its output.

    T are the positions of the output.
    """
    n = len(module.kernel_size)
    x, padding = _padded(module, x)
    if n < 3:
        # (B, channels · kernel, T), whose copies are of whole lines of the input.
        size = module.kernel_size, module.dilation, padding, module.stride
        if n == 1:
            x = x[:, :, None]
            size = [(neutral, *part) for neutral, part in zip((1, 1, 0, 1), size, strict=True)]
        return F.unfold(x, *size).mT
    x = F.pad(x, [p for p in reversed(padding) for _ in range(2)])
    for i in range(n):
        dilation = module.dilation[i]
        window = dilation * (module.kernel_size[i] - 1) + 1
        x = x.unfold(2 + i, window, module.stride[i])[..., ::dilation]
    # (B, channels, *output, *kernel) -> (B, *output, channels, *kernel)
    x = x.permute(0, *range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n))
    return x.reshape(len(x), math.prod(x.shape[1 : 1 + n]), -1)


def weight_gradient(module, x, y, groups=1):
    """Compute the gradient (O, channels, *kernel) in the weight of a convolution without groups.

    ``x`` (B, channels, ...) is its input and ``y`` (B, O, ...) the gradient in its output. ``y``
    may have another number of channels than the module: each has a gradient of its own. With
    ``groups``, the channels of x and y are those of several such convolutions.
    """
    x, padding = _padded(module, x)
    size = (y.shape[1], module.in_channels, *module.kernel_size)
    weight = x.new_empty(1).expand(size)  # of which only the shape matters
    none = [0] * len(padding)
    how = module.stride, padding, module.dilation, False, none, groups
    wanted = [False, True, False]
    return torch.ops.aten.convolution_backward(y, x, weight, None, *how, wanted)[1]


def numel_per_output(weight):
    """Count the numbers of a weight (O, ...) that belong to one output.

    By its shape, and not as ``weight[0].numel()``: indexing a parameter holds Python's lock while
    it waits for the parameter's own, which a forward pass on another thread may hold while it
    waits for Python's.
    """
    return math.prod(weight.shape[1:])


def weight_gradients(module, x, y):
    """Compute the gradients (B, O, channels, *kernel) of each row, see :func:`weight_gradient`.

    A call takes some rows as groups of one convolution, few enough that their gradients stay in
    the processor's cache.
    """
    n_numbers = y.shape[1] * numel_per_output(module.weight)
    step = min(_MOST_GROUPS, cached_rows(4 * n_numbers))
    parts = []
    for i in range(0, len(x), step):
        rows = x[i : i + step]
        gradient = weight_gradient(
            module, rows.flatten(0, 1)[None], y[i : i + step].flatten(0, 1)[None], len(rows)
        )
        parts.append(gradient.unflatten(0, (len(rows), -1)))
    return torch.cat(parts)


def _padded(module, x):
    """Pad the input of a convolution as far as zeros on both sides alike would not do.

    Returns
    -------
    x : torch.Tensor of shape (B, channels, ...)
        The input, maybe padded.
    padding : tuple of int
        Zeros that are still to be added on both sides of each axis.
    """
    none = (0,) * len(module.kernel_size)
    if module.padding == "valid":
        return x, none
    padding = []  # of the last axis first, as F.pad takes it
    for i, size in enumerate(module.kernel_size):
        if module.padding == "same":
            total = module.dilation[i] * (size - 1)
            padding = [total // 2, total - total // 2, *padding]
        else:
            padding = [module.padding[i], module.padding[i], *padding]
    if module.padding_mode == "zeros":
        if padding[::2] == padding[1::2]:
            return x, tuple(padding[::-2])
        return F.pad(x, padding), none
    return F.pad(x, padding, mode=module.padding_mode), none
