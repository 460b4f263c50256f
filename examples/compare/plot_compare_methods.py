"""
Which attribution method should I believe?
==========================================

Methods disagree about which training rows a prediction rests on. Training can be repeated, so the
question has an answer: take rows away, train again, and see whose claims come true.
"""

# %%
# A model and six opinions about it
# ---------------------------------
# A logistic regression on handwritten digits. Every method gets the same training rows.

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.attribution import (
    EKFACAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RepSimAttributor,
    TRAKAttributor,
)
from sklearn_provenance.datasets import load_counterfactual_truth, load_digits
from sklearn_provenance.evaluation import brittleness, linear_datamodeling_score

X, y = load_digits("train", return_X_y=True)
X_test, y_test = load_digits("test", return_X_y=True)
X, X_test = (images.reshape(len(images), -1) / 255 for images in (X, X_test))
model = LogisticRegression(max_iter=2000).fit(X, y)


def opinions(**options):
    return {
        "InfoLoss": InfoLossAttributor(model, **options),
        "InfoGain": InfoGainAttributor(model, **options),
        "influence": LastLayerAttributor(model, **options),
        "EK-FAC": EKFACAttributor(model, **options),
        "TRAK": TRAKAttributor(model, **options),
        "similarity": RepSimAttributor(model, **options),
        "Random": RandomAttributor(model, random_state=0, **options),
    }


# %%
# Do predictions fall without the rows that are named?
# ----------------------------------------------------
# For 15 test digits each method names 10, 20 and 40 rows of the same class. They are removed, the
# model is fitted again, and we look at how far the log odds of the true class fell. Removing any
# rows lowers them, as the random line shows.

methods = {name: method.fit(X, y) for name, method in opinions().items()}
result = brittleness(
    methods,
    X,
    y,
    X_test[:15],
    y_test[:15],
    model=model,
    sizes=(10, 20, 40),
    early_stop=False,
)
print(result.summary().pivot(index="method", columns="size", values="margin_drop").round(2))
result.plot(what="margin_drop")
plt.show()

# %%
# Do scores predict what any change does?
# ---------------------------------------
# Another question: add up the scores of the rows of a random half of the training set. Does the sum
# tell whether a model trained on that half is more certain of the test digit than one trained on
# another half? For this data set and model the package ships what 100 such models said.

truth = load_counterfactual_truth("digits", "logistic_regression")
methods = {
    name: method.fit(truth.data, truth.target)
    for name, method in opinions(candidates="all").items()
}
scores = linear_datamodeling_score(
    methods,
    truth.data,
    truth.target,
    truth.queries,
    truth.query_target,
    masks=truth.masks,
    margins=truth.margins.mean(1),
)
print(scores)
scores.plot()
plt.show()

# %%
# What to believe
# ---------------
# For a logistic regression influence is nearly exact, and its approximations (EK-FAC, TRAK) do well
# in both experiments. InfoLoss and InfoGain name rows that carry certainty whatever their sign, and
# fall behind here; the second score, which asks for signs and for scores that add up, suits them
# least. For networks the order is another one: see the benchmarks. So run the experiment on *your*
# model before you trust a method with it. It takes a dozen lines.
