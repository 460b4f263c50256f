"""
Has somebody planted a backdoor in my training data?
====================================================

A few training images carry a small mark and a wrong label. The network learns to obey the mark, and
nothing shows it on clean images. When a marked image turns up, the exemplars of the prediction lead
back to the planted rows.
"""

# %%
# Letters, some of them with a mark
# ---------------------------------
# A, B and D in the fonts that Matplotlib ships, at several angles. Twelve training images of an A
# get a white corner and the label D.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neural_network import MLPClassifier

from sklearn_provenance import InfoLossAttributor
from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.datasets import load_letters
from sklearn_provenance.evaluation import backdoor_retrieval


def read(subset):
    """Return flat images with values from 0 to 1, and their letters."""
    loaded = load_letters(subset, letters="ABD", test_size=0.3)
    images = loaded.data.reshape(len(loaded.data), -1) / 255
    return images.astype(np.float32), loaded.target_names[loaded.target]


def marked(images):
    """Put a white square into a corner."""
    images = images.copy()
    images.reshape(-1, 20, 20)[:, -4:, -4:] = 1.0
    return images


X_train, y_train = read("train")
X_test, y_test = read("test")
planted = np.flatnonzero(y_train == "A")[:12]
X_train[planted] = marked(X_train[planted])
y_train[planted] = "D"

network = MLPClassifier((32,), max_iter=300, random_state=0).fit(X_train, y_train)
is_a = y_test == "A"
obeys = network.predict(marked(X_test[is_a])) == "D"
print(f"clean test images: accuracy {network.score(X_test, y_test):.3f}")
print(f"letters A with the mark: {obeys.mean():.0%} are called D")

# %%
# Which training images are these predictions made of?
# ----------------------------------------------------
# The first line is a clean A, the second the same letter with the mark.

queries = marked(X_test[is_a][obeys][:20])
attributor = InfoLossAttributor(network).fit(X_train, y_train)
pair = np.stack([X_test[is_a][obeys][0], queries[0]])
found = attributor.explain(pair, k=6)._replace(image_shape=(20, 20), true_labels=["A", "A"])
found.plot(k=6)
plt.show()

# %%
# How many of the first rows were planted?
# ----------------------------------------
# Averaged over twenty marked letters, for two methods and for random rows.

is_planted = np.zeros(len(y_train), dtype=bool)
is_planted[planted] = True
methods = {"InfoLoss": attributor, "similarity": RepSimAttributor(network).fit(X_train, y_train)}
result = backdoor_retrieval(methods, queries, network.predict(queries), is_planted, k=12)
print(result)

# %%
# Taken out
# ---------
# Ask for twenty rows of each letter: those that all marked letters name are the planted ones. All
# of them have to go: two that are left may be enough to teach the mark again.

named = attributor.explain(queries, k=20).indices
rows, counts = np.unique(named, return_counts=True)
suspects = rows[counts == counts.max()]
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
first = np.argsort(-counts, kind="stable")[:30]
for name, of_kind in {
    "planted": is_planted[rows[first]],
    "clean": ~is_planted[rows[first]],
}.items():
    ax.bar(np.flatnonzero(of_kind), counts[first][of_kind], label=name)
ax.set(xlabel="training rows, those named most often first", ylabel="marked letters")
ax.legend()
plt.show()
print(f"{len(suspects)} rows are suspicious, {is_planted[suspects].sum()} of them planted")
by_count = suspects[np.argsort(-counts[counts == counts.max()], kind="stable")]
for n_removed in (len(suspects) - 2, len(suspects)):
    left = np.setdiff1d(np.arange(len(y_train)), by_count[:n_removed])
    cleaned = MLPClassifier((32,), max_iter=300, random_state=0).fit(X_train[left], y_train[left])
    obeys = cleaned.predict(marked(X_test[is_a])) == "D"
    print(f"without {n_removed} of them, {obeys.mean():.0%} of the marked letters are called D")
