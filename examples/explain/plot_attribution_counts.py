"""
Who decides this trend? Influence in a regression of counts
===========================================================

A Poisson regression says that heavier people jump less. Which rows does it have that from?
Leverage, Cook's distance and predictions without a row find one man who decides the sign, and show
that the man with by far the most jumps is not he.
"""

# %%
# Counts
# ------
# The Linnerud data of scikit-learn: twenty men of a fitness club, their weight in pounds, waist in
# inches and pulse, and how many jumps they managed. Counts ask for a Poisson regression. It has no
# penalty here, so that its coefficients can be read.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_linnerud
from sklearn.linear_model import PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfluenceAttributor

data = load_linnerud(as_frame=True)
men = data.target.rename(index=lambda row: f"man {row}")
jumps = data.data["Jumps"].to_numpy()

model = make_pipeline(StandardScaler(), PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000))
model.fit(men, jumps)
coefficients = pd.Series(model[-1].coef_, index=men.columns)
print("log of the expected jumps, for one standard deviation more of")
print(coefficients.round(3).to_string())

# %%
# Leverage is not residual
# ------------------------
# The diagnostics of regression are attributes of the attributor. A *residual* is large where a man
# jumps more than the model expects. *Leverage* is large where his measures are unlike all others',
# so that the model has to follow him. Cook's distance takes both together: how much the fit moves
# without him.

attributor = InfluenceAttributor(model, direction="any").fit(men, jumps)
diagnostics = men.assign(
    jumps=jumps,
    expected=model.predict(men).round(),
    leverage=attributor.leverage_.round(2),
    residual=attributor.studentized_residuals_.round(1),
    cook=attributor.cooks_distance_.round(1),
)
print(diagnostics.sort_values("cook", ascending=False).head(5))

# %%
# The man with 250 jumps has the largest residual, but his leverage is ordinary. The first of the
# list has a waist of 31 inches at 176 pounds, less than the man of 138 pounds. Nobody else
# tells weight and waist apart as he does.
#
# Residuals of this size say something else, too: counts vary far more than a Poisson distribution
# allows, so that its standard errors are far too small. Influence does not rely on them.
#
# The coefficients without one man
# --------------------------------
# Train again without each man in turn. One of them turns the sign around: with the others alone,
# heavier men jump more, and it is the waist that tells who jumps less.

without_each = np.stack(
    [
        clone(model).fit(men.drop(index=man), np.delete(jumps, row))[-1].coef_
        for row, man in enumerate(men.index)
    ]
)
top = int(np.argmax(attributor.cooks_distance_))
table = pd.DataFrame({"all": model[-1].coef_, "without him": without_each[top]}, index=men.columns)
print(men.index[top], table.round(2), sep="\n")

# %%
# What it does to a prediction
# ----------------------------
# Somebody of 230 pounds and 42 inches asks. ``attribute`` says by how many jumps his prediction
# would fall without each man alone; negative scores are those of men without whom it would rise.
# ``explain`` names men whose joint removal moves it most, and the parts of the columns in that.

asked = pd.DataFrame({"Weight": [230.0], "Waist": [42.0], "Pulse": [56.0]}, index=["he"])
drops = attributor.attribute(asked)[0]
explanation = attributor.explain(asked, k=3)
print(explanation)
print("\njumps expected of him:                  ", model.predict(asked).round(1))
print("without these three, predicted:         ",
      attributor.predict_without(asked, explanation.indices[0]).round(1))  # fmt: skip
kept = np.setdiff1d(np.arange(len(men)), explanation.indices[0])
print("without these three, trained again:     ",
      clone(model).fit(men.iloc[kept], jumps[kept]).predict(asked).round(1))  # fmt: skip

# %%
# On the left, every man by leverage and residual, the area of a disc being Cook's distance. On the
# right, what the scores are worth: the change that was predicted for the one who asks, beside that
# of training again without each man.

before = model.predict(asked)[0]
trained_again = [
    before - clone(model).fit(men.drop(index=man), np.delete(jumps, row)).predict(asked)[0]
    for row, man in enumerate(men.index)
]
most_jumps = int(np.argmax(jumps))
colors = np.full(len(men), "#999999")
colors[top], colors[most_jumps] = "#D55E00", "#0072B2"

fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")
axes[0].scatter(
    attributor.leverage_,
    attributor.studentized_residuals_,
    s=20 + 30 * attributor.cooks_distance_,
    c=colors,
    alpha=0.75,
)
for row, place in ((top, (-8, 22)), (most_jumps, (14, -3))):
    axes[0].annotate(
        f"{men.index[row]}, {jumps[row]:.0f} jumps",
        (attributor.leverage_[row], attributor.studentized_residuals_[row]),
        xytext=place,
        textcoords="offset points",
        ha="right" if row == top else "left",
    )
axes[0].set(xlabel="leverage", ylabel="studentized residual", title="Leverage is not residual")
axes[1].axline((0, 0), slope=1, color="0.7", lw=0.8)
axes[1].scatter(drops, trained_again, c=colors, s=36)
axes[1].set(
    xlabel="predicted drop without the man (jumps)",
    ylabel="drop after training again (jumps)",
    title="One prediction without each man",
)
for ax in axes:
    ax.grid(alpha=0.3)
plt.show()

# %%
# Twenty men are few, and this is what few rows look like from inside: before a trend is reported,
# ask who decides it. :ref:`influence` has the definitions.
