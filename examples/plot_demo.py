"""
Which training images is this prediction made of?
=================================================

Three networks learn to read letters and, with the same forward pass, learn to name the training
images that each prediction rests on. `make demo` runs this script; so does
``python examples/plot_demo.py --dataset digits``, or ``fashion-mnist``.
"""

# %%
# Train one network per architecture
# ----------------------------------
# The letters are drawn in 21 fonts at nine angles: every second angle is for training, and those
# between them for the test. The *class-conditional* network predicts the letter and then a training
# image of that letter; the *class-independent* one predicts both side by side; the *single branch*
# predicts a training image only, and the letter follows from it. Index accuracy is the share of
# training images that the network recognises as themselves.

import argparse
import sys
import time

import matplotlib.pyplot as plt
import numpy as np

from sklearn_provenance import InfoGainAttributor, ProvenanceClassifier
from sklearn_provenance.datasets import load_digits, load_fashion_mnist, load_letters

parser = argparse.ArgumentParser(description="Which training images is this prediction made of?")
parser.add_argument("--dataset", choices=["letters", "digits", "fashion-mnist"], default="letters")
parser.add_argument("--output", default="demo.png", help="file for the picture")
# The gallery runs the script with arguments of its own.
options = parser.parse_args([] if "sphinx" in sys.modules else None)

settings = {"width": "small", "max_epochs": 20}
if options.dataset == "letters":
    bunch = load_letters("all", letters="BDGOQR", size=16)
    is_train = bunch.angle % 10 == 0
    X, y = bunch.data[is_train], bunch.target[is_train]
    X_test, y_test = bunch.data[~is_train], bunch.target[~is_train]
elif options.dataset == "digits":
    bunch = load_digits("train")
    X, y = bunch.data, bunch.target
    X_test, y_test = load_digits("test", return_X_y=True)
else:
    bunch = load_fashion_mnist("train")
    some = np.random.default_rng(0).permutation(len(bunch.target))[:5000]
    X, y = bunch.data[some], bunch.target[some]
    X_test, y_test = load_fashion_mnist("test", return_X_y=True)
    settings["max_epochs"] = 12
names = np.asarray(bunch.target_names)
y, y_test = names[y], names[y_test]
print(f"{options.dataset}: {len(y)} training and {len(y_test)} test images\n")

print(f"{'architecture':20}{'class accuracy':>16}{'index accuracy':>16}{'seconds':>10}")
classifiers = {}
for architecture in ["class_conditional", "class_independent", "single_branch"]:
    start = time.perf_counter()
    clf = ProvenanceClassifier(architecture, **settings, random_state=0)
    clf.fit(X, y)
    seconds = time.perf_counter() - start
    accuracy = clf.score(X_test, y_test)
    own = np.mean(clf.predict_index(X) == np.arange(len(y)))
    print(f"{architecture:20}{accuracy:16.3f}{own:16.3f}{seconds:10.1f}")
    classifiers[architecture] = clf

# %%
# Explain five test images
# ------------------------
# Four that the network gets right, and one that it gets wrong, if there is one. The number above an
# exemplar is the probability of that training image.

clf = classifiers["class_conditional"]
right = clf.predict(X_test) == y_test
shown = np.random.default_rng(0).choice(np.flatnonzero(right), 4, replace=False)
shown = [*shown, *np.flatnonzero(~right)[:1]]
explanation = clf.explain(X_test[shown], k=5)
print(f"\nTrue labels of the queries: {', '.join(y_test[shown])}\n")
print(explanation)

# %%
# The same images, explained by what the network learned from
# -----------------------------------------------------------
# The index branch was *trained* to name training images. InfoGain asks the class branch alone, and
# could ask any classifier: which few training images, taken together, make this prediction
# certain? Its scores are nats that each image adds to those before it, so they add up.

attributor = InfoGainAttributor(clf).fit(X, y)
start = time.perf_counter()
information = attributor.explain(X_test[shown], k=5)
print(f"\nInfoGain took {time.perf_counter() - start:.1f} seconds\n")
print(information)
shared = np.mean(
    [
        len(np.intersect1d(a, b))
        for a, b in zip(explanation.indices, information.indices, strict=True)
    ]
)
print(f"\nOf five training images {shared:.1f} on average are named by both.")

figure, (left, right) = plt.subplots(1, 2, figsize=(15, 8), layout="constrained")
explanation.plot(ax=left, true_labels=y_test[shown])
information.plot(ax=right, true_labels=y_test[shown])
if "sphinx" not in sys.modules:
    figure.savefig(options.output, dpi=120)
    print(f"The picture is in {options.output}")

# %%
# What next
# ---------

print(
    """
Try next:
  .venv/bin/python examples/plot_demo.py --dataset fashion-mnist --output fashion.png
  clf.explain(k=5)                 every training image explained by the others
  clf.set_params(alpha=0.7)        less memorisation, broader exemplars
  InfoLossAttributor(clf)          the training images that would be missed most
  make docs                        guide and gallery, in doc/_build/html/index.html"""
)
