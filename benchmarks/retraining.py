"""Copies of a network trained by the engine, against one after the other by hand.

Each copy leaves out 200 other rows (a tenth of the digits). The loop by hand is the module, torch's
optimiser and the rows that remain, batch by batch; "auto" is what the engine chooses. All ways take
their turn, three times, and the fastest turn of each counts. Beside the time on the clock stands
the processor's, which other work on the machine disturbs less; it means something with one thread
on a CPU. Peak memory is that of a fresh process, or what PyTorch allocated on the GPU. Differences
are those of logits of 1000 rows from the loop by hand, and of the classes predicted: rounding that
training amplifies, as double precision shows.
"""

import copy
import functools
import itertools
import multiprocessing
import time

import numpy as np
import torch
from _common import Results, load, memory_mb, parse, parser
from torch import nn

from sklearn_provenance.evaluation import Recipe, retrain
from sklearn_provenance.retraining._schedule import epoch_order

# Widths, data, rows left out, epochs, precision, copies
CASES = [
    ((784, 512, 256, 10), "fashion_15000_flat", 200, 1, "float32", 16),
    ((64, 64, 10), "digits_flat", 130, 5, "float32", 64),
    ((784, 512, 256, 10), "fashion_15000_flat", 200, 1, "float64", 4),
]
QUICK = [
    ((784, 512, 256, 10), "fashion_2000_flat", 200, 1, "float32", 4),
    ((64, 64, 10), "digits_flat", 130, 5, "float32", 16),
    ((784, 512, 256, 10), "fashion_2000_flat", 200, 1, "float64", 4),
]
BATCH = 64


@functools.cache
def setting(widths, name, n_out, epochs, dtype, n_copies):
    X, y, X_eval, _ = load(name, 0)
    scale = X.max()
    X, X_eval = ((a / scale).astype(dtype) for a in (X, X_eval[:1000]))
    torch.manual_seed(0)
    layers = []
    for n_in, n in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n, bias=False), nn.ReLU()]
    rng = np.random.default_rng(0)
    masks = np.ones((n_copies, len(X)), bool)
    for mask in masks:
        mask[rng.choice(len(X), n_out, replace=False)] = False
    module = nn.Sequential(*layers[:-1]).to(getattr(torch, dtype))
    return module, X, y, masks, X_eval, Recipe(max_epochs=epochs)


def by_hand(module, X, y, masks, X_eval, recipe, device):
    X, y, X_eval = (torch.tensor(a).to(device) for a in (X, y, X_eval))
    outputs = []
    for mask in masks:
        network = copy.deepcopy(module).to(device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-3)
        for epoch in range(recipe.max_epochs):
            rows = epoch_order(len(X), 0, epoch)
            keep = torch.from_numpy(mask[rows])
            rows = torch.from_numpy(rows)
            for batch, kept in zip(rows.split(BATCH), keep.split(BATCH), strict=True):
                batch = batch[kept].to(device)
                if not len(batch):
                    continue
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(X[batch]), y[batch]).backward()
                optimizer.step()
        with torch.no_grad():
            outputs.append(network(X_eval).cpu().numpy())
    return np.stack(outputs)


def run(how, case, device):
    """Seconds (wall clock, processor) for each copy and epoch, outputs, and the engine's route."""
    *arguments, X_eval, recipe = setting(*case)
    start, start_cpu = time.perf_counter(), time.process_time()
    if how == "by hand":
        outputs, route = by_hand(*arguments, X_eval, recipe, device), "by hand"
    else:
        size = "auto" if how == "auto" else int(how)
        result = retrain(*arguments, X_eval=X_eval, recipe=recipe, device=device, group_size=size)
        outputs, route = result.outputs, result.route
    seconds = np.array([time.perf_counter() - start, time.process_time() - start_cpu])
    return seconds / len(outputs) / recipe.max_epochs, outputs, route


def measure_memory(how, case, device, threads, queue):
    torch.set_num_threads(threads)
    run(how, case, device)
    on_gpu = device == "cuda"
    queue.put(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else memory_mb("VmHWM"))


def peak_memory(*arguments):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(
        target=measure_memory, args=(*arguments, torch.get_num_threads(), queue)
    )
    process.start()
    peak = queue.get()
    process.join()
    return round(peak)


def main():
    arguments = parser(__doc__, "2000 images, 4 copies, one turn, no memory")
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parse(arguments)
    device, threads = options.device, torch.get_num_threads()
    keys = ["network", "dtype", "rows", "group_size", "copies", "on", "threads"]
    results = Results("retraining", keys)
    for case in QUICK if options.quick else CASES:
        if device == "cuda" and not options.quick:
            case = (*case[:-1], 50)
        widths, *_, dtype, n_copies = case
        sizes = [size for size in (1, 2, 4, 8, 16, 50) if size <= n_copies]
        ways = ["by hand", *map(str, sizes), "auto"]
        n_rows = len(setting(*case)[1])
        key = {"network": "-".join(map(str, widths)), "dtype": dtype, "rows": n_rows}
        key |= {"copies": n_copies, "on": device}
        if all(results.has(**key, group_size=how, threads=threads) for how in ways):
            continue
        warm_up = (*case[:-1], 2)
        run("by hand", warm_up, device), run("2", warm_up, device)
        seconds, outputs, routes = {how: [] for how in ways}, {}, {}
        for _ in range(1 if options.quick else 3):
            for how in ways:
                took, outputs[how], routes[how] = run(how, case, device)
                seconds[how].append(took)
        alone = outputs["by hand"]
        for how in ways:
            wall, processor = np.min(seconds[how], axis=0)
            wall_by_hand, processor_by_hand = np.min(seconds["by hand"], axis=0)
            results.add(
                **key,
                group_size=how,
                route=routes[how],
                seconds_per_copy_epoch=round(wall, 5),
                cpu_seconds_per_copy_epoch=round(processor, 5),
                speed_over_by_hand=round(wall_by_hand / wall, 3),
                cpu_speed_over_by_hand=round(processor_by_hand / processor, 3),
                peak_mb="" if options.quick else peak_memory(how, case, device),
                largest_difference=float(f"{np.abs(outputs[how] - alone).max():.1e}"),
                other_predictions=np.mean(outputs[how].argmax(2) != alone.argmax(2)).round(5),
            )


if __name__ == "__main__":
    main()
