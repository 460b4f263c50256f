"""What a convolution's and a normalisation's weights multiply."""

import math

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
    padding = []  # of the last axis first, as F.pad takes it
    for i, size in enumerate(module.kernel_size):
        if module.padding == "same":
            total = module.dilation[i] * (size - 1)
            padding = [total // 2, total - total // 2, *padding]
        elif module.padding != "valid":
            padding = [module.padding[i], module.padding[i], *padding]
    if any(padding):
        mode = {"zeros": "constant"}.get(module.padding_mode, module.padding_mode)
        x = F.pad(x, padding, mode=mode)
    n = len(module.kernel_size)
    for i in range(n):
        dilation = module.dilation[i]
        window = dilation * (module.kernel_size[i] - 1) + 1
        x = x.unfold(2 + i, window, module.stride[i])[..., ::dilation]
    # (B, channels, *output, *kernel) -> (B, *output, channels, *kernel)
    x = x.permute(0, *range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n))
    return x.reshape(len(x), math.prod(x.shape[1 : 1 + n]), -1)
