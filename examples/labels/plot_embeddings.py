"""
What kinds of rows does a class consist of?
===========================================

The index branch has to tell the rows of a class apart, so its features know more than the class:
slant, stroke, style. Clusters of these features show the kinds of rows that a class is made of, and
each kind is best described by its exemplars.
"""

# %%
# A network for handwritten digits
# --------------------------------

import matplotlib.pyplot as plt
import numpy as np

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import load_digits
from sklearn_provenance.inspection import embedding_clusters

X, y = load_digits("train", return_X_y=True)
X_test, y_test = load_digits("test", return_X_y=True)
clf = ProvenanceClassifier(backbone="mlp", max_epochs=20, random_state=0).fit(X, y)
print(f"test accuracy {clf.score(X_test, y_test):.3f}")

# %%
# Kinds of ones
# -------------
# ``embedding_clusters`` takes the features that ``transform`` returns, clusters those of one class
# by k-means, and names the rows of each cluster that are closest to its centre. The map on the left
# is for the eye only: distances and clusters are those of the features.

result = embedding_clusters(clf, label=1, n_clusters=3, random_state=0)
result.plot()
plt.show()

# %%
# The table has a line for each row, the most typical of each cluster first.

frame = result.to_frame()
print(frame.groupby("cluster").head(2).round(2).to_string(index=False))

# %%
# How many kinds are there?
# -------------------------
# K-means finds as many clusters as it is asked for. Whether they are real is another question. We
# train again from other initial weights, cluster again, and see whether rows that were together
# stay together. The adjusted Rand index is 1 if all do, and 0 on average by chance.

from sklearn.metrics import adjusted_rand_score

other = ProvenanceClassifier(backbone="mlp", max_epochs=20, random_state=1).fit(X, y)
for label in (1, 4, 7):
    for n_clusters in (2, 3, 4):
        pair = [
            embedding_clusters(
                c, label=label, n_clusters=n_clusters, embedding="pca", random_state=0
            ).clusters
            for c in (clf, other)
        ]
        print(f"digit {label}, {n_clusters} clusters: {adjusted_rand_score(*pair):.2f}")

# %%
# Most of these clusters are not there in the other network. Two kinds of ones come back best, those
# with a flag and those without. Before you read styles into clusters, look whether they come back.

# %%
# New rows
# --------
# Rows that the network has not seen can be clustered too. Their exemplars are still training rows.

result = embedding_clusters(
    clf, X_test, y_test, label=7, n_clusters=2, embedding="pca", random_state=0
)
print(f"test rows in each cluster: {np.bincount(result.clusters)}")
result.plot()
plt.show()
