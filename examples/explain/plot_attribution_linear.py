"""
How many training rows does a prediction rest on?
=================================================

For a linear classifier all of attribution can be looked at in full: its tangent features are the
inputs themselves. We follow the information about a prediction from the first row picked to the
last row there is, in the three ways of counting that the attributors offer.
"""

# %%
# A linear model
# --------------
# The wine data of scikit-learn: 13 chemical measurements of wines from three growers.
#
# The derivative of a class's logit, :math:`w_c \cdot x + b_c`, by the weights of that class is
# :math:`(x, 1)`, and 0 by all others. So the tangent kernel is
# :math:`k(x, x') = x \cdot x' + 1`, with x as the scaler leaves it. The noise variance σ² says how
# much one row can tell at most. Here it is the mean of k(x, x);
# :ref:`sphx_glr_auto_examples_choose_plot_noise_variance.py` chooses it by cross-validation.
#
# The *effective dimension* is the number of directions in which the rows tell more than the noise
# hides. It is at most 14 here, 13 columns and a constant.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.tangent import effective_dimension

wine = load_wine()
X, X_test, y, y_test = train_test_split(
    wine.data, wine.target, test_size=40, random_state=0, stratify=wine.target
)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
scale = InfoGainAttributor(model, noise_variance="diagonal").fit(X, y).noise_variance_
features = np.column_stack([model[0].transform(X), np.ones(len(X))])
print(f"{len(X)} training rows, test accuracy {model.score(X_test, y_test):.3f}")
print(f"mean k(x, x) = {scale:.0f}, effective dimension {effective_dimension(features, scale):.1f}")

# %%
# From one row to all of them
# ---------------------------
# ``k`` can be as large as the training set. The scores of a query add up, so their running sum is
# the information of the first 1, 2, 3, ... rows picked. We let rows of all classes be picked, for
# 20 test rows.

attributors = {
    "InfoGain": InfoGainAttributor(model, noise_variance=scale, candidates="all"),
    "InfoGain, linear response": InfoGainAttributor(
        model, noise_variance=scale, candidates="all", solver="linear_response"
    ),
    "InfoLoss": InfoLossAttributor(model, noise_variance=scale, candidates="all"),
}
nats, named = {}, {}
for name, attributor in attributors.items():
    explanation = attributor.fit(X, y).explain(X_test[:20], k=len(X))
    nats[name], named[name] = explanation.scores.cumsum(axis=1), explanation.indices

total = nats["InfoGain"][:, -1:]
print(f"information of all rows: {total.min():.2f} to {total.max():.2f} nats\n")
print("share of it               " + "".join(f"{f'k = {k}':>10}" for k in (1, 5, 20, 50, 100)))
for name, values in nats.items():
    share = (values / total).mean(axis=0)
    print(f"{name:<26}" + "".join(f"{share[k - 1]:10.1%}" for k in (1, 5, 20, 50, 100)))

# %%
# Two questions, two curves
# -------------------------
# *InfoGain* asks how certain the prediction would be with these rows alone. The first few rows give
# much, and what comes after them repeats a good part of it.
#
# *InfoLoss* asks how much certainty goes if these rows are withheld and all others stay. The first
# rows are hardly missed, since others stand in for them. It takes most of the data to be withheld
# before the certainty is gone.
#
# At the right end both ask the same question, everything against nothing, and give the same answer.

colors = {
    "InfoGain": "#0072B2",
    "InfoGain, linear response": "#56B4E9",
    "InfoLoss": "#D55E00",
}
counts = np.arange(1, len(X) + 1)
fig, panels = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
for panel, logarithmic in zip(panels, (False, True), strict=True):
    for name, values in nats.items():
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        style = "--" if "linear" in name else "-"
        panel.plot(counts, middle, color=colors[name], linestyle=style, label=name)
        if "linear" not in name:
            panel.fill_between(counts, low, high, color=colors[name], alpha=0.15, linewidth=0)
    panel.set(xlabel="rows picked, k" + ", logarithmic" * logarithmic)
    panel.grid(alpha=0.3)
panels[1].set_xscale("log")
panels[0].set(ylabel="information of the first k rows\n(nats, median and quartiles)")
fig.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()

# %%
# How many, then?
# ---------------
# It depends on how much of the certainty is to be accounted for. Half takes few rows. The long tail
# is many rows that each repeat what others have said: a short list of exemplars is a summary of
# what the data say, not all that the prediction depends on.

reached = {share: (nats["InfoGain"] < share * total).sum(axis=1) + 1 for share in (0.25, 0.5, 0.9)}
for share, rows in reached.items():
    print(f"{share:.0%} of the nats: {np.median(rows):.0f} rows ({rows.min()} to {rows.max()})")

agree = {name: np.mean(y[rows[:, :20]] == y_test[:20, None]) for name, rows in named.items()}
pairs = zip(named["InfoGain"][:, :20], named["InfoLoss"][:, :20], strict=True)
shared = np.mean([len(set(a) & set(b)) / 20 for a, b in pairs])
print("\nOf the first 20 rows picked, those of the query's own class:")
for name, share in agree.items():
    print(f"{name:<26} {share:.0%}")
print(f"InfoGain and InfoLoss have {shared:.0%} of these 20 in common")

# %%
# A caution about linear models
# -----------------------------
# The fitted weights are nowhere in the kernel :math:`x \cdot x' + 1`: with ``"label_logit"`` any
# other weights that predict the same class give the same explanation. It says what the *data* have
# to say about this input, and the model enters by the class that it predicts. A network with hidden
# layers is different. There the features are those that it has learnt, see
# :ref:`sphx_glr_auto_examples_explain_plot_attribution_images.py`.
