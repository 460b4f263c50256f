"""The ridge of InfluenceAttributor on networks: what rules of data choose, and what is best.

Four small networks: 1000 digits (64-32-10), 2500 MNIST images (their first 40 principal components,
40-48-10) and 2000 Fashion-MNIST images (first 50 components, 50-64-10) trained for few epochs and
for many. The tangent kernel is exact, ridges are multiples of its mean diagonal.

For 10 test images the rows that each rule picks among those of the predicted class are removed,
and networks are trained again from two seeds: "drop" is by how much the margin of the predicted
class falls. The rules are "greedy", "additive", "weighted" (greedy, each row with its own weight
p (1 - p)) and "refreshed" (greedy, p of each row from its predicted margin after each pick).
"LDS" is the linear datamodeling score of the drops of single rows on 40 halves, for 30 images.

Then what a rule of data says of each ridge (higher is better): the log density of held-out one-hot
labels (as `InfoLossAttributor.score`); of the working responses z = m + (1 - p) / w the log density
on held-out rows, the evidence, leave-one-out and generalised cross-validation (negative errors, in
units of the variance); and the LDS on the first 8 halves.
"""

from functools import cached_property

import numpy as np
import torch
from _common import Results, load, parse, parser
from _networks import train
from scipy.special import expit
from scipy.stats import spearmanr
from torch import nn
from torch.func import functional_call, grad, vmap

from sklearn_provenance.information import density_system, greedy_influence
from sklearn_provenance.retraining import Recipe, retrain
from sklearn_provenance.retraining._removals import Removals
from sklearn_provenance.tangent import measure

RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)
FEW_RIDGES = (0.1, 1.0, 10.0)  # of additive picks
SEEDS = (0, 1)
N_QUERIES = 10
N_LDS = 30
N_HALVES = 40
N_FEW = 8
# Data, components, hidden units, epochs, rows removed
CASES = {
    "digits": ("digits_flat", None, 32, 30, (10, 30)),
    "Fashion-MNIST, 5 epochs": ("fashion_2000_flat", 50, 64, 5, (25, 75)),
    "MNIST": ("mnist_2500_flat", 40, 48, 25, (25, 75)),
    "Fashion-MNIST, 30 epochs": ("fashion_2000_flat", 50, 64, 30, (25, 75)),
}


class Case:
    """Data, a network that is trained on it, and the kernel of its margins."""

    def __init__(self, name, n_components, n_hidden, n_epochs):
        X, y, X_test, y_test = load(name, 0)
        if n_components is None:
            X, y = X[:1000] / 255.0, y[:1000]
            X_test = X_test / 255.0
        else:
            mean = X.mean(0)
            axes = np.linalg.svd(X - mean, full_matrices=False)[2][:n_components]
            scale = ((X - mean) @ axes.T).std()
            X, X_test = ((rows - mean) @ axes.T / scale for rows in (X, X_test))
        self.X, self.y = torch.as_tensor(X).float(), y.astype(np.int64)
        self.recipe = Recipe(
            lr=0.05, momentum=0.9, weight_decay=1e-3, batch_size=64, max_epochs=n_epochs
        )
        self.n_hidden = n_hidden
        labels = torch.as_tensor(self.y)
        self.network = train(self.make(0), self.X, labels, self.recipe, 0)
        X_test = torch.as_tensor(X_test).float()
        with torch.no_grad():
            right = (self.network(X_test).argmax(1).numpy() == y_test).nonzero()[0]
        self.queries = X_test[right[:N_LDS]]
        self.query_labels = y_test[right[:N_LDS]].astype(np.int64)
        self.held_out = X_test[-500:]
        self.held_out_labels = y_test[-500:].astype(np.int64)

    def make(self, seed=None):
        if seed is not None:
            torch.manual_seed(seed)
        sizes = self.X.shape[1], self.n_hidden
        return nn.Sequential(nn.Linear(*sizes), nn.ReLU(), nn.Linear(self.n_hidden, 10))

    def measured(self, X, y):
        """Gradients of margins at labels, and the margins."""
        parameters = {name: value.detach() for name, value in self.network.named_parameters()}

        def margin(parameters, x, label):
            logits = functional_call(self.network, parameters, (x[None],))
            return measure(logits, label[None], "margin")[0]

        labels = torch.as_tensor(y)
        parts = vmap(grad(margin), in_dims=(None, 0, 0))(parameters, X, labels)
        phi = torch.cat([part.flatten(1) for part in parts.values()], 1).double()
        with torch.no_grad():
            margins = measure(self.network(X).double(), labels, "margin")
        return phi, margins

    @cached_property
    def rows(self):
        return self.measured(self.X, self.y)

    @cached_property
    def asked(self):
        return self.measured(self.queries, self.query_labels)[0]

    @cached_property
    def kernel(self):
        return self.rows[0] @ self.rows[0].mT

    @cached_property
    def doubt(self):
        return torch.sigmoid(-self.rows[1])

    @cached_property
    def weights(self):
        return self.doubt * (1 - self.doubt)

    @cached_property
    def mean_weight(self):
        norms = self.kernel.diagonal()
        return ((self.weights * norms).sum() / norms.sum()).item()

    @cached_property
    def residuals(self):
        return self.doubt / self.mean_weight

    def ridge(self, multiple):
        return multiple * self.kernel.diagonal().mean().item()

    @cached_property
    def decomposed(self):
        return torch.linalg.eigh(self.kernel)

    def inverse(self, ridge):
        """(K + λ I)^-1."""
        values, vectors = self.decomposed
        return (vectors / (values.clamp(min=0) + ridge)) @ vectors.mT

    def system(self, multiple):
        """M and u of the queries."""
        ridge = self.ridge(multiple)
        inverse = self.inverse(ridge)
        hat = torch.eye(len(inverse), dtype=torch.float64) - ridge * inverse
        return hat, self.asked @ self.rows[0].mT @ inverse

    def allowed(self):
        return torch.as_tensor(self.query_labels[:N_QUERIES, None] == self.y)


