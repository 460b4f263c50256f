"""
Which training images is this predicted number made of?
=======================================================

:class:`~sklearn_provenance.ProvenanceRegressor` predicts a number and names training rows for it.
Here it looks at a handwritten digit that somebody has turned, and says by how many degrees.
"""

# %%
# Data and model
# --------------
# Handwritten fours and sevens of scikit-learn, enlarged and turned by a random angle between -90
# and 90 degrees. The digits that test images are made of are not among those of training images.
#
# Pixels are given as flat rows, so that the network is a small multilayer perceptron;
# ``backbone="cnn"`` takes them as images and is slower.

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate, zoom

from sklearn_provenance import ProvenanceRegressor
from sklearn_provenance.datasets import load_digits


def turned(subset, n_images, seed):
    images, labels = load_digits(subset, return_X_y=True)
    images = images[np.isin(labels, [4, 7])]
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-90, 90, n_images).round(1)
    chosen = images[rng.integers(len(images), size=n_images)]
    pictures = [
        rotate(zoom(image.astype(float), 2, order=1), angle, reshape=False, order=1)
        for image, angle in zip(chosen, angles, strict=True)
    ]
    return np.clip(pictures, 0, 255).astype(np.uint8).reshape(n_images, -1), angles


X, y = turned("train", 600, seed=0)
X_test, y_test = turned("test", 200, seed=1)

reg = ProvenanceRegressor(
    alpha=0.9, backbone="mlp", width="small", dropout=0.2, input_shape=(16, 16), random_state=0
).fit(X, y)
print(f"R² on test images: {reg.score(X_test, y_test):.3f}")

# %%
# What an explanation shows
# -------------------------
# The first image of each line is the query, with the angle that the output branch predicts. The
# others are training images with their angles.

explanation = reg.explain(X_test, k=5)
explanation.plot([0, 1, 2, 3], k=5)
plt.show()

# %%
# What alpha does
# ---------------
# At ``alpha=0`` the index branch is trained to tell images apart, and the images that it takes for
# near ones need not have near angles. With ``alpha`` near 1 it is trained to name images of near
# angles, and no longer the very image. The prediction comes from the output branch either way. On
# the vertical axis are the angles of the training images that are named.

fig, panels = plt.subplots(1, 3, figsize=(10, 4.2), sharey=True, layout="constrained")
for panel, alpha in zip(panels, (0, 0.5, 1), strict=True):
    reg.set_params(alpha=alpha).fit(X, y)
    named = reg.explain(X_test, k=5).exemplar_labels
    apart = np.abs(named - y_test[:, None]).mean()
    index_accuracy = np.mean(reg.predict_index(X) == np.arange(len(X)))
    panel.scatter(np.repeat(y_test, 5), named.ravel(), s=5, alpha=0.4, color="tab:blue")
    panel.plot([-90, 90], [-90, 90], color="black", linewidth=0.8)
    panel.set_title(
        f"alpha = {alpha}\n{apart:.0f}° from the query on average\n"
        f"R² {reg.score(X_test, y_test):.2f}, index accuracy {index_accuracy:.2f}",
        fontsize=10,
    )
    panel.set_xlabel("angle of the query")
    panel.set_aspect("equal")
panels[0].set_ylabel("angles of the five images named")
plt.show()
