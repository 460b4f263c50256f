"""
Which hundred images can stand for a thousand?
==============================================

Labels are dear and training takes time: which few rows say most about the others? ``select`` picks
them for a set of queries together. Here the images are small patches of two photographs.
"""

# %%
# Patches of two photographs
# --------------------------
# scikit-learn ships a Chinese temple and a flower. The network sees a patch of 12 x 12 pixels and
# tells which photograph it is from.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import PatchExtractor
from sklearn.neural_network import MLPClassifier

from sklearn_provenance import InfoGainAttributor

names = ["temple", "flower"]
photographs = load_sample_images().images
patches = PatchExtractor(patch_size=(12, 12), max_patches=700, random_state=0)
X = np.concatenate([patches.transform(photo[None, ::2, ::2]) for photo in photographs])
X = (X.reshape(len(X), -1) / 255).astype(np.float32)
y = np.repeat([0, 1], 700)
rng = np.random.default_rng(0)
order = rng.permutation(len(y))
train, test = order[:1000], order[1000:]
network = MLPClassifier((32,), max_iter=200, tol=1e-3, random_state=0).fit(X[train], y[train])
print(f"test accuracy with 1000 patches {network.score(X[test], y[test]):.3f}")

# %%
# Rows that say most
# ------------------
# The queries are the training rows themselves. A small noise variance makes rows that say the same
# thing again worth little.

attributor = InfoGainAttributor(network, measurement="margin", noise_variance="0.01*diagonal")
attributor.fit(X[train], y[train])
picks = attributor.select(X[train][::4], 100, y=y[train][::4], balanced=True)
fig, axes = plt.subplots(4, 10, figsize=(8, 3.6), layout="constrained")
fig.suptitle("the first rows picked (above), and as many at random (below)")
drawn = [*picks[:20], *rng.permutation(1000)[:20]]
for panel, row in zip(axes.flat, drawn, strict=True):
    panel.imshow(X[train[row]].reshape(12, 12, 3))
    panel.set(xticks=[], yticks=[])
plt.show()

# %%
# Trained with them alone
# -----------------------
# The band shows the worst and the best of five random choices.

sizes = [10, 20, 50, 100]
accuracies = {"picked": [], "random": []}


def accuracy(rows):
    """Train with few rows, and test with all patches that were held back."""
    small = MLPClassifier((32,), max_iter=300, tol=1e-3, random_state=0).fit(
        X[train[rows]], y[train[rows]]
    )
    return small.score(X[test], y[test])


for size in sizes:
    accuracies["picked"].append([accuracy(picks[:size])])
    accuracies["random"].append([accuracy(rng.permutation(1000)[:size]) for _ in range(5)])
fig, ax = plt.subplots(layout="constrained")
for name, values in accuracies.items():
    ax.plot(sizes, [np.mean(of_size) for of_size in values], "o-", label=name)
ax.fill_between(
    sizes,
    [min(of_size) for of_size in accuracies["random"]],
    [max(of_size) for of_size in accuracies["random"]],
    alpha=0.2,
    color="C1",
)
ax.axhline(network.score(X[test], y[test]), color="0.6", linestyle="--", label="all 1000")
ax.set(xlabel="training rows", ylabel="test accuracy", xscale="log", xticks=sizes)
ax.set_xticklabels(sizes)
ax.legend()
plt.show()

# %%
# Ten or twenty rows that were picked are no better than chance here: the first picks are patches
# that many others look like. With fifty and more they are.

for size, picked, drawn in zip(sizes, *accuracies.values(), strict=True):
    print(f"{size:4} rows: picked {picked[0]:.3f}, random {np.mean(drawn):.3f}")
