"""
Does my model give away who was in its training set?
====================================================

An index branch is trained to know its training rows, so it can be asked for them: *was this row
among yours?* We attack a provenance network through both of its branches, and beside it a plain
classifier, to see what the index branch adds.
"""

# %%
# Members and non-members
# -----------------------
# The breast cancer data of scikit-learn: half of the patients train the networks, and that somebody
# was among them is nobody's business. The attacker has the measurements of patients of both halves,
# without labels, and asks how sure a network is of each: by its largest probability (*confidence*),
# or by the entropy of its probabilities. The plain classifier is the same network in which the
# index branch gets no gradient, ``lambda_index=0``: same backbone, same initial weights, same order
# of rows.

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import membership_inference

data, labels = load_breast_cancer(return_X_y=True)
data = StandardScaler().fit_transform(data)
X, X_test, y, y_test = train_test_split(
    data, labels, test_size=0.5, random_state=0, stratify=labels
)


def fit(**params):
    params = {"width": "small", "alpha": 0, "max_epochs": 40, "random_state": 0} | params
    return ProvenanceClassifier(**params).fit(X, y)


classifiers = {"network": fit(), "plain": fit(lambda_index=0)}
for name, clf in classifiers.items():
    print(f"{name}: test accuracy {clf.score(X_test, y_test):.3f}")

result = membership_inference(classifiers, X, X_test)
print(result)

# %%
# The index branch gives rows away
# --------------------------------
# First the share of members found over the share of others taken for members. Then why: the index
# branch is surer of rows that it was trained on. Of the class branch, that is hardly to be seen.

result.plot()
plt.show()

# %%

result.plot(kind="histogram", statistic=None)
plt.show()

# %%
# The area under the curve is the chance that a member gets the higher score than a non-member. It
# says how the attack fares on average; how many members can be named with hardly an error is
# another question:

found = result.true_positive_rate(0.01)
for number in result.select(statistic="confidence"):
    name, branch, _ = result.attacks[number]
    print(f"{name}, {branch} branch: {found[number]:.1%} of members found, and 1 % of the others")

# %%
# Does the class branch suffer?
# -----------------------------
# Two attacks on the same rows are compared by their difference, which has its own standard error.

ours, plain = (result.attacks.index((name, "class", "confidence")) for name in classifiers)
difference, error = result.difference(ours, plain)
print(f"class branch, AUC less that of the plain classifier: {difference:+.3f} ± {error:.3f}")

# %%
# What makes it better or worse
# -----------------------------
# A network that has not finished learning its rows hides them better. So does ``alpha``, which
# spreads the target of a row over its class, where it keeps the network from knowing its rows; what
# the secret gains, the explanation loses. In a single branch, class probabilities are sums of index
# probabilities, and give rows away as well.

variants = {
    "15 epochs": {"max_epochs": 15},
    "alpha=0.9": {"alpha": 0.9},
    "single branch": {"architecture": "single_branch"},
}
changed = membership_inference({name: fit(**p) for name, p in variants.items()}, X, X_test)
print(changed)

# %%
# If membership is a secret, give out what ``predict`` returns and keep index probabilities to
# yourself, in a single branch class probabilities too. And whoever is shown an exemplar has seen a
# training row, whatever the scores are.
