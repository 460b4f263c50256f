"""
Why was this text misread? The words behind a wrong prediction
==============================================================

A classifier of texts is wrong. Which training texts made it so, and by which words? Influence names
the texts whose removal takes the prediction back, and the part that each word of the query has in
that. Here two texts speak of statistics in a module that is not about statistics.
"""

# %%
# Texts
# -----
# The docstrings of SciPy's functions are short texts that are at hand wherever this package is.
# SciPy has two modules that speak of distributions: ``scipy.stats``, and ``scipy.special`` with the
# functions beneath. The label is the module that a function belongs to, the text is the docstring's
# beginning, before the list of parameters. A quarter of the functions is held back as a test, by
# their names.

import inspect
import textwrap
import zlib

import matplotlib.pyplot as plt
import numpy as np
import scipy
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_provenance import InfluenceAttributor

text_of = {}
for module in (scipy.special, scipy.stats):
    for name in sorted(module.__all__):
        text = (inspect.getdoc(getattr(module, name)) or "").split("\n\nParameters")[0]
        if callable(getattr(module, name)) and text and text not in text_of.values():
            text_of[f"{module.__name__.removeprefix('scipy.')}.{name}"] = text

names = np.array(list(text_of))
texts = np.array([" ".join(text.split()) for text in text_of.values()], dtype=object)
modules = np.array([name.split(".")[0] for name in names])
test = np.array([zlib.crc32(name.encode()) % 4 == 1 for name in names])
X, y, X_test, y_test = texts[~test], modules[~test], texts[test], modules[test]

model = make_pipeline(
    TfidfVectorizer(stop_words="english", sublinear_tf=True),
    LogisticRegression(C=10, tol=1e-8, max_iter=1000),
)
model.fit(X, y)
print(f"{len(X)} texts, {len(model[0].vocabulary_)} words, test accuracy", end=" ")
print(f"{model.score(X_test, y_test):.3f}")

# %%
# Mistakes
# --------
# These are the wrong predictions, the model's surest first.

predicted, sure = model.predict(X_test), model.predict_proba(X_test).max(axis=1)
wrong = np.flatnonzero(predicted != y_test)
wrong = wrong[np.argsort(-sure[wrong])]
for query in wrong:
    print(f"{names[test][query]}, taken for {predicted[query]} ({sure[query]:.0%} sure)")
    print(textwrap.indent(textwrap.shorten(X_test[query], 90), "    "))

# %%
# The texts behind a mistake
# --------------------------
# ``scipy.stats.ecdf`` estimates distributions from samples, which could hardly be more statistical.
# ``explain`` looks for the training texts whose joint removal lowers the log odds of the wrong
# module most. A score is by how much they fall with that text, after those before it.
#
# The model is linear in the words, so each word of the query has a part in the score: the change of
# its coefficient without the text, times its weight in the query. Words are marked where they
# stand, in the query and in the texts that have them too.

query = int(np.flatnonzero(names[test] == "stats.ecdf")[0])
attributor = InfluenceAttributor(model).fit(X, y, sample_id=names[~test])
explanation = attributor.explain(X_test[[query]], [predicted[query]], k=8)
explanation

# %%
# In words, with their parts. The intercept has a part as well, since a module with one text less is
# rarer. All parts add up to the score.

for rank, name in enumerate(explanation.sample_id[0]):
    parts = explanation.shared_features(0, rank)
    shown = ", ".join(f"{word} {part:+.3f}" for word, part in parts[:5])
    total = sum(part for _, part in parts)
    print(f"{name:<20} {explanation.scores[0, rank]:.3f} = {total:.3f}: {shown}, ...")

# %%
# The two in front, ``smirnov`` and ``kolmogorov``, are the distributions of two test statistics.
# They are in ``special`` for the sake of their computation, and speak of empirical distributions.
# Hardly another text says *empirical*, so these two teach the model what the word means.
#
# Is it true?
# -----------
# ``predict_without`` says what the model would answer without the texts. Training again without
# them, with the vectorizer as it is, says the same. Two texts less of some five hundred, and the
# prediction is right.

vectors, asked = model[0].transform(X), model[0].transform(X_test[[query]])
wrong_class = list(model.classes_).index(predicted[query])
sizes, without, again = range(9), [], []
for size in sizes:
    rows = explanation.indices[0, :size]
    kept = np.setdiff1d(np.arange(len(X)), rows)
    retrained = clone(model[-1]).fit(vectors[kept], y[kept])
    without.append(attributor.predict_without(X_test[[query]], rows)[0, wrong_class])
    again.append(retrained.predict_proba(asked)[0, wrong_class])
print(f"largest difference: {np.abs(np.subtract(without, again)).max():.1e}")

fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.plot(sizes, without, color="#D55E00", label="predicted")
ax.plot(sizes, again, "o", color="#D55E00", label="trained again")
ax.axhline(0.5, color="0.7", lw=0.8)
ax.set(xlabel="texts removed", ylabel=f"probability of {predicted[query]}")
ax.set_title(f"scipy.{names[test][query]}")
ax.legend()
ax.grid(alpha=0.3)
plt.show()

# %%
# One word that few texts have is a lever: whoever writes it decides. Texts of ``scipy.stats`` that
# say *empirical* would repair this. :ref:`influence` has more on what the scores mean, and
# :ref:`which_method` on other methods for texts.
