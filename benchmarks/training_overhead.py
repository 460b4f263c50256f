"""What training through the estimator costs, against a hand-written PyTorch loop.

Both sides train the same network on the same rows with the same batch size, epochs and optimiser
(fused AdamW), in one run, in turn. The loop does the least that a loop can do: the own index as
target and torch's cross entropy, no smoothing, no history. The estimator runs as it is, with
expected mixing, label smoothing, losses and accuracies per epoch. Peak memory is that of a fresh
process per side.
"""

import multiprocessing
import statistics
import time

import torch
from _common import Results, load, memory_mb, parse, parser

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.provenance._index import ClassIndex
from sklearn_provenance.provenance._network import ProvenanceNetwork

CASES = {
    "digits, MLP, class-conditional": ("digits_flat", "class_conditional", {}, 20),
    "digits, MLP, single branch": ("digits_flat", "single_branch", {}, 20),
    "digits, small CNN, class-conditional": ("digits", "class_conditional", {"width": "small"}, 4),
    "MNIST 6000, MLP, single branch": ("mnist_6000_flat", "single_branch", {}, 2),
    "MNIST 6000, MLP, class-conditional": ("mnist_6000_flat", "class_conditional", {}, 4),
}
REPEATS = 7


def estimator(case):
    name, architecture, params, epochs = CASES[case]
    X, y, *_ = load(name, 0)
    clf = ProvenanceClassifier(architecture, max_epochs=epochs, random_state=0, **params)
    start = time.perf_counter()
    clf.fit(X, y)
    return time.perf_counter() - start


def hand_written(case):
    name, architecture, params, epochs = CASES[case]
    X, y, *_ = load(name, 0)
    start = time.perf_counter()
    index = ClassIndex.from_labels(y, 10)
    shape = (1, 8, 8) if name == "digits" else X.shape[1:]
    network = ProvenanceNetwork(
        architecture,
        shape,
        None,
        1 / 255,
        index.sizes.tolist(),
        torch.Generator().manual_seed(0),
        backbone="cnn" if name == "digits" else "mlp",
        **params,
    )
    conditional = architecture == "class_conditional"
    x, label = torch.tensor(X.reshape(len(X), -1)), torch.tensor(y)
    own = torch.tensor(index.local) if conditional else torch.arange(len(y))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=2e-5, fused=True)
    cross_entropy = torch.nn.functional.cross_entropy
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            out = network(x[rows], label[rows])
            loss = cross_entropy(out.index_logits, own[rows])
            if conditional:
                loss = loss + cross_entropy(out.class_logits, label[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - start


SIDES = {"estimator": estimator, "hand_written": hand_written}


def measure_memory(side, case, threads, queue):
    torch.set_num_threads(threads)
    SIDES[side](case)
    queue.put(memory_mb("VmHWM"))


def peak_memory(side, case):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = (side, case, torch.get_num_threads(), queue)
    process = context.Process(target=measure_memory, args=arguments)
    process.start()
    peak = queue.get()
    process.join()
    return round(peak)


def main():
    options = parse(parser(__doc__, "two repeats"))
    results, memory = Results("training_overhead", ["case"]), Results("training_memory", ["case"])
    for case in CASES:
        if not memory.has(case=case):
            peaks = {f"{side}_peak_mb": peak_memory(side, case) for side in SIDES}
            memory.add(case=case, **peaks)
        if results.has(case=case):
            continue
        hand_written(case), estimator(case)  # warm up
        seconds = {side: [] for side in SIDES}
        for _ in range(2 if options.quick else REPEATS):
            for side, run in SIDES.items():
                seconds[side].append(run(case))
        ours, theirs = (statistics.median(seconds[side]) for side in SIDES)
        ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
        results.add(
            case=case,
            epochs=CASES[case][3],
            repeats=len(ratios),
            hand_written_seconds=round(theirs, 3),
            estimator_seconds=round(ours, 3),
            ratio=round(ours / theirs, 3),
            ratio_lowest=round(min(ratios), 3),
            ratio_highest=round(max(ratios), 3),
        )


if __name__ == "__main__":
    main()
