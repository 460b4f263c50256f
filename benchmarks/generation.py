"""Autoencoders that name training rows: what they learn, and whether confidence means realism.

The generator of section 5.5 of the paper on MNIST, Fashion-MNIST and faces, for both kinds of index
heads. `generation_curves` has the losses and accuracies of each epoch, `generation` the figures of
the trained network and of 2000 samples from the prior: their index confidence, its rank correlation
with the distance to the nearest training row, and Fréchet distances of samples of high and of low
confidence.

Features are those of a small CNN trained here, since the Inception network is not at hand: no
figure is an FID, and figures compare only inside one data set, size and seed. For digits and
clothes the CNN learns the classes from the training images of the autoencoder. Faces are of the
people with at most 25 pictures, most of whom have one, so there the CNN learns to tell apart the 41
people with more, whom the autoencoder never sees. A tenth of each person's pictures is held out,
rounded half up, that is none of people with fewer than five.

Trained networks are kept in `build/generation`, so that measures can be taken again: delete lines
of `generation.csv` for that. `--lambda-gen` says how much generating counts. `--quick` takes 6000
images and small networks, a full run the network of the paper's 7.10, 60000 images and a GPU.
"""

import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from _common import DEVICE, Results, load, memory_mb, parse, parser, reset_peak
from torch import nn
from torch.nn import functional as F

from sklearn_provenance import ProvenanceVAE
from sklearn_provenance.datasets import load_faces
from sklearn_provenance.evaluation import realism

DATA = ("mnist", "fashion", "faces")
QUICK = {"n_train": 6000, "width": "small", "seeds": 2, "n_samples": 2000}
FULL = {"n_train": 60_000, "width": "medium", "seeds": 3, "n_samples": 10_000}
EPOCHS = {"mnist": 70, "fashion": 70, "faces": 150}
FACES = {"backbone": "mlp", "latent_dim": 100, "routing": "soft"}
MOST_PICTURES = 25
CACHE = Path(__file__).parents[1] / "build" / "generation"
LOSSES = ("reconstruction_loss", "kl_loss", "class_loss", "index_loss")
ACCURACIES = ("class_accuracy", "index_accuracy")
KEYS = ["data", "n_train", "width", "heads", "lambda_gen", "epochs", "seed"]


def main():
    arguments = parser(__doc__, "6000 images, small networks, 2 seeds")
    arguments.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    arguments.add_argument("--width", choices=["small", "medium", "large"])
    arguments.add_argument(
        "--heads", nargs="+", choices=["per_class", "shared"], default=["per_class"]
    )
    arguments.add_argument("--lambda-gen", nargs="+", type=float, default=[0.6])
    arguments.add_argument("--n-train", type=int, help="of digits and clothes; faces: all")
    arguments.add_argument("--epochs", type=int)
    arguments.add_argument("--seeds", type=int)
    arguments.add_argument("--n-samples", type=int)
    options = parse(arguments)
    sizes = {
        name: getattr(options, name) or value
        for name, value in (QUICK if options.quick else FULL).items()
    }
    curves, results = Results("generation_curves", [*KEYS, "epoch"]), Results("generation", KEYS)
    for seed in range(sizes["seeds"]):
        for data in options.data:
            X, y, X_test, y_test, others = read(data, sizes["n_train"], seed)
            for heads, lambda_gen in product(options.heads, options.lambda_gen):
                case = {"data": data, "n_train": len(y), "width": sizes["width"], "heads": heads}
                case |= {"lambda_gen": lambda_gen, "epochs": options.epochs or EPOCHS[data]}
                case |= {"seed": seed}
                if results.has(**case):
                    continue
                vae = trained(curves, case, X, y)
                features, feature_accuracy = classifier(*others, seed)
                results.add(
                    **case,
                    **measure(vae, X, y, X_test, y_test),
                    **measure_samples(vae, features, X_test, sizes["n_samples"], seed),
                    feature_accuracy=feature_accuracy,
                    n_test=len(y_test),
                    seconds=round(sum(epoch["dur"] for epoch in vae.history_), 1),
                    peak_mb=peak_mb(curves, case),
                )


def read(data, n_train, seed):
    """Training and test images and labels, then those of the classifier that gives features."""
    if data != "faces":
        everything = load(f"{data}_{n_train}", seed)
        return *everything, everything
    parts = [
        load_faces(part, test_size=0.1, random_state=seed, return_X_y=True)
        for part in ("train", "test")
    ]
    pictures = np.bincount(np.concatenate([y for _, y in parts]))
    few, many = (
        [(X[kept], y[kept]) for X, y in parts for kept in [chosen[y]]]
        for chosen in (pictures <= MOST_PICTURES, pictures > MOST_PICTURES)
    )
    (X, y), (X_test, y_test) = few
    return X, y, X_test, y_test, (*many[0], *many[1])


