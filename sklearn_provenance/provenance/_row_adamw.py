"""AdamW that updates only the rows of a parameter that a step has gradients of."""

import torch

# Measured with benchmarks/index_branches.py: 4 learns more slowly, and 16 hardly faster.
_LARGEST_FACTOR = 8


class RowAdamW(torch.optim.AdamW):
    """AdamW for parameters with dense gradients, and lazily for those with sparse ones.

    A row with a gradient is updated as AdamW updates a parameter: its moments decay, its weights
    decay, and the correction of the moments counts the updates of this row. A row without one stays
    as it is, with its moments.

    Steps of Adam are about as long as the learning rate, however large gradients are, so rows with
    few updates would learn slowly. The learning rate is therefore multiplied by the number of rows
    divided by the number of those with a gradient, but by 8 at most. Where a step has gradients of
    all rows, this is AdamW.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Make a step.

        Parameters
        ----------
        closure : callable, default=None
            Computes the gradients, and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._update_rows(parameter, group)
                    parameter.grad = None  # AdamW leaves it alone
        super().step()
        return loss

    def _update_rows(self, parameter, group):
        sparse = parameter.grad.coalesce()
        rows = sparse.indices()[0]
        gradient = sparse.values()  # (n, ...), as all that follow
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(len(parameter), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        beta1, beta2 = group["betas"]
        step = state["step"][rows] + 1
        mean = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["step"][rows] = step
        state["exp_avg"][rows] = mean
        state["exp_avg_sq"][rows] = square
        step = step.view(-1, *[1] * (parameter.ndim - 1))
        denominator = square.div_(1 - beta2**step).sqrt_().add_(group["eps"])
        update = mean.div_(1 - beta1**step).div_(denominator)
        lr = group["lr"] * min(_LARGEST_FACTOR, len(parameter) / len(rows))
        values = parameter[rows].mul_(1 - lr * group["weight_decay"])
        parameter[rows] = values.sub_(update, alpha=lr)
