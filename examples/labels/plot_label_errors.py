"""
Which of my labels may be wrong?
================================

Ask which *other* training rows the network names for a training row. If their labels contradict its
own, the label deserves a second look. For that the network must not have learnt the label: a single
branch with ``alpha=0`` is trained on row numbers alone. And which rows are odd, whatever their
label? Those that are far from all others in what the network has learnt.
"""

# %%
# Wrong labels, put in on purpose
# -------------------------------
# C, G, O and Q in the fonts that Matplotlib ships. We give one in twenty of them a wrong label, so
# that we can tell whether they are found.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import flip_labels, load_letters
from sklearn_provenance.evaluation import label_error_ranking, label_loss
from sklearn_provenance.inspection import ProvenanceOutlierDetector, anomaly_ranking


def read(subset):
    loaded = load_letters(subset, letters="CGOQ")
    return loaded.data, loaded.target_names[loaded.target]


X, y_true = read("train")
X_test, y_test = read("test")
y, wrong = flip_labels(y_true, 0.05, random_state=0)
print(f"{wrong.sum()} of {len(y)} labels are wrong")

# %%
# Rows whose exemplars have another label
# ---------------------------------------
# ``anomaly_ranking`` scores every training row by the others. By "disagreement" the score is the
# share of its exemplars that carry another label. We compare it with the loss of the network, for
# which no exemplars are needed, and with neighbours in the space of pixels.

classifiers, scores = {}, {}
for alpha in (0, 0.3):
    # A multilayer perceptron is enough for these letters, and quicker than convolutions.
    clf = ProvenanceClassifier(
        "single_branch", alpha=alpha, backbone="mlp", max_epochs=20, random_state=0
    )
    classifiers[alpha] = clf.fit(X, y)
    ranking = anomaly_ranking(clf, "disagreement")
    scores[f"disagreement, alpha={alpha}"] = ranking.scores
scores["loss"] = label_loss(classifiers[0.3], X, y)

neighbours = KNeighborsClassifier(n_neighbors=10).fit(X.reshape(len(X), -1).astype(float), y)
named = neighbours.kneighbors(return_distance=False)
scores["10 nearest in pixels"] = np.mean(y[named] != y[:, None], axis=1)

result = label_error_ranking(scores, wrong)
print(result.to_frame().round(3).to_string(index=False))

# %%
# Why alpha matters here
# ----------------------
# With alpha above 0 the target of a wrongly labelled row includes rows of its wrong class, so the
# network learns to name rows that confirm the error. With ``alpha=0`` each row is asked for itself
# only and no label enters the loss; the rows named after it are those that look alike. (The class
# conditional architecture cannot serve as it stands: it names rows of one class only.) A network
# that is stopped early does not confirm the errors yet, whatever its alpha; see the user guide for
# figures.
#
# On these letters distances between pixels tell wrong labels as well. A network is worth its time
# where distances between raw inputs mean less.

result.plot()
plt.show()

# %%
# The top suspects
# ----------------
# The query is a training row with the label it was given. Orange exemplars carry another label.

suspects = np.argsort(-scores["disagreement, alpha=0"], kind="stable")[:4]
for row in suspects:
    print(f"row {row}: given {y[row]}, in truth {y_true[row]}")

classifiers[0].explain(k=10).plot(suspects, k=5)
plt.show()

# %%
# Odd rows
# --------
# By "distance" a row is anomalous that has no close neighbours in the features of the index branch.
# Rows are ranked inside their class: some classes are more varied than others.

clf = ProvenanceClassifier(backbone="mlp", max_epochs=20, random_state=0).fit(X, y_true)
anomaly_ranking(clf).plot(labels=["C", "G", "O", "Q"])
plt.show()

# %%
# New rows
# --------
# The same score tells whether new rows are like those that the network was trained on.
# ``ProvenanceOutlierDetector`` has the interface of scikit-learn's outlier detectors. It sets its
# threshold such that a tenth of the training rows, each scored by the others, is beyond.

detector = ProvenanceOutlierDetector(clf, contamination=0.1).fit(X)
turned = np.rot90(X_test, axes=(1, 2))
for name, images in {"new letters": X_test, "turned by a quarter": turned}.items():
    print(f"{name:<20} {np.mean(detector.predict(images) == -1):.0%} are outliers")
pooled = detector.score_samples(np.concatenate([X_test, turned]))
print(f"ROC AUC {roc_auc_score(np.repeat([1, 0], len(X_test)), pooled):.3f}")
