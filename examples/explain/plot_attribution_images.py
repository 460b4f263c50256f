"""
Which training images made the network so sure?
===============================================

A convolutional network is trained as usual, and explained afterwards: nothing about it was prepared
for that. We compare three lists of training images for the same predictions, one of them wrong, and
then do what such lists claim to be about: take the images away, train again, and look at the
prediction.
"""

# %%
# A network
# ---------
# Patches of 12 x 12 pixels of the two photographs that scikit-learn ships: the temple on the one,
# the trees around it, and the petals of the flower on the other. Any ``torch.nn.Module`` that maps
# a batch to logits will do. The function takes the rows to train on, because we shall train again
# without some of them.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import PatchExtractor
from torch import nn

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor

torch.set_num_threads(1)  # faster than many, for so small a network

china, flower = load_sample_images().images
parts = {
    "temple": china[130:310, 130:330],
    "trees": china[350:, :],
    "petals": flower[90:340, 190:440],
}
names = np.array(list(parts))
cut = PatchExtractor(patch_size=(12, 12), max_patches=240, random_state=0)
patches = np.concatenate([cut.transform(photograph[None]) for photograph in parts.values()])
labels = np.repeat([0, 1, 2], 240)
order = np.random.default_rng(0).permutation(len(labels))
images = torch.from_numpy(patches[order].transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.5)
X, X_test = images[:480], images[480:]
y, y_test = labels[order][:480], labels[order][480:]
y_torch = torch.from_numpy(y)


