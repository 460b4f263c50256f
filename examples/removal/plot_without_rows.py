"""
What would the model say if these rows were gone?
=================================================

A hospital withdraws its patients, a sensor turns out to have been broken: what would the
predictions have been without these rows? Influence answers without training again, and here we
train again to see whether it is right.
"""

# %%
# A ridge regression on diabetes
# ------------------------------
# Ten measurements of 442 patients, and how far the disease had got a year later.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

from sklearn_provenance import InfluenceAttributor

data = load_diabetes(as_frame=True, scaled=False)
X, y = data.data, data.target.to_numpy()
X = (X - X.mean()) / X.std()
model = Ridge(alpha=10).fit(X, y)
attributor = InfluenceAttributor(model).fit(X, y)

# %%
# Without the oldest patients
# ---------------------------
# ``predict_without`` takes any rows. A quadratic loss makes it exact, whatever their number.

age = data.data["age"]
oldest = np.flatnonzero(age > age.quantile(0.8))
predicted = attributor.predict_without(X, oldest)
kept = np.setdiff1d(np.arange(len(y)), oldest)
trained_again = Ridge(alpha=10).fit(X.iloc[kept], y[kept]).predict(X)
print(f"without {len(oldest)} rows, largest error {np.abs(predicted - trained_again).max():.1e}")

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
change = predicted - model.predict(X)
points = left.scatter(data.data["bmi"], change, c=age, s=14, cmap="viridis")
left.axhline(0, color="0.6", linewidth=1)
left.set(xlabel="body mass index", ylabel="change of the prediction")
fig.colorbar(points, ax=left, label="age")
right.plot(trained_again, predicted, ".", color="#0072B2")
right.axline((150, 150), slope=1, color="0.6", linewidth=1)
right.set(xlabel="trained again", ylabel="predicted without training")
plt.show()

# %%
# Which rows would have to go?
# ----------------------------
# The other way round: for four patients near the median, the rows without which the prediction
# would fall below 140. ``certify`` trains again without them, and without as many random rows.

near = np.flatnonzero(np.abs(model.predict(X) - 146) < 4)[:4]
sets = attributor.flipping_set(X.iloc[near], threshold=140)
print(sets)
certificate = attributor.certify(X.iloc[near], sets, n_random=19)
print(certificate)
certificate.plot()
plt.show()