def trained(curves, case, X, y):
    """The autoencoder of a case, from disk if it is there."""
    path = CACHE / ("-".join(str(value) for value in case.values()) + ".safetensors")
    if path.exists():
        return ProvenanceVAE.load(path)
    reset_peak()
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    options = FACES if case["data"] == "faces" else {}
    vae = ProvenanceVAE(
        width=case["width"],
        heads=case["heads"],
        lambda_gen=case["lambda_gen"],
        max_epochs=case["epochs"],
        random_state=case["seed"],
        verbose=1,
        **options,
    ).fit(X, y)
    peak = memory_mb("VmHWM") if DEVICE == "cpu" else torch.cuda.max_memory_allocated() / 2**20
    for epoch in vae.history_:
        if not curves.has(**case, epoch=epoch["epoch"]):
            curves.add(
                **case,
                epoch=epoch["epoch"],
                **{name: round(epoch[name], 4) for name in (*LOSSES, *ACCURACIES)},
                seconds=round(epoch["dur"], 2),
                peak_mb=round(peak),
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    vae.save(path)
    return vae


def peak_mb(curves, case):
    """Of the training, which may have been in another run."""
    for row in curves.rows:
        if all(row[name] == str(value) for name, value in case.items()):
            return row["peak_mb"]
    return ""


def measure(vae, X, y, X_test, y_test):
    """What the network does with images, at the means of their codes; losses of the last epoch."""
    at_train, at_test = vae.explain(X, k=1), vae.explain(X_test, k=1)
    own_class = np.bincount(np.unique(y, return_inverse=True)[1])
    last = vae.history_[-1]
    values = {
        "index_accuracy": np.mean(at_train.indices[:, 0] == np.arange(len(y))),
        "train_class_accuracy": np.mean(at_train.query_labels == y),
        "test_class_accuracy": np.mean(at_test.query_labels == y_test),
        "test_exemplar_right": np.mean(at_test.exemplar_labels[:, 0] == y_test),
        "train_confidence": np.median(at_train.scores),
        "test_confidence": np.median(at_test.scores),
        "train_elbo": vae.score(X),
        "test_elbo": vae.score(X_test),
        **{name: last[name] for name in LOSSES},
        # Cross entropies of a network that knows nothing: of classes at their frequencies, and of
        # rows inside their classes.
        "class_chance": -(own_class / len(y)) @ np.log(own_class / len(y)),
        "index_chance": (own_class / len(y)) @ np.log(own_class),
    }
    return {name: round(float(value), 4) for name, value in values.items()}


def measure_samples(vae, features, X_test, n_samples, seed):
    """Confidence and realism of samples."""
    start = time.perf_counter()
    result = realism(vae, features, X_test=X_test, n_samples=n_samples, random_state=seed)
    values = {}
    for name, q in {"q10": 0.1, "median": 0.5, "q90": 0.9, "highest": 1}.items():
        values[f"confidence_{name}"] = np.quantile(result.confidence, q)
    for name, line in zip(("features", "pixels", "within_class"), result.spearman, strict=True):
        values |= bounds(f"spearman_{name}", line)
    for i, split in enumerate(("threshold", "median", "class_median")):
        values[f"{split}_share_high"] = result.high[i].mean()
        for group, line in zip(
            ("high", "low", "difference", "train", "test", "reconstruction"),
            result.frechet[i],
            strict=True,
        ):
            values |= bounds(f"{split}_{group}", line)
    values["realism_seconds"] = time.perf_counter() - start
    return {"n_samples": n_samples} | {k: float(f"{v:.5g}") for k, v in values.items()}


def bounds(name, line):
    return dict(zip((name, f"{name}_lower", f"{name}_upper"), line, strict=True))


def classifier(X, y, X_test, y_test, seed, epochs=15):
    """The last hidden layer of a small CNN as a function of images, and its test accuracy."""
    torch.manual_seed(seed)
    labels, y = np.unique(y, return_inverse=True)
    side = -(-X.shape[1] // 4)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * side**2, 64),
        nn.ReLU(),
    ).to(DEVICE)
    head = nn.Linear(64, len(labels)).to(DEVICE)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], weight_decay=1e-4)
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(64):
            loss = F.cross_entropy(head(body(tensor(X[rows]))), torch.tensor(y[rows]).to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.inference_mode()
    def features(images):
        return np.concatenate(
            [body(tensor(images[i : i + 1000])).cpu().numpy() for i in range(0, len(images), 1000)]
        )

    with torch.inference_mode():
        logits = head(torch.tensor(features(X_test), device=DEVICE)).cpu()
    return features, round(float(np.mean(labels[logits.argmax(1)] == y_test)), 4)


def tensor(images):
    return torch.tensor(images, device=DEVICE, dtype=torch.float32)[:, None] / 255


if __name__ == "__main__":
    main()
