"""
How much should the network memorise?
=====================================

In a single branch the class follows from the training row that the network names. ``alpha`` says
what it is trained to name: at 0 always the row itself, at 1 always another row of the same class,
and in between a mixture. Here we look at both ends on digits and choose a value.
"""

# %%
# Two accuracies
# --------------
# *Index accuracy* is the share of training rows for which the network names that very row. It
# measures memorisation. *Class accuracy* is measured in two ways: by the label of the most probable
# training row, and by the class on whose rows most of the probability falls, which is what
# ``predict`` returns.
#
# Pixels are given as flat rows, so that the network is a small multilayer perceptron.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import load_digits

X, y = load_digits("train", test_size=0.5, return_X_y=True)
X_test, y_test = load_digits("test", test_size=0.5, return_X_y=True)
X, X_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)


def fit(alpha, max_epochs=20):
    clf = ProvenanceClassifier(
        "single_branch", alpha=alpha, width="small", max_epochs=max_epochs, random_state=0
    )
    return clf.fit(X, y)


def measure(clf):
    named, named_test = clf.predict_index(X), clf.predict_index(X_test)
    return {
        "training row itself": np.mean(named == np.arange(len(y))),
        "training, label of the row named": np.mean(y[named] == y),
        "test, label of the row named": np.mean(y[named_test] == y_test),
        "test, predicted class": clf.score(X_test, y_test),
    }


def show(result):
    return ",  ".join(f"{name}: {value:.3f}" for name, value in result.items())


classifiers = {alpha: fit(alpha) for alpha in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)}
results = {alpha: measure(clf) for alpha, clf in classifiers.items()}
for alpha, result in results.items():
    print(f"alpha={alpha:<3}", show(result))

# %%
# The right panel shows the upper fifth of the left one.

styles = {
    "training row itself": {"color": "#D55E00", "marker": "o"},
    "training, label of the row named": {"color": "#E69F00", "marker": "s", "linestyle": "--"},
    "test, label of the row named": {"color": "#56B4E9", "marker": "s"},
    "test, predicted class": {"color": "#0072B2", "marker": "^"},
}
fig, panels = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", sharex=True)
for panel in panels:
    for name, style in styles.items():
        panel.plot(list(results), [r[name] for r in results.values()], label=name, **style)
    panel.set_xlabel("alpha")
    panel.grid(alpha=0.3)
panels[0].set(ylabel="accuracy", ylim=(-0.03, 1.03))
panels[1].set(ylim=(0.795, 1.005))
fig.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
plt.show()

# %%
# Index accuracy falls for want of training
# -----------------------------------------
# A row's own target is the largest of its targets as long as alpha stays below (K - 1) / K, where K
# is the number of training rows of its class. But the closer the targets are to each other, the
# longer the network takes to tell them apart. Three times as many epochs at alpha = 0.9:

print(f"K is at least {np.bincount(y).min()}")
print("20 epochs:", show(results[0.9]))
print("60 epochs:", show(measure(fit(0.9, max_epochs=60))))

# %%
# What alpha changes in an explanation
# ------------------------------------
# At alpha = 0 the rows named are those that look like the query, whatever their class. At a large
# alpha they share a class. Here are the three test rows whose exemplars agree least at alpha = 0:

explanations = {alpha: classifiers[alpha].explain(X_test, k=5) for alpha in (0, 0.9)}
hard = np.argsort(explanations[0].agreement, kind="stable")[:3]
print("in truth:", y_test[hard])
for alpha, explanation in explanations.items():
    agreement = explanation.agreement.mean()
    print(f"\nalpha={alpha}: {agreement:.1%} of all exemplars have the predicted class")
    print(explanation[hard])

# %%
# Choose alpha by cross-validation if the class of the named rows is what counts, as in
# :ref:`sphx_glr_auto_examples_plot_pipeline_tabular.py`. Choose 0 if the labels themselves are in
# doubt: then they must not steer what is named, see
# :ref:`sphx_glr_auto_examples_plot_label_errors.py`.
