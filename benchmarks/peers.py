"""The time, memory and lines of code from a trained network to the ten best rows of 100 queries.

The first images of Fashion-MNIST, a 784-512-256-10 ReLU network without biases. Every method
runs in a process of its own, from the network as its user has it: a module and tensors. Times
are also given in epochs of training that network, timed in the same process before and after the
method. `same_class` is the share of the ten best rows that have the query's predicted class: a
check that a method works and no measure of its quality, which similarity would win.

`kernel_error` compares inner products of sketched gradients of the log odds with the exact ones k:
root mean square of (sketched - k) / sqrt(k_xx k_yy) over 780 pairs of 40 rows and three seeds.

The statements of a function below are what a user writes, imports aside; its arguments are the
network, the training images and labels, the queries, and a folder for what is put aside. The other
packages are installed by `pip install -e .[peers]`; TRAK of traker and dattri take minutes.
"""

import ast
import inspect
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from contextlib import chdir
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from _common import Results, memory_mb, parse, parser, reset_peak
from _networks import MLP_RECIPE, as_inputs, mlp, train
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import sklearn_provenance as sp
from sklearn_provenance import attribution
from sklearn_provenance.datasets import load_fashion_mnist

# ---- this package -------------------------------------------------------------------------------


def info_gain(network, X, y, queries, folder):
    attributor = sp.InfoGainAttributor(network).fit(X, y)
    return attributor.explain(queries, k=10).indices


def info_gain_all(network, X, y, queries, folder):
    attributor = sp.InfoGainAttributor(network, candidates="all").fit(X, y)
    return attributor.explain(queries, k=10).indices


def info_loss(network, X, y, queries, folder):
    sketch = sp.TangentFeatures(n_components=4096)
    attributor = sp.InfoLossAttributor(network, features=sketch).fit(X, y)
    return attributor.explain(queries, k=10).indices


def influence(network, X, y, queries, folder):
    attributor = sp.InfluenceAttributor(network).fit(X, y)
    return attributor.explain(queries, k=10).indices


def trak(network, X, y, queries, folder):
    attributor = attribution.TRAKAttributor(network, n_components=512, candidates="all").fit(X, y)
    return attributor.explain(queries, k=10).indices


def trak_4096(network, X, y, queries, folder):
    attributor = attribution.TRAKAttributor(network, n_components=4096, candidates="all").fit(X, y)
    return attributor.explain(queries, k=10).indices


def ekfac(network, X, y, queries, folder):
    attributor = attribution.EKFACAttributor(network, candidates="all").fit(X, y)
    return attributor.explain(queries, k=10).indices


def grad_dot(network, X, y, queries, folder):
    attributor = attribution.GradDotAttributor(network, candidates="all").fit(X, y)
    return attributor.explain(queries, k=10).indices


def rep_sim(network, X, y, queries, folder):
    attributor = attribution.RepSimAttributor(network, candidates="all").fit(X, y)
    return attributor.explain(queries, k=10).indices


# ---- other packages -----------------------------------------------------------------------------


def traker_trak(network, X, y, queries, folder):
    from trak import TRAKer
    from trak.projectors import BasicProjector, ProjectionType

    n_parameters = sum(p.numel() for p in network.parameters())
    projector = BasicProjector(n_parameters, 512, 0, ProjectionType.rademacher, "cpu", 16)
    traker = TRAKer(
        model=network,
        task="image_classification",
        train_set_size=len(X),
        save_dir=folder,
        device="cpu",
        projector=projector,
        use_half_precision=False,
        logging_level=40,
    )
    traker.load_checkpoint(network.state_dict(), model_id=0)
    for batch in DataLoader(TensorDataset(X, y), batch_size=500):
        traker.featurize(batch, num_samples=len(batch[0]))
    traker.finalize_features()
    labels = network(queries).argmax(1)
    traker.start_scoring_checkpoint("queries", network.state_dict(), 0, num_targets=len(queries))
    for batch in DataLoader(TensorDataset(queries, labels), batch_size=50):
        traker.score(batch, num_samples=len(batch[0]))
    scores = torch.as_tensor(traker.finalize_scores("queries"))
    return scores.topk(10, dim=0).indices.T


def dattri_trak(network, X, y, queries, folder):
    from dattri.algorithm.trak import TRAKAttributor
    from dattri.task import AttributionTask

    def log_odds(params, row):
        logits = torch.func.functional_call(network, params, row[0].unsqueeze(0))
        p = (-F.cross_entropy(logits, row[1].unsqueeze(0))).exp()
        return torch.log(p) - torch.log1p(-p)

    def correct_probability(params, row):
        logits = torch.func.functional_call(network, params, row[0].unsqueeze(0))
        return (-F.cross_entropy(logits, row[1].unsqueeze(0))).exp()

    task = AttributionTask(loss_func=log_odds, model=network, checkpoints=network.state_dict())
    attributor = TRAKAttributor(task, correct_probability, projector_kwargs={"proj_dim": 512})
    with torch.no_grad():
        attributor.cache(DataLoader(TensorDataset(X, y), batch_size=500))
        labels = network(queries).argmax(1)
        scores = attributor.attribute(DataLoader(TensorDataset(queries, labels), batch_size=50))
    return scores.topk(10, dim=0).indices.T


