import matplotlib
import torch
from hypothesis import settings

matplotlib.use("Agg")
# Oversubscribed OpenMP threads make the suite 10 to 20 times slower on few busy cores.
torch.set_num_threads(1)
# Example timings say more about the machine than about the code.
settings.register_profile("sklearn_provenance", deadline=None)
settings.load_profile("sklearn_provenance")
