"""
Which training rows are alike, in the eyes of a random forest?
==============================================================

A forest has no gradients, but it has leaves. Given as ``features``, they let an attributor explain
any forest: two rows are alike if many trees send them to the same leaf. The rows named are not
quite the most similar ones, but those that together tell the most.
"""

# %%
# A forest for patients
# ---------------------
# The diabetes data of scikit-learn: 442 patients, ten measurements, and a measure of how far the
# disease had progressed a year later. We predict on which side of the median it lies. That is hard
# to tell from these ten columns, so there is something to explain.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from sklearn_provenance import InfoGainAttributor

data = load_diabetes(as_frame=True, scaled=False)
names = {"bp": "blood pressure", "s1": "cholesterol", "s2": "LDL", "s3": "HDL"}
names |= {"s4": "cholesterol / HDL", "s5": "log triglycerides", "s6": "glucose"}
patients = data.data.rename(columns=names)
progress = np.where(data.target > data.target.median(), "fast", "slow")
X, X_test, y, y_test = train_test_split(patients, progress, random_state=0, stratify=progress)

forest = RandomForestClassifier(n_estimators=200, min_samples_leaf=5, random_state=0).fit(X, y)
predicted, sure = forest.predict(X_test), forest.predict_proba(X_test).max(axis=1)
print(f"{len(X)} training patients, test accuracy {forest.score(X_test, y_test):.3f}")

# %%
# Leaves as features
# ------------------
# ``forest.apply`` gives the leaf of a row in each tree. One column for every leaf, with a 1 where
# the row is, divided by the root of the number of trees: then the inner product of two rows, and so
# the kernel, is the share of trees in which they meet.
#
# The transformer is fitted beforehand, and the attributor takes it as it stands. One that is not
# fitted would be cloned and fitted by the attributor.


def divide(leaves):
    return leaves / np.sqrt(forest.n_estimators)


embedding = make_pipeline(
    FunctionTransformer(forest.apply), OneHotEncoder(), FunctionTransformer(divide)
)
phi = embedding.fit_transform(X).toarray()
leaves = forest.apply(X)
same_leaf = np.mean(leaves[:, None, :] == leaves[None, :, :], axis=2)
print(f"{phi.shape[1]} leaves")
print("kernel = share of trees with a common leaf:", np.allclose(phi @ phi.T, same_leaf))

# %%
# Ask for exemplars
# -----------------
# ``candidates="all"`` lets patients of either class be named; with the default, only those of the
# predicted class may be. Every kernel value k(x, x) is 1 here, and so is σ².
#
# We look at the prediction that the forest is most sure of, and the one that it is least sure of.

attributor = InfoGainAttributor(
    forest, features=embedding, candidates="all", noise_variance="diagonal"
).fit(X, y)
explanation = attributor.explain(X_test, k=10)
ends = [sure.argmax(), sure.argmin()]
for query in ends:
    print(
        f"query {query}: {sure[query]:.0%} sure of {predicted[query]}, in truth {y_test[query]}, "
        f"{explanation.scores[query].sum():.2f} nats from ten patients"
    )
explanation.plot(ends, k=6)
plt.show()

# %%
# Not simply the most similar
# ---------------------------
# For one row alone, nats and similarity rank alike. As a set they do not: a patient who meets the
# query in the same trees as one picked before adds little. Below, for the second query, the column
# *nats alone* is what ``attribute`` says of a row by itself.

query = ends[1]
alone = attributor.attribute(X_test)
common = np.mean(forest.apply(X_test)[:, None, :] == leaves[None, :, :], axis=2)
rank = np.argsort(np.argsort(-common[query], kind="stable"))
print("patient  label  common leaves  rank by these  nats alone  nats in the set")
for row, nats in zip(explanation.indices[query], explanation.scores[query], strict=True):
    print(
        f"{row:7}{y[row]:>7}{common[query, row]:15.1%}{rank[row] + 1:15}"
        f"{alone[query, row]:12.3f}{nats:17.3f}"
    )

similar = np.argsort(-common, axis=1, kind="stable")[:, :10]


def mean_overlap(lists):
    """Mean share of common leaves between two rows of the same list."""
    pairs = ~np.eye(lists.shape[1], dtype=bool)
    return np.mean([same_leaf[np.ix_(rows, rows)][pairs].mean() for rows in lists])


def in_common(a, b):
    return np.mean([len(set(i) & set(j)) / len(i) for i, j in zip(a, b, strict=True)])


print(f"\nten rows, all test patients: {in_common(explanation.indices, similar):.0%} in both lists")
print(f"common leaves inside a list: InfoGain {mean_overlap(explanation.indices):.1%}", end=", ")
print(f"most similar {mean_overlap(similar):.1%}")

# %%
# Do the exemplars tell when to doubt a prediction?
# -------------------------------------------------
# ``agreement`` is the share of a query's exemplars that carry the predicted label. It follows the
# share of votes in the forest, as it should: the exemplars stand for the leaves that vote.

right = predicted == y_test
agreement = explanation.agreement
print(f"correlation with the forest's certainty: {np.corrcoef(agreement, sure)[0, 1]:.2f}")
print(f"mean agreement: right {agreement[right].mean():.0%}, wrong {agreement[~right].mean():.0%}")

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
jitter = np.random.default_rng(0).uniform(-0.012, 0.012, len(sure))
for mask, label, color, marker in (
    (right, "right", "#0072B2", "o"),
    (~right, "wrong", "#D55E00", "X"),
):
    ax.scatter(sure[mask], (agreement + jitter)[mask], c=color, marker=marker, s=26, label=label)
ax.set(xlabel="certainty of the forest", ylabel="agreement of ten exemplars")
ax.legend(title="prediction")
ax.grid(alpha=0.3)
plt.show()

# %%
# Features of your own do not depend on the label asked for: row and query look the same whatever
# class is explained, and the label only decides who may be named. The guide has more under
# :ref:`attribution_own_features`.
