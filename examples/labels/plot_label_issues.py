"""
Which labels are wrong, and how many of them are found?
=======================================================

A model that was trained with a wrong label may have learnt it by heart.
:func:`~sklearn_provenance.inspection.find_label_issues` judges every row by models that have not
seen it. We turn some labels around to count what it finds, and then look at the original labels.
"""

# %%
# One label in ten is turned around
# ---------------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance.datasets import flip_labels
from sklearn_provenance.inspection import find_label_issues

data = load_breast_cancer(as_frame=True)
X, y = data.data, data.target_names[data.target]
y_given, is_flipped = flip_labels(y, share=0.1, random_state=0)
print(f"{is_flipped.sum()} of {len(y)} labels are wrong")

# %%
# What is found
# -------------

models = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
    "network": make_pipeline(
        StandardScaler(),
        MLPClassifier((50,), solver="lbfgs", alpha=0, max_iter=500, random_state=0),
    ),
}
found = {name: find_label_issues(model, X, y_given) for name, model in models.items()}
for name, issues in found.items():
    hits = is_flipped[issues.rows]
    print(f"{name}: {len(hits)} rows, {hits.sum()} of them wrong")

# %%
# The further down the list one looks, the more errors one finds, and the more rows one looks at in
# vain. The network learns its training rows by heart, wrong labels among them. Asked about these
# rows itself, it would find few of the errors.

fig, ax = plt.subplots(layout="constrained")
for name, issues in found.items():
    order = np.argsort(-np.nan_to_num(issues.suspicion))
    ax.plot(np.cumsum(is_flipped[order]), label=f"{name}, rows not seen")
network = models["network"].fit(X, y_given)
print(f"accuracy of the network on its training rows {network.score(X, y_given):.3f}")
own = network.predict_proba(X)[np.arange(len(y)), np.searchsorted(network.classes_, y_given)]
order = np.argsort(own, kind="stable")
ax.plot(np.cumsum(is_flipped[order]), "--", label="network, rows it was trained with")
ax.plot([0, is_flipped.sum()], [0, is_flipped.sum()], color="0.7", label="all of them wrong")
ax.set(xlabel="rows looked at", ylabel="wrong labels found", xlim=(0, 150))
ax.legend()
plt.show()

# %%
# The labels as they came
# -----------------------
# Nothing was turned around here. What the models do not believe deserves a look, and need not be
# wrong.

issues = find_label_issues(models["logistic regression"], X, y)
print(issues)
issues.plot()
plt.show()
