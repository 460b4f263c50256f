"""What a convolution's and a normalisation's weights multiply."""

import math

import torch
from torch import nn
from torch.nn import functional as F

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


def windows_channels_last(module, x):
    """View the patches of a convolution's input with the channels of each place together.

    Copies of patches are then of whole lines of channels, which takes a fraction of the time that
    :func:`unfold` takes.

    Returns
    -------
    torch.Tensor of shape (B, *output, *kernel, channels)
        A view, whose places overlap; :func:`order_of_channels_last` says which columns of
        :func:`unfold` the last axes are.
    """
    x, padding = _padded(module, x)
    sizes = [size + 2 * pad for size, pad in zip(x.shape[2:], padding, strict=True)]
    padded = x.new_zeros(len(x), *sizes, x.shape[1])
    inside = padded
    for i, pad in enumerate(padding):
        inside = inside.narrow(1 + i, pad, x.shape[2 + i])
    inside.copy_(x.movedim(1, -1))
    starts = []
    steps = []
    outputs = []
    for i, size in enumerate(module.kernel_size):
        line = padded.stride(1 + i)
        starts.append(line * module.stride[i])
        steps.append(line * module.dilation[i])
        outputs.append((sizes[i] - module.dilation[i] * (size - 1) - 1) // module.stride[i] + 1)
    shape = (len(x), *outputs, *module.kernel_size, x.shape[1])
    return padded.as_strided(shape, (padded.stride(0), *starts, *steps, 1))


def order_of_channels_last(module):
    """Number the columns of patches with channels last as :func:`unfold` has them."""
    kernel = math.prod(module.kernel_size)
    return torch.arange(module.in_channels * kernel).view(-1, kernel).T.flatten()


def weight_gradient(module, x, y):
    """Compute the gradient (O, channels, *kernel) in the weight of a convolution without groups.

    ``x`` (B, channels, ...) is its input and ``y`` (B, O, ...) the gradient in its output. ``y``
    may have another number of channels than the module: each has a gradient of its own.
    """
    x, padding = _padded(module, x)
    size = (y.shape[1], module.in_channels, *module.kernel_size)
    weight = x.new_empty(1).expand(size)  # of which only the shape matters
    none = [0] * len(padding)
    how = module.stride, padding, module.dilation, False, none, 1
    wanted = [False, True, False]
    return torch.ops.aten.convolution_backward(y, x, weight, None, *how, wanted)[1]


def numel_per_output(weight):
    """Count the numbers of a weight (O, ...) that belong to one output.

    By its shape, and not as ``weight[0].numel()``: indexing a parameter holds Python's lock while
    it waits for the parameter's own, which a forward pass on another thread may hold while it
    waits for Python's.
    """
    return math.prod(weight.shape[1:])


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
