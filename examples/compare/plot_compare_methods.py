"""
Which attribution method should I believe?
==========================================

Methods disagree about which training rows a prediction rests on. Training can be repeated, so the
question has an answer: take rows away, train again, and see whose claims come true.
"""

# %%
# A model and six opinions about it
# ---------------------------------
# A logistic regression on the breast cancer data, in standard deviations of each measurement. Every
# method gets the same training rows. The package ships the split, and what 100 models said that
# were trained on halves of these rows.

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
from sklearn_provenance.datasets import load_counterfactual_truth
from sklearn_provenance.evaluation import brittleness, linear_datamodeling_score

truth = load_counterfactual_truth("breast_cancer", "logistic_regression")
X, y = truth.data, truth.target
X_test, y_test = truth.queries, truth.query_target
model = LogisticRegression(max_iter=2000).fit(X, y)
print(f"{len(X)} training rows, test accuracy {model.score(X_test, y_test):.3f}")


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
# For 15 test rows each method names 10, 20 and 40 rows of the same class. They are removed, the
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
# tell whether a model trained on that half is more certain of the test row than one trained on
# another half?

methods = {name: method.fit(X, y) for name, method in opinions(candidates="all").items()}
scores = linear_datamodeling_score(
    methods,
    X,
    y,
    X_test,
    y_test,
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