def single_drops(case, multiple):
    """Drops (n_queries, n_rows) without each row alone."""
    hat, u = case.system(multiple)
    return (u * case.residuals / (1 - hat.diagonal())).numpy()


def additive(case, multiple, k):
    drops = single_drops(case, multiple)[:N_QUERIES]
    drops[~case.allowed().numpy()] = -np.inf
    return np.argsort(-drops, 1, kind="stable")[:, :k]


def greedy(case, multiple, k):
    phi, _ = case.rows
    queries = case.asked[:N_QUERIES]
    return greedy_influence(
        case.kernel,
        queries @ phi.mT,
        queries.square().sum(1),
        case.residuals,
        case.ridge(multiple),
        k,
        candidates=case.allowed(),
    )[0].numpy()


def weighted(case, multiple, k):
    phi, _ = case.rows
    queries = case.asked[:N_QUERIES]
    weights = case.weights.clamp(min=1e-12)
    ridge = multiple * (weights * case.kernel.diagonal()).mean().item()
    return greedy_influence(
        case.kernel,
        queries @ phi.mT,
        queries.square().sum(1),
        case.doubt / weights,
        ridge,
        k,
        weights=weights,
        candidates=case.allowed(),
    )[0].numpy()


def refreshed(case, multiple, k):
    """Greedy picks with the residual of each row at its predicted margin."""
    hat, covariances = case.system(multiple)
    _, margins = case.rows
    picks = np.empty((N_QUERIES, k), dtype=np.int64)
    for query, allowed in enumerate(case.allowed()):
        rows = allowed.nonzero()[:, 0]
        M = hat[rows][:, rows].numpy().copy()
        u = covariances[query, rows].numpy().copy()
        m = margins[rows].numpy().copy()
        r = case.residuals[rows].numpy().copy()
        free = np.ones(len(rows), dtype=bool)
        for number in range(k):
            left = 1 - M.diagonal()
            scores = np.where(free, u * r / left, -np.inf)
            pick = scores.argmax()
            free[pick] = False
            column = M[:, pick] / left[pick]
            m -= column * r[pick]
            u += column * u[pick]
            M += np.outer(column, M[:, pick].copy())
            r = expit(-m) / case.mean_weight
            picks[query, number] = rows[pick]
    return picks


RULES = {
    "greedy": (greedy, RIDGES),
    "additive": (additive, FEW_RIDGES),
    "weighted": (weighted, (1.0,)),
    "refreshed": (refreshed, (1.0,)),
}


def margins_of(logits, labels):
    """Margins (..., n) of logits (..., n, C) at labels (n,)."""
    shape = logits.shape[:-1]
    flat = torch.as_tensor(np.ascontiguousarray(logits)).double().flatten(0, -2)
    labels = torch.as_tensor(np.broadcast_to(labels, shape).copy()).flatten()
    return measure(flat, labels, "margin").numpy().reshape(shape)


def brittleness(case, name, sizes, results):
    picks = {
        (rule, ridge): pick(case, ridge, max(sizes))
        for rule, (pick, ridges) in RULES.items()
        for ridge in ridges
    }
    removals = Removals(
        case.make, case.X, case.y, case.queries[:N_QUERIES], SEEDS, recipe=case.recipe
    )
    labels = case.query_labels[:N_QUERIES]
    before = margins_of(removals.full, labels).mean(0)
    sets = [(key, k, query) for key in picks for k in sizes for query in range(N_QUERIES)]
    removed = [picks[key][query, :k] for key, k, query in sets for _ in SEEDS]
    outputs = removals.without(removed, list(range(len(SEEDS))) * len(sets))
    after = margins_of(outputs, labels).reshape(len(sets), len(SEEDS), N_QUERIES).mean(1)
    drops = {}
    for number, (key, k, query) in enumerate(sets):
        drops.setdefault((key, k), []).append(before[query] - after[number, query])
    for ((rule, ridge), k), values in drops.items():
        beyond = np.subtract(values, drops[(("greedy", 1.0), k)])
        results.add(
            data=name,
            what=f"drop, {rule}",
            ridge=ridge,
            k=k,
            value=round(np.mean(values), 4),
            beyond_greedy_1=round(beyond.mean(), 4),
            standard_error=round(beyond.std(ddof=1) / np.sqrt(len(beyond)), 4),
        )


