"""
Do two methods name the same training images?
=============================================

Explanations of the same queries by several methods stand side by side: as figure, as page to work
in, and as numbers. Here three methods explain a network that reads letters in many fonts.
"""

# %%
# Letters in many fonts
# ---------------------
# Matplotlib ships some thirty fonts. We draw C, G, O and Q with all of them, at eleven angles each.

import pathlib

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ft2font import FT2Font
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import GradDotAttributor, RepSimAttributor
from sklearn_provenance.explanation import compare


def draw(letter, font, angle, side=20):
    """Draw a letter in the middle of a square image."""
    font.set_size(15, 72)
    font.set_text(letter, angle)
    font.draw_glyphs_to_bitmap()
    drawn = font.get_image()[:side, :side]
    image = np.zeros((side, side), dtype=np.float32)
    top, left = (side - np.array(drawn.shape)) // 2
    image[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn / 255
    return image


files = sorted(pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf"))
files = [file for file in files if file.name.startswith(("DejaVu", "STIXGen"))]
fonts = [FT2Font(str(file)) for file in files if "Display" not in file.name]
images, letters = [], []
for letter in "CGOQ":
    for font in fonts:
        for angle in range(-25, 30, 5):
            images.append(draw(letter, font, angle))
            letters.append(letter)
X, y = np.array(images).reshape(len(images), -1), np.array(letters)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=1)
network = MLPClassifier((32,), max_iter=300, random_state=0).fit(X_train, y_train)
print(f"{len(fonts)} fonts, {len(X_train)} training images")
print(f"test accuracy {network.score(X_test, y_test):.3f}")

# %%
# Three explanations of the same queries
# --------------------------------------
# Two letters that the network gets wrong, and two that it gets right. All methods may name letters
# of any kind.

predicted = network.predict(X_test)
queries = [*np.flatnonzero(predicted != y_test)[:2], *np.flatnonzero(predicted == y_test)[:18]]
methods = {
    "information gain": InfoGainAttributor(network, candidates="all"),
    "similarity": RepSimAttributor(network, candidates="all"),
    "gradients": GradDotAttributor(network, candidates="all"),
}
explanations = {
    name: method.fit(X_train, y_train).explain(X_test[queries], k=4)
    for name, method in methods.items()
}
comparison = compare(
    {
        name: found._replace(image_shape=(20, 20), true_labels=y_test[queries])
        for name, found in explanations.items()
    }
)
comparison.plot(max_queries=2)
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

comparison.to_html(title="Letters, three methods")
