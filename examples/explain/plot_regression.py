"""
Which training images is this predicted number made of?
=======================================================

:class:`~sklearn_provenance.ProvenanceRegressor` predicts a number and names training rows for it.
Here it reads pressure gauges.
"""

# %%
# Data and model
# --------------
# Drawn gauges from 0 to 10 bar: a ring, eleven marks and a needle. Dials differ in size, place and
# brightness, needles in length and width, and all are noisy.
#
# Pixels are given as flat rows, so that the network is a small multilayer perceptron;
# ``backbone="cnn"`` takes them as images and is slower.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_provenance import ProvenanceRegressor

SIDE = 24


def draw_gauge(bar, rng):
    """Draw a gauge; its scale runs from lower left over the top to lower right."""
    radius = rng.uniform(9, 11.5)
    down, right = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2 - rng.uniform(-1, 1, 2)[:, None, None]
    distance = np.hypot(down, right)
    turn = np.arctan2(right, -down)  # from the top, clockwise
    marks = np.deg2rad(np.linspace(-135, 135, 11))
    away = np.abs(turn[..., None] - marks) * distance[..., None]
    image = (np.abs(distance - radius) < 0.7) * 0.6
    image[(away.min(axis=-1) < 0.5) & (distance < radius) & (distance > radius - 2)] = 0.4
    angle = np.deg2rad(27 * bar - 135)
    along = right * np.sin(angle) - down * np.cos(angle)
    across = np.abs(right * np.cos(angle) + down * np.sin(angle))
    is_needle = (along > -2) & (along < rng.uniform(0.6, 0.85) * radius)
    image[is_needle & (across < rng.uniform(0.6, 1.3))] = 1
    image = image * rng.uniform(0.6, 1) + rng.normal(0, 0.05, image.shape)
    return (255 * image.clip(0, 1)).astype(np.uint8).ravel()


rng = np.random.default_rng(0)
bars = rng.uniform(0, 10, 700).round(1)
images = np.stack([draw_gauge(bar, rng) for bar in bars])
X, X_test, y, y_test = images[:500], images[500:], bars[:500], bars[500:]

reg = ProvenanceRegressor(
    alpha=0.9, backbone="mlp", width="small", dropout=0.2, input_shape=(SIDE, SIDE), random_state=0
).fit(X, y)
print(f"R² on test images: {reg.score(X_test, y_test):.3f}")

# %%
# What an explanation shows
# -------------------------
# The first image of each line is the query, with the pressure that the output branch predicts.
# The others are training images with theirs.

explanation = reg.explain(X_test, k=5)
explanation.plot([0, 1, 2, 3], k=5)
plt.show()

# %%
# What alpha does
# ---------------
# At ``alpha=0`` the index branch is trained to tell images apart, and the images that it takes for
# near ones need not show a near pressure. With ``alpha`` near 1 it is trained to name images of
# near pressures, and no longer the very image. The prediction comes from the output branch either
# way. On the vertical axis are the pressures of the training images that are named.

fig, panels = plt.subplots(1, 3, figsize=(10, 4.2), sharey=True, layout="constrained")
for panel, alpha in zip(panels, (0, 0.5, 1), strict=True):
    reg.set_params(alpha=alpha).fit(X, y)
    named = reg.explain(X_test, k=5).exemplar_labels
    apart = np.abs(named - y_test[:, None]).mean()
    index_accuracy = np.mean(reg.predict_index(X) == np.arange(len(X)))
    panel.scatter(np.repeat(y_test, 5), named.ravel(), s=5, alpha=0.4, color="tab:blue")
    panel.plot([0, 10], [0, 10], color="black", linewidth=0.8)
    panel.set_title(
        f"alpha = {alpha}\n{apart:.1f} bar from the query on average\n"
        f"R² {reg.score(X_test, y_test):.2f}, index accuracy {index_accuracy:.2f}",
        fontsize=10,
    )
    panel.set_xlabel("pressure of the query (bar)")
    panel.set_aspect("equal")
panels[0].set_ylabel("pressure of the five images named (bar)")
plt.show()
