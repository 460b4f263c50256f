import re

import matplotlib
import pytest
import torch
from hypothesis import settings

from .processes import Template

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Oversubscribed OpenMP threads make the suite 10 to 20 times slower on few busy cores.
torch.set_num_threads(1)
# Example timings say more about the machine than about the code.
settings.register_profile("sklearn_provenance", deadline=None)
settings.load_profile("sklearn_provenance")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Start each test, fixtures of its module included, from one state of torch's generator."""
    torch.manual_seed(0)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    """Close the figures of each test: pyplot keeps them, and warns of more than 20."""
    plt.close("all")


@pytest.fixture(scope="session")
def template():
    """Run code in processes of their own, which need not import the package again."""
    template = Template()
    yield template
    template.close()


# A bar of tqdm, with or without a known end.
BAR = re.compile(r"\d+%\|.*\||\d+(it|row|copy|chunk)? \[\d\d:\d\d")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail a test in which a progress bar is shown that it did not ask for.

    Tests that ask for one read it by ``capsys``, and nothing of it is left here.
    """
    report = yield
    bar = BAR.search(report.capstderr)
    if report.when == "call" and report.passed and bar:
        report.outcome = "failed"
        report.longrepr = f"a progress bar was shown without being asked for: {bar.group()}"
    return report
