"""
What kinds of rows does a class consist of?
===========================================

The index branch has to tell the rows of a class apart, so its features know more than the class.
Clusters of these features show the kinds of rows that a class is made of, and each kind is best
described by its exemplars.
"""

# %%
# A network for letters
# ---------------------
# Small letters in the fonts that Matplotlib ships, at nine angles. The network is told which letter
# it sees, and nothing of fonts or angles.

import matplotlib.pyplot as plt
import pandas as pd

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import load_letters
from sklearn_provenance.inspection import embedding_clusters

letters = load_letters("all", letters="aeg")
X, y = letters.data, letters.target_names[letters.target]
clf = ProvenanceClassifier(backbone="mlp", max_epochs=20, random_state=0).fit(X, y)
print(f"{len(X)} training images, accuracy {clf.score(X, y):.3f}")

# %%
# Kinds of a
# ----------
# ``embedding_clusters`` takes the features that ``transform`` returns, clusters those of one class
# by k-means, and names the rows of each cluster that are closest to its centre. The map on the left
# is for the eye only: distances and clusters are those of the features.

result = embedding_clusters(clf, label="a", n_clusters=3, random_state=0)
result.plot()
plt.show()

# %%
# What do the clusters stand for? Fonts and angles of the letters are known. The table of the result
# has a line for each row, the most typical of each cluster first.

frame = result.to_frame()
for property in ("family", "angle"):
    print(pd.crosstab(frame["cluster"], letters[property][frame["row"]]).to_string(), "\n")

# %%
# How many kinds are there?
# -------------------------
# K-means finds as many clusters as it is asked for. Whether they are real is another question. We
# train again from other initial weights, cluster again, and see whether rows that were together
# stay together. The adjusted Rand index is 1 if all do, and 0 on average by chance.

from sklearn.metrics import adjusted_rand_score

other = ProvenanceClassifier(backbone="mlp", max_epochs=20, random_state=1).fit(X, y)
for label in ("a", "e", "g"):
    for n_clusters in (2, 3, 4):
        pair = [
            embedding_clusters(
                c, label=label, n_clusters=n_clusters, embedding="pca", random_state=0
            ).clusters
            for c in (clf, other)
        ]
        print(f"letter {label}, {n_clusters} clusters: {adjusted_rand_score(*pair):.2f}")

# %%
# What comes back in another network is more than an accident of training. Before you read styles
# into clusters, look whether they come back.
