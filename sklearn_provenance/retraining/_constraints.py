"""Constraints of arguments that several protocols take."""

import os
from numbers import Integral

import torch
from sklearn.utils._param_validation import HasMethods, StrOptions
from torch import nn

from .._utils.arguments import ROWS, Instance, NoBool, whole
from ._schedule import Recipe

# How copies are trained, as `retrain` takes it.
TRAINING = {
    "recipe": [Recipe, None],
    "forward": [callable, None],
    "group_size": [whole(1), StrOptions({"auto"})],
    "device": [str, torch.device],
    "n_jobs": [NoBool(Integral, None, None, closed="neither"), None],
    "store": [str, os.PathLike, None],
    "client": [Instance(["submit", "nthreads"]), str, None],
    "verbose": ["verbose"],
}
# What is trained.
MODEL = {"model": [nn.Module, callable, HasMethods(["fit", "get_params"])]}
# What `retrain` takes.
RETRAIN = {
    **MODEL,
    **TRAINING,
    "X": [ROWS],
    "y": [ROWS],
    "X_eval": [ROWS],
    "seeds": ["array-like", None],
    "evaluate": [StrOptions({"logits", "margin"}), callable],
}
