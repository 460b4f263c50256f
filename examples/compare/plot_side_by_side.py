"""
Do two methods name the same training rows?
===========================================

Explanations of the same queries by several methods stand side by side: as figure, as page to work
in, and as numbers. Here three methods explain which iris this is, in a plane where one can see what
each of them looks for.
"""

# %%
# Irises
# ------
# The best known data of all: 150 flowers of three species, and the length and width of their petals
# and sepals. Setosa stands apart; versicolor and virginica meet.

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor
from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.explanation import compare

iris = load_iris(as_frame=True)
species = iris.target_names[iris.target]
X_train, X_test, y_train, y_test = train_test_split(
    iris.data, species, test_size=0.4, random_state=0, stratify=species
)
model = make_pipeline(StandardScaler(), LogisticRegression(C=10)).fit(X_train, y_train)
print(f"{len(X_train)} training rows, test accuracy {model.score(X_test, y_test):.3f}")

# %%
# Three explanations of the same queries
# --------------------------------------
# All methods may name flowers of any species. The prediction that is looked at is the one that the
# model is least sure of.

methods = {
    "InfoGain": InfoGainAttributor(model, candidates="all", noise_variance="0.1*diagonal"),
    "similarity": RepSimAttributor(model, candidates="all"),
    "influence": InfluenceAttributor(model),
}
explanations = {
    name: method.fit(X_train, y_train).explain(X_test, k=6)._replace(true_labels=y_test)
    for name, method in methods.items()
}
comparison = compare(explanations)
query = int(model.predict_proba(X_test).max(axis=1).argmin())
asked = X_test.iloc[query]

fig, panels = plt.subplots(1, 3, figsize=(10.5, 3.9), sharex=True, sharey=True)
colors = {"setosa": "#009E73", "versicolor": "#E69F00", "virginica": "#7570B3"}
for panel, (name, explanation) in zip(panels, explanations.items(), strict=True):
    for kind, color in colors.items():
        rows = X_train[y_train == kind]
        panel.scatter(rows.iloc[:, 2], rows.iloc[:, 3], s=16, color=color, alpha=0.45, label=kind)
    named = X_train.iloc[explanation.indices[query]]
    panel.scatter(named.iloc[:, 2], named.iloc[:, 3], s=90, fc="none", ec="black", label="named")
    panel.plot(asked.iloc[2], asked.iloc[3], "X", color="#D55E00", markersize=10, label="query")
    panel.set(title=name, xlabel=X_train.columns[2])
panels[0].set_ylabel(X_train.columns[3])
fig.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=5, frameon=False)
fig.subplots_adjust(left=0.07, right=0.99, top=0.9, bottom=0.26, wspace=0.06)
plt.show()

# %%
# Similarity names flowers that are like this one, influence those on which the line between the two
# species rests. InfoGain names a set: after the first rows, what is unlike them tells more.
#
# The same as a table, with all columns: the first line is the query.

comparison.plot([query], k=3)
plt.show()

# %%
# What they have in common
# ------------------------
# On average over the queries; rows named at random would hardly ever be the same.

print(comparison)
print(f"by chance {comparison.chance:.4f}")

# %%
# The first rows on which two methods agree:

lines = comparison.to_frame()
agreed = lines[lines["named_by"] > 1].drop_duplicates(["query", "index"])
print(agreed[["query", "query_label", "index", "label", "named_by"]].head(8).to_string(index=False))

# %%
# The page to work in
# -------------------
# ``to_html`` writes the same as a page, which sorts queries by what methods have in common. Click
# an exemplar: the page shows every query that it serves, by any method.

comparison.to_html(title="Irises, three methods")
