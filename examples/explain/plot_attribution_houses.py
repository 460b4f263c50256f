"""
Why is this house so dear? One wrong row behind a prediction of trees
=====================================================================

A price that a model predicts far too high often goes back to one training row. For a random forest
the weights of all rows in a prediction are known exactly; for gradient boosting there is influence.
Both find a row whose price has a digit too many, in a table with categories and missing values.
"""

# %%
# A table of houses
# -----------------
# Six hundred sales, made up: district and heating are categories, some years of construction are
# missing. In one row somebody typed a zero too many.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from sklearn_provenance.attribution import BoostInAttributor, ForestAttributor

rng = np.random.default_rng(0)
n = 603
per_metre = pd.Series({"harbour": 6.1, "old town": 5.2, "hill": 4.3, "station": 3.4, "fields": 2.6})
district = rng.choice(per_metre.index, n, p=[0.1, 0.2, 0.2, 0.25, 0.25])
heating = rng.choice(["gas", "oil", "heat pump"], n, p=[0.5, 0.3, 0.2])
area = rng.gamma(9, 13, n).round()
built = rng.integers(1890, 2024, n).astype(float)
price = area * per_metre[district].to_numpy() * (1 + 0.1 * (heating == "heat pump"))
price *= (1 + 0.002 * (built - 1950)) * rng.lognormal(0, 0.08, n)
built[rng.random(n) < 0.15] = np.nan

houses = pd.DataFrame(
    {
        "district": pd.Categorical(district),
        "heating": pd.Categorical(heating),
        "area": area,
        "built": built,
    },
    index=[f"sale {i}" for i in range(n)],
)
X, y = houses[:600], price[:600].round()
typed = int(np.flatnonzero((X["district"] == "harbour") & (X["area"] > 150))[0])
y[typed] *= 10
# Three houses for sale; the first is not unlike the one with the wrong price.
asked = houses[600:].copy()
asked.loc["sale 600"] = ["harbour", "gas", 205.0, 2006.0]
print(X.iloc[[typed]].assign(price=y[typed]))

# %%
# What a forest's prediction is made of
# -------------------------------------
# Every prediction of a forest is a weighted mean of training prices. The weight of a row is its
# share in the query's leaves, on average over the trees. ``weights`` gives them as a sparse matrix.

columns = make_column_transformer(
    (OrdinalEncoder(), ["district", "heating"]),
    remainder="passthrough",
    verbose_feature_names_out=False,
)
forest = make_pipeline(columns, RandomForestRegressor(200, min_samples_leaf=5, random_state=0))
forest.fit(X, y)
made_of = ForestAttributor(forest).fit(X, y)

weights = made_of.weights(asked)
print("predicted prices:        ", forest.predict(asked).round())
print("weighted sums of prices: ", (weights @ y).round())

explanation = made_of.explain(asked, k=6)
explanation.plot([0], k=6)
plt.show()

# %%
# By weight the wrong row is one neighbour among others. By what it adds to the price, weight times
# price, it stands out. Without it the same trees say something else:

parts = weights[[0]].toarray()[0] * y  # they add up to the prediction
largest = np.argsort(-parts)[:8]
print(pd.DataFrame({"weight": weights[[0]].toarray()[0][largest], "price": y[largest],
                    "part": parts[largest].round()}, index=X.index[largest]))  # fmt: skip
without = made_of.predict_without(asked, [typed])
print("without the wrong row:   ", without.round())

# %%
# Influence on boosting
# ---------------------
# Boosting takes the table as it is, categories and missing years included. Its prediction is no
# weighted mean, since each round starts from what the rounds before left over. BoostIn adds up what
# a row did to the leaves of the query, round by round: by how much the price would drop without it.

boosting = HistGradientBoostingRegressor(
    categorical_features="from_dtype", min_samples_leaf=5, random_state=0
).fit(X, y)
influence = BoostInAttributor(boosting).fit(X, y)
ranked = influence.explain(asked, k=3)
print(ranked.to_frame().drop(columns=["query", "index"]).to_string(index=False))

# %%
# Is it true?
# -----------
# Train again without each of a few rows, those of largest and smallest influence and some between,
# and compare what the price of the first house does.

scores = influence.attribute(asked)[0]
order = np.argsort(scores)
tried = np.unique(np.concatenate([order[:10], order[-10:], order[10:-10:60]]))
refitted = influence.leaf_refit(asked[:1], rows=tried)[0]
before = boosting.predict(asked[:1])[0]
drops = []
for row in tried:
    kept = np.delete(np.arange(len(y)), row)
    again = HistGradientBoostingRegressor(**boosting.get_params()).fit(X.iloc[kept], y[kept])
    drops.append(before - again.predict(asked[:1])[0])

fig, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
colors = np.where(np.isin(largest, typed), "#D55E00", "#0072B2")
axes[0].barh([X.index[row] for row in largest][::-1], parts[largest][::-1], color=colors[::-1])
axes[0].set(xlabel="weight × price", title="Forest: parts of the predicted price")
for values, label, marker in ((scores[tried], "BoostIn", "o"), (refitted, "leaf refit", "x")):
    axes[1].scatter(values, drops, marker=marker, label=label, alpha=0.8)
axes[1].scatter(scores[typed], drops[list(tried).index(typed)], s=140, fc="none", ec="#D55E00")
axes[1].annotate(
    f"{X.index[typed]}, the wrong row",
    (scores[typed], drops[list(tried).index(typed)]),
    xytext=(-4, -24),
    textcoords="offset points",
    ha="right",
    color="#D55E00",
)
axes[1].axline((0, 0), slope=1, color="grey", lw=0.8)
axes[1].set(
    xlabel="predicted drop without the row",
    ylabel="drop after training again",
    title="Boosting: influence of single rows",
)
axes[1].legend()
plt.show()

# %%
# The wrong row is far to the right of all others, and training again confirms it. Small influences
# are not told: without a row, trees split elsewhere, which BoostIn and leaf refitting hold fixed,
# and here that moves the price by some hundreds either way. :ref:`trees` has the definitions, and
# what they are worth on other data.
