"""
Which training images is this prediction made of?
=================================================

Three networks learn handwritten digits and, with the same forward pass, learn to name the training
images that each prediction rests on. `make demo` runs this script; so does
``python examples/plot_demo.py --dataset fashion-mnist``.
"""

# %%
# Train one network per architecture
# ----------------------------------
# The *class-conditional* network predicts the digit and then a training image of that digit; the
# *class-independent* one predicts both side by side; the *single branch* predicts a training image
# only, and the digit follows from it. Index accuracy is the share of training images that the
# network recognises as themselves.

import argparse
import sys
import time

import matplotlib.pyplot as plt
import numpy as np

from sklearn_provenance import InfoGainAttributor, ProvenanceClassifier
from sklearn_provenance.datasets import load_digits, load_fashion_mnist

parser = argparse.ArgumentParser(description="Which training images is this prediction made of?")
parser.add_argument("--dataset", choices=["digits", "fashion-mnist"], default="digits")
parser.add_argument("--output", default="demo.png", help="file for the picture")
# The gallery runs the script with arguments of its own.
options = parser.parse_args([] if "sphinx" in sys.modules else None)

if options.dataset == "digits":
    train, test = load_digits("train"), load_digits("test")
    settings = {"width": "small", "max_epochs": 20}
else:
    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    some = np.random.default_rng(0).permutation(len(train.target))[:5000]
    train.data, train.target = train.data[some], train.target[some]
    settings = {"width": "small", "max_epochs": 12}
names = np.asarray(train.target_names)
print(f"{options.dataset}: {len(train.target)} training and {len(test.target)} test images\n")

print(f"{'architecture':20}{'class accuracy':>16}{'index accuracy':>16}{'seconds':>10}")
classifiers = {}
for architecture in ["class_conditional", "class_independent", "single_branch"]:
    start = time.perf_counter()
    clf = ProvenanceClassifier(architecture, **settings, random_state=0)
    clf.fit(train.data, names[train.target])
    seconds = time.perf_counter() - start
    accuracy = clf.score(test.data, names[test.target])
    own = np.mean(clf.predict_index(train.data) == np.arange(len(train.target)))
    print(f"{architecture:20}{accuracy:16.3f}{own:16.3f}{seconds:10.1f}")
    classifiers[architecture] = clf

# %%
# Explain five test images
# ------------------------
# Four that the network gets right, and one that it gets wrong, if there is one. The number above an
# exemplar is the probability of that training image.

clf = classifiers["class_conditional"]
right = clf.predict(test.data) == names[test.target]
shown = [*np.flatnonzero(right)[:4], *np.flatnonzero(~right)[:1]]
explanation = clf.explain(test.data[shown], k=5)
print(f"\nTrue labels of the queries: {', '.join(names[test.target[shown]])}\n")
print(explanation)

# %%
# The same digits, explained by what the network learned from
# -----------------------------------------------------------
# The index branch was *trained* to name training images. InfoGain asks the class branch alone, and
# could ask any classifier: which few training images, taken together, make this prediction
# certain? Its scores are nats that each image adds to those before it, so they add up.

attributor = InfoGainAttributor(clf).fit(train.data, names[train.target])
start = time.perf_counter()
information = attributor.explain(test.data[shown], k=5)
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
explanation.plot(ax=left)
information.plot(ax=right)
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
