"""
Which training rows does this prediction of my tabular model rest on?
=====================================================================

A network for tables sits at the end of a pipeline and inside a grid search. ``explain`` opens both
and shows the training rows behind a prediction in the units of the original table.
"""

# %%
# Data and model
# --------------
# The breast cancer data of scikit-learn: 30 measurements of cell nuclei, two classes. The network
# wants columns of one scale, so a ``StandardScaler`` comes first.
#
# We take the single branch: it predicts training rows, and the class that most of the probability
# falls on is the prediction. So the accuracy of the class says something about the rows named, and
# ``alpha``, the share of the index target that goes to other rows of the class, can be chosen by
# cross-validation.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import ProvenanceClassifier, explain

data = load_breast_cancer(as_frame=True)
labels = data.target_names[data.target]
X, X_test, y, y_test = train_test_split(data.data, labels, random_state=0, stratify=labels)

network = ProvenanceClassifier("single_branch", max_epochs=20, random_state=0)
model = make_pipeline(StandardScaler(), network)
search = GridSearchCV(model, {"provenanceclassifier__alpha": [0, 0.3, 0.6, 0.9]}, cv=3)
search.fit(X, y)

results = search.cv_results_
for alpha, score in zip(
    results["param_provenanceclassifier__alpha"], results["mean_test_score"], strict=True
):
    print(f"alpha={alpha}: cross-validated accuracy {score:.3f}")
print("chosen:", search.best_params_["provenanceclassifier__alpha"])
print(f"accuracy, test: {search.score(X_test, y_test):.3f}")

# %%
# Explain through the search
# --------------------------
# X is given in the table's own units, as for ``search.predict``. The rows named are rows of the X
# that ``fit`` got; their scores are probabilities.

explanation = explain(search, X_test, k=5)
explanation[:4]

# %%
# The same as a data frame, one line per exemplar, to be merged with whatever else is known about
# the rows:

explanation[:2].to_frame()

# %%
# Queries and exemplars side by side
# ----------------------------------
# We look at the two predictions of which the network is least sure. The first line of each table is
# the query. A colour says how far an exemplar is from the query in that column, and the columns
# drawn are those that differ most. Exemplars of the other class are orange and carry a ≠.

confidence = search.predict_proba(X_test).max(axis=1)
unsure = np.argsort(confidence)[:2]
for query in unsure:
    truth, predicted = y_test[query], explanation.query_labels[query]
    print(f"query {query}: {confidence[query]:.0%} sure of {predicted}, in truth {truth}")

explanation.plot(unsure, k=5)
plt.show()

# %%
# Do the exemplars tell when to doubt a prediction?
# -------------------------------------------------
# ``agreement`` is the share of a query's exemplars that have the predicted class. Fifty exemplars
# per query reach further than five.

agree = explain(search, X_test, k=50).agreement == 1
correct = explanation.query_labels == y_test
for name, queries in (("all exemplars agree", agree), ("some disagree", ~agree)):
    print(f"{name}: {queries.sum()} queries, {(~correct[queries]).sum()} predicted wrongly")

# %%
# The default architecture, ``"class_conditional"``, predicts the class first and then names rows
# inside it, so that exemplars always agree; ``routing="soft"`` brings in rows of other classes.
# See :ref:`provenance_networks`.
