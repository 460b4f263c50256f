"""
Ten criteria at once
====================

A method that finds backdoors need not know what happens when rows are removed, and a method that
nothing can shake may not look at the model. The scoreboard asks all of these questions, and puts
three baselines beside the answers.
"""

# %%
# Methods, and one of your own
# ----------------------------
# Attributors need not be fitted: each criterion makes the training rows that it needs, trains the
# model on them, and fits clones. A function of the trained model and the rows takes part, too. This
# one scores rows by their inner product with the query, if they have the label that is explained.

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import LastLayerAttributor, RepSimAttributor
from sklearn_provenance.datasets import load_digits
from sklearn_provenance.evaluation import scoreboard

X, y = load_digits("train", return_X_y=True)
X_test, y_test = load_digits("test", return_X_y=True)
X, X_test = (images.reshape(len(images), -1) / 255 for images in (X, X_test))
# Four of the digits, so that the many models of this page are trained in seconds.
X, y = X[y < 4][:120], y[y < 4][:120]
X_test, y_test = X_test[y_test < 4][:16], y_test[y_test < 4][:16]


def same_label(model, X, y, X_queries, y_queries):
    return (X_queries @ X.T) * (y == y_queries[:, None])


model = LogisticRegression(max_iter=500)
methods = {
    "influence": LastLayerAttributor(model),
    "InfoGain": InfoGainAttributor(model),
    "RepSim": RepSimAttributor(model),
    "same label": same_label,
}

# %%
# All of it
# ---------
# ``store="folder"`` would keep what is measured, so that a run goes on where it was interrupted and
# another method costs no training that was done before.

board = scoreboard(methods, X, y, X_test, y_test, model=model)
board.plot()
plt.show()

# %%
# A cell is darker where its score is nearer to the best that there can be, and white at chance.
# First look at the three lines at the bottom: where ``similarity``, which does not look at the
# model, reaches as much as a method, a criterion does not speak for the method. ``backdoor``,
# ``shortcut``, ``mixed`` and ``subclass`` are such here. ``lds`` and ``brittleness`` train again
# without rows; there influence is ahead of all baselines, and InfoGain and RepSim are not.
#
# The definitions stand beside the numbers:

frame = board.to_frame()
for name, definition in frame.groupby("criterion", sort=False)["definition"].first().items():
    print(f"{name}: {definition}")

# %%
# One criterion
# -------------
# With standard errors over queries. All methods have the same queries and the same retrained
# models, so differences are surer than the bars say: ``board.values`` holds what is averaged, for
# paired comparisons.

board.plot(what="lds")
plt.show()

# %%
of_method = dict(zip(board.methods, board.values["lds"], strict=True))
difference = of_method["influence"] - of_method["RepSim"]
error = difference.std(ddof=1) / len(difference) ** 0.5
print(f"influence beyond RepSim: {difference.mean():.3f} ± {error:.3f}")
