"""
Which training images is a generated image made of?
===================================================

A variational autoencoder draws letters that no font has. Ours also says which training images each
of them comes from, and how sure it is. We look at what it takes to learn that, at letters it makes
with their exemplars, and at whether one should distrust those of low confidence.
"""

# %%
# Naming costs information
# ------------------------
# The encoder turns an image into a code with noise. From the code, one part of the decoder draws
# the image, and others name its class and the training image itself. A code that names one of N
# training images carries log N nats about it, and the Kullback-Leibler divergence, part of the
# loss, is what carrying them costs. ``lambda_gen`` weighs the loss of drawing, divergence included.

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.neural_network import MLPClassifier

from sklearn_provenance import ProvenanceVAE
from sklearn_provenance.datasets import load_letters
from sklearn_provenance.evaluation import realism
from sklearn_provenance.inspection import ConvergenceDisplay

train, test = (load_letters(subset, letters="ABS") for subset in ("train", "test"))
X, y = train.data, train.target_names[train.target]
X_test, y_test = test.data, test.target_names[test.target]

vaes = {
    lambda_gen: ProvenanceVAE(
        16, backbone="mlp", width="small", lambda_gen=lambda_gen, max_epochs=40, random_state=0
    ).fit(X, y)
    for lambda_gen in (0.6, 0.02)
}

fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.2), layout="constrained")
curves = ConvergenceDisplay.from_estimators(
    {f"lambda_gen={lambda_gen}": vae for lambda_gen, vae in vaes.items()},
    metrics=["reconstruction_loss", "index_accuracy"],
    ax=axes[:2],
)
for vae, line in zip(vaes.values(), curves.lines_[0], strict=True):
    history = {name: np.array([epoch[name] for epoch in vae.history_]) for name in vae.history_[0]}
    epochs, color = history["epoch"], line.get_color()
    axes[2].plot(epochs, history["class_loss"] + history["index_loss"], color=color)
    axes[2].plot(epochs, (np.log(len(X)) - history["kl_loss"]).clip(0), ":", color=color)
axes[2].set(xlabel="epoch", ylabel="loss of naming, and\nits bound, dotted (nats)")
plt.show()

# %%
# The loss of naming, that is of the class and then of the row inside the class, cannot fall below
# log N less the divergence (dotted). With the default weights, those of the paper, a nat of
# divergence costs 0.6, and the nat of naming that it may buy is worth 0.4. So codes tell rows apart
# only as far as drawing pays for it. With ``lambda_gen=0.02``
# codes name nearly every row. The price is seen in the evidence lower bound:

for lambda_gen, vae in vaes.items():
    named = vae.explain_latent(vae.transform(X), k=1).indices[:, 0] == np.arange(len(X))
    print(
        f"lambda_gen={lambda_gen}: of the training rows {named.mean():.0%} name themselves, "
        f"classes of test images {np.mean(vae.predict(X_test) == y_test):.1%} right, "
        f"lower bound of test images {vae.score(X_test):.1f} nats"
    )

# %%
# New letters and their exemplars
# -------------------------------
# ``explain_latent`` names the training rows of a code. Here are samples whose first exemplar has
# the highest, the middle and the lowest probability among 500.

vae = vaes[0.02]
samples, codes = vae.sample(500, random_state=1, return_codes=True)
explanation = vae.explain_latent(codes, k=5)
order = np.argsort(-explanation.scores[:, 0])
explanation.plot(order[[0, 1, 249, 250, 498, 499]])
plt.show()

# %%
# The same for images that the network has not seen, by the code that the encoder gives them:

vae.explain(X_test, k=5).plot([0, 1, 2])
plt.show()

# %%
# Are confident samples more real?
# --------------------------------
# The paper reports that they are. :func:`~sklearn_provenance.evaluation.realism` draws samples,
# takes the probability of the first exemplar as confidence, and compares with real letters in the
# features of a network that has learned to tell letters apart. Left, the distance of each sample to
# the nearest training image. Right, Fréchet distances of groups of samples to all training images,
# each from equally many rows. They are no FIDs, which take features of a large network, and say
# nothing beside figures of other features.

classifier = MLPClassifier((64, 16), alpha=1e-3, tol=1e-3, random_state=0)
classifier.fit(X.reshape(len(X), -1) / 255, y)


def features(images):
    hidden = images.reshape(len(images), -1) / 255
    for weights, bias in zip(classifier.coefs_[:2], classifier.intercepts_[:2], strict=True):
        hidden = np.maximum(hidden @ weights + bias, 0)
    return hidden


result = realism(vae, features, X_test=X_test, random_state=0)
result.plot()
plt.show()
summary = result.summary()
print(summary[summary["split"] != "threshold"].round(2))

# %%
# Here confident samples are no nearer to training images, neither one by one nor as a group. Nor is
# that a matter of some letters being named with more confidence: "class median" halves the samples
# of each predicted letter. Correlations of confidence with

rho, lower, upper = result.spearman[2]
print(f"distance, among samples of one predicted letter: {rho:.2f} ({lower:.2f} to {upper:.2f})")
length = np.linalg.norm(result.codes, axis=1)
print(f"length of the code: {spearmanr(result.confidence, length)[0]:.2f}")

# %%
# Confidence rather grows with the length of the code: logits grow with what a head is fed, so that
# far from the centre of the prior one row may win clearly, whatever is drawn there. Read low
# confidence as *no single training image stands behind this one*, look at the exemplars, and
# measure on your own data before you take confidence for quality.