def train(rows, seed=0, n_epochs=15, batch_size=64):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(144, 24), nn.ReLU(), nn.Linear(24, 3)),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    n_steps = n_epochs * -(-len(rows) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=n_steps)
    for _ in range(n_epochs):
        for batch in torch.as_tensor(rows)[torch.randperm(len(rows))].split(batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(X[batch]), y_torch[batch]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def margin(network, images, labels):
    """Log odds of a label for each image: positive if it is more likely than not."""
    logits, own = network(images), torch.as_tensor(labels)[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(1)
    return (logits.gather(1, own)[:, 0] - others).numpy()


network = train(np.arange(len(X)))
with torch.no_grad():
    predicted = network(X_test).argmax(1).numpy()
print(f"{len(X)} training images, test accuracy {np.mean(predicted == y_test):.3f}")

# %%
# Three queries
# -------------
# Of the predictions that are right we take one of middling certainty and one of less (the median
# and the lower quartile of the margin), and of the wrong ones the most certain.

margins = margin(network, X_test, predicted)
right, wrong = np.flatnonzero(predicted == y_test), np.flatnonzero(predicted != y_test)
rng = np.random.default_rng(0)
by_margin = right[np.argsort(margins[right])]
queries = [by_margin[len(right) // 2], by_margin[len(right) // 4], wrong[margins[wrong].argmax()]]
for query in queries:
    print(
        f"test image {query}: predicted {names[predicted[query]]}, "
        f"in truth {names[y_test[query]]}, "
        f"margin {margins[query]:.1f}"
    )

# %%
# Three lists
# -----------
# *InfoGain* picks the images that, as a set and without all others, tell the most about the query's
# logit. *InfoLoss* picks those that would be missed most if all others stayed. *Similarity* is what
# one would do without this package: the largest cosines between the features in front of the last
# layer, among the images of the predicted class.
#
# σ² is ten times the mean of the kernel's diagonal, the default. If σ² is small, one image close to
# the query says nearly all there is to say, and the rest of a long list hardly matters; a larger
# one spreads credit.

gain = InfoGainAttributor(network).fit(X, y)
loss = InfoLossAttributor(network).fit(X, y)


@torch.no_grad()
def most_similar(queries, k=40):
    """Training images of the predicted class, most similar first, and the cosines."""
    train_units, units = (
        nn.functional.normalize(network[:-1](images)) for images in (X, X_test[queries])
    )
    cosines = (units @ train_units.T).numpy()
    cosines[predicted[queries][:, None] != y] = -np.inf
    rows = np.argsort(-cosines, axis=1)[:, :k]
    return rows, np.take_along_axis(cosines, rows, axis=1)


lists = {
    "InfoGain": gain.explain(X_test[queries], k=6),
    "InfoLoss": loss.explain(X_test[queries], k=6),
    "similarity": most_similar(queries, k=6),
}


def show(position):
    """One query and the images of each list."""
    query = queries[position]
    fig, axes = plt.subplots(3, 7, figsize=(8.3, 4.6), layout="constrained")
    for panels, (name, (indices, scores)) in zip(axes, lists.items(), strict=True):
        rows = indices[position]
        for panel, image in zip(panels, [X_test[query], *X[rows]], strict=True):
            panel.imshow(image.permute(1, 2, 0) + 0.5)
            panel.set(xticks=[], yticks=[])
        for panel, row, score in zip(panels[1:], rows, scores[position], strict=True):
            panel.set_title(f"{score:.3f}" + " nats" * (name != "similarity"), fontsize=8)
            panel.set_xlabel(f"row {row}", fontsize=7, color="0.4")
        panels[0].set_ylabel(name, fontsize=10)
        panels[0].spines[:].set(linewidth=2.5)
    axes[0, 0].set_title("query", fontsize=8)
    label, truth = names[predicted[query]], names[y_test[query]]
    fig.suptitle(f"predicted {label}, in truth {truth}; exemplars are {label}", fontsize=10)
    plt.show()


show(0)

# %%
# The second query.

show(1)

# %%
# The mistake
# -----------
# The images of the predicted class that the mistake rests on:

show(2)

# %%
# ``y`` asks the same about another label: what was there to be known about the true one? The nats
# compare how well training images of either class determine the logit of that class at this input.

query = queries[2]
for label in (predicted[query], y_test[query]):
    nats = gain.explain(X_test[[query]], y=[label], k=5).scores.sum()
    print(f"{names[label]}: five images tell {nats:.2f} nats about its logit")

# %%
# Take them away and train again
# ------------------------------
# If a list names the images behind a prediction, the prediction should suffer without them. For
# six right predictions, drawn at random, we remove the first 40 images of a list, of some 160
# that the class has, and train again from the same initial weights. The comparison is 40 images of
# the same class drawn at random.

asked = rng.choice(right, 6, replace=False)
labels = predicted[asked]
removals = {
    "InfoGain": gain.explain(X_test[asked], k=40).indices,
    "InfoLoss": loss.explain(X_test[asked], k=40).indices,
    "similarity": most_similar(asked)[0],
    "at random": [rng.choice(np.flatnonzero(y == c), 40, replace=False) for c in labels],
}
after = {name: [] for name in removals}
for name, lists_of_rows in removals.items():
    for query, label, rows in zip(asked, labels, lists_of_rows, strict=True):
        rest = np.setdiff1d(np.arange(len(X)), rows)
        after[name].append(margin(train(rest), X_test[[query]], [label])[0])

before = margins[asked]
print(f"before: margin {before.mean():.1f}")
for name, values in after.items():
    fall = before - values
    error = fall.std(ddof=1) / len(fall) ** 0.5
    print(
        f"{name:<11} falls by {fall.mean():.1f} ± {error:.1f}, "
        f"below even odds for {np.mean(np.array(values) < 0):.0%} of the queries"
    )

fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
shown = {"before": before, **after}
for query in range(len(asked)):
    path = [values[query] for values in shown.values()]
    ax.plot(range(len(shown)), path, color="0.85", linewidth=0.8, zorder=1)
for x, (values, color) in enumerate(
    zip(shown.values(), ("k", "#0072B2", "#D55E00", "#009E73", "0.5"), strict=True)
):
    ax.scatter(np.full(len(asked), x), values, color=color, s=16, zorder=2)
    ax.plot([x - 0.25, x + 0.25], [np.mean(values)] * 2, color=color, linewidth=2.5)
ax.axhline(0, color="0.6", linestyle=":")
ax.set_xticks(range(len(shown)), shown)
ax.set_ylabel("margin of the predicted class\n(log odds; bars are means)")
plt.show()

# %%
# Which of the lists does most harm, six queries do not settle: the differences are of the size of
# their errors, and they change with σ². Nor would a single query tell anything, since one training
# differs from the next by chance, removed images or not.
# :ref:`sphx_glr_auto_examples_compare_plot_compare_methods.py` asks the same of a model whose
# training has no chance in it.
