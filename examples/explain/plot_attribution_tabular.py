"""
Which patients is this prediction made of, and are their labels right?
======================================================================

A multilayer perceptron of scikit-learn, at the end of a pipeline, is explained as it stands. Its
wrong predictions lead back to training rows with wrong labels: we put some in on purpose, look for
them among the rows named, correct what we find and train again.
"""

# %%
# Wrong labels, put in on purpose
# -------------------------------
# The breast cancer data of scikit-learn: 30 measurements of cell nuclei, two classes. One label in
# twelve of the training rows is turned around. A second part of the data, whose labels are right,
# shows which predictions go wrong; a third part is kept for the end.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor

data = load_breast_cancer(as_frame=True)
labels = data.target_names[data.target]


def split_and_flip(seed):
    X, X_rest, y_true, y_rest = train_test_split(
        data.data, labels, test_size=0.5, random_state=seed, stratify=labels
    )
    parts = train_test_split(X_rest, y_rest, test_size=0.5, random_state=seed, stratify=y_rest)
    flipped = np.zeros(len(X), dtype=bool)
    flipped[np.random.default_rng(seed).choice(len(X), len(X) // 12, replace=False)] = True
    other = np.where(y_true == "benign", "malignant", "benign")
    return X, np.where(flipped, other, y_true), y_true, flipped, *parts


X, y, y_true, flipped, X_check, X_test, y_check, y_test = split_and_flip(0)
network = make_pipeline(
    StandardScaler(), MLPClassifier((64,), learning_rate_init=0.005, max_iter=1000, random_state=0)
)
model = clone(network).fit(X, y)
predicted = model.predict(X_check)
wrong = predicted != y_check
print(f"{flipped.sum()} of {len(X)} training labels are wrong")
print(f"accuracy on the training labels {model.score(X, y):.3f}, in the checked part", end=" ")
print(f"{model.score(X_check, y_check):.3f}: {wrong.sum()} wrong predictions to ask about")

# %%
# Explain the wrong predictions
# -----------------------------
# The attributor takes the fitted pipeline and the data frame as they are. ``sample_id`` hands your
# own names of rows through; here they are the row numbers of the whole table.

attributor = InfoGainAttributor(model).fit(X, y, sample_id=X.index)
explanation = attributor.explain(X_check[wrong], k=5)
explanation.to_frame().head(5)

# %%
# From here on it is ordinary pandas: the measurements of the rows named, say. In real life the last
# column does not exist.

frame = explanation.to_frame().merge(
    X[["mean radius", "mean texture", "worst area"]], left_on="sample_id", right_index=True
)
frame["label is wrong"] = flipped[frame["index"]]
frame.drop(columns=["query_label", "index"]).head(5)

# %%
# Two of the wrong predictions. Rows are shown in the units of the table, before the scaler.

explanation.plot([0, 1], k=5)
plt.show()

# %%
# Are the wrong labels among the rows named?
# ------------------------------------------
# Only rows of the *predicted* class may be named. What comes nearest to a wrong prediction among
# rows of that class is often a row that is there by mistake. Chance is the share of wrong labels
# among all rows that may be named.
#
# For comparison we take the rows of the predicted class that are nearest in the scaled columns,
# which needs no network. Five splits, with other flips in each:


def nearest(model, X, y, queries, predicted, k=5):
    rows, asked = model[0].transform(X), model[0].transform(queries)
    distances = np.linalg.norm(asked[:, None] - rows, axis=2)
    distances[predicted[:, None] != y] = np.inf
    return np.argsort(distances, axis=1)[:, :k]


found, repairs = [], []
for seed in range(5):
    X, y, y_true, flipped, X_check, X_test, y_check, y_test = split_and_flip(seed)
    model = clone(network).fit(X, y)
    predicted = model.predict(X_check)
    wrong = predicted != y_check
    gain = InfoGainAttributor(model).fit(X, y)
    loss = InfoLossAttributor(model).fit(X, y)
    rows = {
        ("wrong", "InfoGain"): gain.explain(X_check[wrong], k=5).indices,
        ("wrong", "InfoLoss"): loss.explain(X_check[wrong], k=5).indices,
        ("wrong", "nearest"): nearest(model, X, y, X_check[wrong], predicted[wrong]),
        ("right", "InfoGain"): gain.explain(X_check[~wrong], k=5).indices,
    }
    for (prediction, method), named in rows.items():
        asked = predicted[wrong] if prediction == "wrong" else predicted[~wrong]
        found.append(
            {
                "prediction": prediction,
                "method": method,
                "first": flipped[named[:, 0]].mean(),
                "any of five": flipped[named].any(axis=1).mean(),
                "share of five": flipped[named].mean(),
                "chance": np.mean([flipped[y == label].mean() for label in asked]),
            }
        )

    # The labels of all rows that InfoGain names are looked up, and the network is trained again.
    inspected = np.unique(rows["wrong", "InfoGain"])
    drawn = np.random.default_rng(seed).choice(len(X), len(inspected), replace=False)
    repair = {"inspected": len(inspected), "wrong among them": flipped[inspected].sum()}
    repair |= {"wrong of all": flipped.sum(), "before": model.score(X_test, y_test)}
    for name, looked_up in (("random", drawn), ("named", inspected), ("all", np.arange(len(X)))):
        corrected = y.copy()
        corrected[looked_up] = y_true[looked_up]
        repair[name] = clone(network).fit(X, corrected).score(X_test, y_test)
    repairs.append(repair)

found = pd.DataFrame(found).groupby(["prediction", "method"], sort=False).mean()
print("Wrong labels among the rows named, mean of five splits")
print(found.to_string(float_format="{:.0%}".format))

# %%
# Behind wrong predictions there are many wrong labels, behind right ones hardly any. Most of that
# is due to looking among the rows of the wrong class at all, as the line *nearest* shows. InfoLoss
# finds fewer: it prefers rows that others cannot replace, and these need not be the closest. No
# score says that a label is wrong; it says where to look.
#
# From the rows named to better labels
# ------------------------------------
# Test accuracy *before*, and once the labels have been put right of as many *random* rows, of the
# rows *named*, or of *all*:

repairs = pd.DataFrame(repairs)
print(repairs.to_string(float_format="{:.3f}".format))
print("\nmeans:", repairs[["before", "random", "named", "all"]].mean().round(3).to_dict())
