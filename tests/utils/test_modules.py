"""The user's module stays as it is, whatever it was made of and whoever else wants it."""

import importlib.util
import os
import threading

import pytest
import torch
from torch import nn

from sklearn_provenance._utils import modules
from sklearn_provenance._utils.modules import evaluation, held


class Counts(nn.Linear):
    """Writes to its buffer."""

    def __init__(self):
        super().__init__(2, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return super().forward(x)


@pytest.mark.parametrize("made_in_inference_mode", [False, True])
@pytest.mark.parametrize("called_in_inference_mode", [False, True])
def test_buffers_are_as_before(made_in_inference_mode, called_in_inference_mode):
    with torch.inference_mode(made_in_inference_mode):
        module = Counts()
    with torch.inference_mode(called_in_inference_mode), evaluation(module):
        with torch.inference_mode(made_in_inference_mode):
            module(torch.ones(1, 2))
        assert module.seen == 1
    assert module.seen == 0


def test_a_forked_process_waits_for_no_thread_of_the_other(monkeypatch):
    """Threads that hold a module are not copied, and its lock is: nobody would give it back."""
    monkeypatch.setattr(modules, "_REGISTRY", modules._REGISTRY)
    monkeypatch.setattr(modules, "_LOCKS", modules._LOCKS)
    module, taken, done = nn.Linear(2, 2), threading.Event(), threading.Event()

    def hold():
        with held(module):
            taken.set()
            done.wait()

    def take():
        with held(module):
            return True

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    waiting = threading.Thread(target=take)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    modules._forget()  # what a forked process does first
    assert take()
    done.set()
    for thread in (holder, waiting):
        thread.join()


def test_where_processes_are_not_forked_nothing_is_registered(monkeypatch):
    """As on Windows."""
    monkeypatch.delattr(os, "register_at_fork")
    spec = importlib.util.find_spec(modules.__name__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = nn.Linear(2, 2)
    with module.held(network):
        assert network in module._LOCKS
