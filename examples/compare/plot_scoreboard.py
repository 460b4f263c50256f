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
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import LastLayerAttributor, RepSimAttributor
from sklearn_provenance.evaluation import scoreboard

# Wines of three growers, by their chemistry. Few rows, so that the many models of this page are
# trained in seconds.
wine = load_wine()
X, X_test, y, y_test = train_test_split(
    StandardScaler().fit_transform(wine.data),
    wine.target,
    test_size=16,
    random_state=0,
    stratify=wine.target,
)


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
# model, reaches as much as a method, a criterion does not speak for the method. ``backdoor`` and
# ``shortcut`` are such here. ``lds`` and ``brittleness`` train again without rows; there influence
# is far ahead of all baselines, and InfoGain and RepSim are not. ``subclass`` wants more than three
# classes, and is not measured.
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