def halves(case):
    """Masks of halves, and the margins of queries in networks trained on them."""
    rng = np.random.default_rng(0)
    n = len(case.y)
    masks = np.zeros((N_HALVES, n), dtype=bool)
    for mask in masks:
        mask[rng.choice(n, n // 2, replace=False)] = True
    total = 0.0
    for seed in SEEDS:
        trained = retrain(
            case.make,
            case.X,
            case.y,
            masks,
            X_eval=case.queries,
            recipe=case.recipe,
            seeds=[seed] * N_HALVES,
        )
        total = total + margins_of(trained.outputs, case.query_labels)
    return masks, total / len(SEEDS)


def datamodeling_score(scores, masks, margins):
    predicted = masks @ scores.T  # (n_halves, n_queries)
    found = [spearmanr(a, b)[0] for a, b in zip(predicted.T, margins.T, strict=True)]
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(len(found))


def criteria(case):
    """What rules of data say of each ridge (n_ridges,); more is better."""
    n = len(case.y)
    phi, margins = case.rows
    responses = margins + case.residuals
    z = responses - responses.mean()
    ratios = torch.tensor(RIDGES, dtype=torch.float64)
    with torch.no_grad():
        decided = case.network(case.held_out).argmax(1).numpy()
    # Held-out rows are measured at what they are predicted as, or at their labels.
    classes = np.arange(10)
    of_labels = density_system(
        case.kernel,
        torch.as_tensor(case.y[:, None] == classes).double(),
        *kernels(case.measured(case.held_out, decided)[0], phi),
        torch.as_tensor(case.held_out_labels[:, None] == classes).double(),
    )
    held_out, held_out_margins = case.measured(case.held_out, case.held_out_labels)
    truth = held_out_margins + torch.sigmoid(-held_out_margins) / case.mean_weight
    of_responses = density_system(
        case.kernel, responses[:, None], *kernels(held_out, phi), truth[:, None]
    )
    found = {
        "density of labels": of_labels.log_density(ratios).tolist(),
        "density of responses": of_responses.log_density(ratios).tolist(),
        "evidence": [],
        "leave-one-out": [],
        "generalised cross-validation": [],
    }
    values, vectors = case.decomposed
    along = vectors.mT @ z
    for multiple in RIDGES:
        shifted = values.clamp(min=0) + case.ridge(multiple)
        solved = vectors @ (along / shifted)  # λ times this is the residual of ridge regression
        left = (vectors.square() / shifted).sum(1)  # diagonal of (K + λ I)^-1
        variance = z.square().mean()
        amplitude = (z @ solved / n).item()
        evidence = -0.5 * np.log(amplitude) - 0.5 * shifted.log().mean().item()
        found["evidence"].append(evidence)
        errors = {
            "leave-one-out": (solved / left).square().mean(),
            "generalised cross-validation": solved.square().mean() / left.mean() ** 2,
        }
        for rule, error in errors.items():
            found[rule].append(-(error / variance).item())
    return found


def kernels(queries, phi):
    """Kernel of queries and rows, and of each query with itself."""
    return queries @ phi.mT, queries.square().sum(1)


def main():
    options = parse(parser(__doc__, "digits only"))
    results = Results("influence_ridge", ["data", "what", "ridge", "k"])
    empty = {"k": 0, "beyond_greedy_1": "", "standard_error": ""}
    for name, (data, n_components, n_hidden, n_epochs, sizes) in CASES.items():
        if options.quick and name != "digits":
            continue
        case = Case(data, n_components, n_hidden, n_epochs)
        if not results.has(data=name, what="evidence", ridge=RIDGES[-1], k=0):
            for what, values in criteria(case).items():
                for ridge, value in zip(RIDGES, values, strict=True):
                    results.add(data=name, what=what, ridge=ridge, value=round(value, 5), **empty)
        if not results.has(data=name, what="LDS", ridge=RIDGES[-1], k=0):
            masks, margins = halves(case)
            for ridge in RIDGES:
                scores = single_drops(case, ridge)
                for what, n in (("LDS of 8 halves", N_FEW), ("LDS", N_HALVES)):
                    mean, error = datamodeling_score(scores, masks[:n], margins[:n])
                    line = empty | {"standard_error": round(error, 4)}
                    results.add(data=name, what=what, ridge=ridge, value=round(mean, 4), **line)
        if not results.has(data=name, what="drop, refreshed", ridge=1.0, k=sizes[-1]):
            brittleness(case, name, sizes, results)


if __name__ == "__main__":
    main()