def dattri_logra(network, X, y, queries, folder):
    from dattri.algorithm.logra import LoGraAttributor
    from dattri.task import AttributionTask

    def loss(model, batch, device):
        return F.cross_entropy(model(batch[0][:, 0]), batch[1])

    # It looks at the layers with a single row, which must look like a batch.
    task = AttributionTask(loss_func=loss, model=network, checkpoints=network.state_dict())
    attributor = LoGraAttributor(task, proj_dim=4096)
    labels = network(queries).argmax(1)
    rows = DataLoader(TensorDataset(X[:, None], y), batch_size=64)
    attributor.cache(rows)
    asked = DataLoader(TensorDataset(queries, labels), batch_size=50)
    scores = attributor.attribute(rows, asked)
    return scores.topk(10, dim=0).indices.T


def kronfluence_ekfac(network, X, y, queries, folder):
    from kronfluence import Analyzer, FactorArguments, ScoreArguments, Task, prepare_model

    class Classification(Task):
        def compute_train_loss(self, batch, model, sample=False):
            logits = model(batch[0])
            labels = batch[1]
            if sample:
                labels = torch.multinomial(logits.softmax(1), 1)[:, 0]
            return F.cross_entropy(logits, labels, reduction="sum")

        def compute_measurement(self, batch, model):
            return F.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    labels = network(queries).argmax(1)
    task = Classification()
    model = prepare_model(network, task)
    analyzer = Analyzer("peers", model, task, cpu=True, output_dir=folder, disable_tqdm=True)
    rows = TensorDataset(X, y)
    analyzer.fit_all_factors(
        "factors", rows, per_device_batch_size=64, factor_args=FactorArguments(strategy="ekfac")
    )
    analyzer.compute_pairwise_scores(
        "scores",
        "factors",
        TensorDataset(queries, labels),
        rows,
        per_device_query_batch_size=50,
        per_device_train_batch_size=64,
        score_args=ScoreArguments(damping_factor=None),
    )
    scores = analyzer.load_pairwise_scores("scores")["all_modules"]
    return scores.topk(10).indices


def captum_fast(network, X, y, queries, folder):
    from captum.influence import TracInCPFast

    path = f"{folder}/network.pt"
    torch.save(network.state_dict(), path)
    tracin = TracInCPFast(
        network,
        network[-1],
        TensorDataset(X, y),
        [path],
        loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
        batch_size=512,
    )
    labels = network(queries).argmax(1)
    return tracin.influence((queries, labels), k=10, proponents=True).indices


def captum_all(network, X, y, queries, folder):
    from captum.influence import TracInCP

    path = f"{folder}/network.pt"
    torch.save(network.state_dict(), path)
    tracin = TracInCP(
        network,
        TensorDataset(X, y),
        [path],
        loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
        batch_size=64,
        sample_wise_grads_per_batch=True,
    )
    labels = network(queries).argmax(1)
    return tracin.influence((queries, labels), k=10, proponents=True).indices


OURS = "sklearn-provenance"
METHODS = {  # package, name in the table, function
    "InfoGain": (OURS, info_gain),
    "InfoGain, all rows": (OURS, info_gain_all),
    "InfoLoss, K = 4096": (OURS, info_loss),
    "influence, K = 4096": (OURS, influence),
    "TRAK, K = 512": (OURS, trak),
    "TRAK, K = 4096": (OURS, trak_4096),
    "EK-FAC": (OURS, ekfac),
    "gradient dot product": (OURS, grad_dot),
    "similarity": (OURS, rep_sim),
    "traker TRAK, K = 512": ("traker", traker_trak),
    "dattri TRAK, K = 512": ("dattri", dattri_trak),
    "dattri LoGra, K = 4096 a layer": ("dattri", dattri_logra),
    "kronfluence EK-FAC": ("kronfluence", kronfluence_ekfac),
    "captum TracInCPFast": ("captum", captum_fast),
    "captum TracInCP": ("captum", captum_all),
}


def tensor_sketch(n_components):
    def sketch(network, X, y, gradients, seed):
        features = sp.TangentFeatures(
            network, n_components=n_components, measurement="margin", random_state=seed
        )
        return torch.as_tensor(features.fit(X).transform(X, y))

    return sketch


