"""
Which of my labels may be wrong?
================================

Ask which *other* training rows the network names for a training row. If their labels contradict its
own, the label deserves a second look. For that the network must not have learnt the label: a single
branch with ``alpha=0`` is trained on row numbers alone.
"""

# %%
# Wrong labels, put in on purpose
# -------------------------------
# We give one in twenty of the digits a wrong label, so that we can tell whether they are found.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import load_digits

X, y_true = load_digits("train", return_X_y=True)
rng = np.random.RandomState(0)
wrong = np.zeros(len(y_true), dtype=bool)
wrong[rng.choice(len(y_true), size=len(y_true) // 20, replace=False)] = True
y = np.where(wrong, (y_true + rng.randint(1, 10, size=len(y_true))) % 10, y_true)
print(f"{wrong.sum()} of {len(y)} labels are wrong")

# %%
# Leave-one-out explanations
# --------------------------
# ``explain()`` without rows explains every training row by the others. The suspicion of a row is
# the score-weighted share of its exemplars that carry another label.


def suspicion(explanation, y):
    other = explanation.exemplar_labels != y[:, None]
    return np.average(other, axis=1, weights=explanation.scores)


def report(name, suspicion):
    inspected = np.argsort(-suspicion, kind="stable")[: len(y) // 10]
    found = wrong[inspected].sum() / wrong.sum()
    print(
        f"{name:<32} ROC AUC {roc_auc_score(wrong, suspicion):.3f}, "
        f"found in the first 10 %: {found:.0%}"
    )


explanations, suspicions = {}, {}
for alpha in (0, 0.3):
    # A multilayer perceptron is enough for 8 x 8 pixels, and quicker than convolutions.
    clf = ProvenanceClassifier(
        "single_branch", alpha=alpha, backbone="mlp", max_epochs=20, random_state=0
    )
    explanations[alpha] = clf.fit(X, y).explain(k=10)
    suspicions[alpha] = suspicion(explanations[alpha], y)
    report(f"single branch, alpha={alpha}", suspicions[alpha])

neighbours = KNeighborsClassifier(n_neighbors=10).fit(X.reshape(len(X), -1).astype(float), y)
named = neighbours.kneighbors(return_distance=False)
report("10 nearest neighbours in pixels", np.mean(y[named] != y[:, None], axis=1))

# %%
# Why alpha matters here
# ----------------------
# With alpha above 0 the target of a wrongly labelled row includes rows of its wrong class, so the
# network learns to name rows that confirm the error. With ``alpha=0`` each row is asked for itself
# only and no label enters the loss; the rows named after it are those that look alike. (The class
# conditional architecture cannot serve at all: it names rows of one class only.)
#
# On these digits distances between pixels tell wrong labels as well. A network is worth its time
# where distances between raw inputs mean less.

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
share = np.arange(1, len(y) + 1) / len(y)
for alpha, color in ((0, "#0072B2"), (0.3, "#D55E00")):
    order = np.argsort(-suspicions[alpha], kind="stable")
    found = np.cumsum(wrong[order]) / wrong.sum()
    ax.plot(share, found, color=color, label=f"alpha = {alpha}")
ax.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="in random order")
ax.set(xlabel="share of the rows inspected", ylabel="share of the wrong labels found")
ax.legend(loc="center right")
ax.grid(alpha=0.3)
plt.show()

# %%
# The top suspects
# ----------------
# The query is a training row with the label it was given. Orange exemplars carry another label.

suspects = np.argsort(-suspicions[0], kind="stable")
for row in suspects[:4]:
    print(f"row {row}: given {y[row]}, in truth {y_true[row]}")

explanations[0].plot(suspects[:4], k=5)
plt.show()