def traker_projector(network, X, y, gradients, seed):
    from trak.projectors import BasicProjector, ProjectionType

    n_parameters = gradients.shape[1]
    projector = BasicProjector(n_parameters, 512, seed, ProjectionType.rademacher, "cpu", 16)
    return projector.project(gradients, model_id=0) / 512**0.5


SKETCHES = {
    "TRAK, K = 512": tensor_sketch(512),
    "TRAK, K = 4096": tensor_sketch(4096),
    "traker TRAK, K = 512": traker_projector,
}


def kernel_error(method, network, X, y, n_rows=40):
    """Error of the sketched kernel of some rows; empty for methods without a sketch like that."""
    if method not in SKETCHES:
        return ""
    X, y = X[:n_rows], y[:n_rows]
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def log_odds(parameters, x, label):
        logits = torch.func.functional_call(network, parameters, x[None])[0]
        log_p = logits.log_softmax(0).gather(0, label[None])[0]
        return log_p - torch.log1p(-log_p.exp())

    gradients = torch.func.vmap(torch.func.grad(log_odds), (None, 0, 0))(parameters, X, y)
    gradients = torch.cat([g.flatten(1) for g in gradients.values()], 1)  # (n_rows, n_parameters)
    exact = gradients.double() @ gradients.double().T
    root = exact.diagonal().sqrt()
    pairs = torch.triu_indices(n_rows, n_rows, 1).unbind()
    errors = []
    for seed in range(3):
        phi = SKETCHES[method](network, X, y, gradients, seed).double()
        errors.append(((phi @ phi.T - exact) / root / root[:, None])[pairs])
    return f"{torch.stack(errors).square().mean().sqrt():.4f}"


def n_statements(function):
    """Number of statements of a function, inner ones included, its imports not."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.stmt))
    return sum(not isinstance(node, ast.ImportFrom) for node in statements) - 1


def measure(method, n_train, n_queries, n_threads):
    """Run a method in this process and add its line to the results."""
    torch.set_num_threads(n_threads)
    package, function = METHODS[method]
    images, labels = load_fashion_mnist("train", return_X_y=True)
    X, y = as_inputs(images[:n_train]), torch.as_tensor(labels[:n_train]).long()
    images, _ = load_fashion_mnist("test", return_X_y=True)
    queries = as_inputs(images[:n_queries])
    network = train(mlp(), X, y, replace(MLP_RECIPE, max_epochs=3))
    with torch.no_grad():
        predicted = network(queries).argmax(1)

    def seconds(action):  # of processor time, which other processes on the machine leave as it is
        start = time.process_time()
        result = action()
        return time.process_time() - start, result

    def epoch():
        return seconds(lambda: train(mlp(), X, y, replace(MLP_RECIPE, max_epochs=1)))[0]

    before = epoch()
    reset_peak()
    held = memory_mb("VmRSS")
    # Some packages write files to the folder that they are called in.
    with tempfile.TemporaryDirectory() as folder, chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taken, best = seconds(lambda: function(network, X, y, queries, folder))
    peak = memory_mb("VmHWM")
    mean_epoch = (before + epoch()) / 2
    same_class = (y[torch.as_tensor(best)] == predicted[:, None]).double().mean()
    Results("peers", KEYS).add(
        method=method,
        package=package,
        version=sp.__version__ if package == OURS else version(package),
        n_train=n_train,
        n_queries=n_queries,
        seconds=f"{taken:.2f}",
        epoch_seconds=f"{mean_epoch:.2f}",
        epochs=f"{taken / mean_epoch:.2f}",
        peak_mb=round(peak),
        extra_peak_mb=round(peak - held),
        statements=n_statements(function),
        same_class=f"{same_class:.3f}",
        kernel_error=kernel_error(method, network, X, y),
    )


KEYS = ("method", "n_train", "n_queries")


def main():
    arguments = parser(__doc__, quick="500 images and 20 queries")
    arguments.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments.add_argument("--size", type=int, default=15_000, help="training images")
    arguments.add_argument("--here", action="store_true", help="in this process, without others")
    options = parse(arguments)
    n_train, n_queries = (500, 20) if options.quick else (options.size, 100)
    n_threads = options.threads or 1
    for method in options.methods:
        if options.here:
            measure(method, n_train, n_queries, n_threads)
            continue
        if Results("peers", KEYS).has(method=method, n_train=n_train, n_queries=n_queries):
            continue
        try:
            version(METHODS[method][0])
        except PackageNotFoundError:
            print(f"{method}: {METHODS[method][0]} is not installed; pip install -e .[peers]")
            continue
        command = [sys.executable, str(Path(__file__)), "--here", "--methods", method]
        command += ["--threads", str(n_threads), "--size", str(n_train)]
        command += ["--quick"] * options.quick
        if subprocess.run(command).returncode:
            print(f"{method}: failed")


if __name__ == "__main__":
    main()
