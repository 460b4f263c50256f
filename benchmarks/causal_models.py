"""Attribution of a small language model: which training sequence was a prompt cut from?

A model of less than half a million weights learns rows of 32 words of Python's manual. A prompt is
a piece of a training row, from its start or from its middle, and the word that follows it is
explained. The share of prompts whose row is first, and among the first five, is counted over all
rows. Rows are measured by all of their words, prompts by the next one: by log-likelihoods, whose
gradients vanish for what the model knows by heart, or by log odds. "Whole prompt" measures prompts
by all of their words and the next.

The second part is the linear datamodeling score of rows of the manual that were not learned,
measured by all of their words, over models trained on random halves of fewer and shorter rows.
Standard errors are over prompts or queries.
"""

import time
from functools import partial
from itertools import chain

import numpy as np
import torch
from _causal import train, windows
from _common import Results, parse, parser

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import (
    BM25Attributor,
    EKFACAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)
from sklearn_provenance.evaluation import lds_from_truth
from sklearn_provenance.tangent import TangentModel, TangentRows
from sklearn_provenance.text import (
    causal_measurement,
    causal_rows,
    log_likelihood,
    log_odds,
    mean_embeddings,
)

MEASURES = {"log p": log_likelihood, "log odds": log_odds}


class Hidden(torch.nn.Module):
    """What the head reads of each word."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model.hidden(input_ids)


def only_ids(function, rows):
    return function({"input_ids": rows["input_ids"]})


def next_word(model, rows):
    """Logits of the word after the last."""
    return model(rows["input_ids"])[:, -1]


def scores_by_method(model, rows, asked):
    """Name of the method, scores (n_queries, n_rows) of each set of queries, and seconds."""
    zeros = np.zeros(len(rows["labels"]), dtype=int)
    targets = [np.zeros(len(queries["labels"]), dtype=int) for queries in asked]
    others = {"forward": next_word, "candidates": "all"}
    embed = partial(only_ids, partial(mean_embeddings, Hidden(model)))
    attributors = {
        "Random": RandomAttributor(model, **others),
        "BM25": BM25Attributor(model, **others),
        "embedding cosine": RepSimAttributor(model, features=embed, **others),
    }
    for measure, forward in MEASURES.items():
        settings = {"forward": forward, "measurement": causal_measurement, "candidates": "all"}
        for noise in ("scale", "0.1*diagonal"):
            attributors[f"InfoGain, {measure}, {noise}"] = InfoGainAttributor(
                model, noise_variance=noise, **settings
            )
    yield from attributions(attributors, rows, asked)
    for measure, forward in MEASURES.items():
        start = time.perf_counter()
        tangent = TangentModel(model, forward=forward, measurement=causal_measurement)
        theirs = TangentRows(tangent, rows, zeros)
        products = [
            TangentRows(tangent, queries, y).inner(theirs)
            for queries, y in zip(asked, targets, strict=True)
        ]
        seconds = time.perf_counter() - start
        yield f"gradient product, {measure}", [found.numpy() for found in products], seconds
        norms = theirs.norms().rsqrt()
        yield (
            f"gradient cosine, {measure}",
            [(found * norms).numpy() for found in products],
            seconds,
        )


def whole_prompt_scores(model, rows, asked):
    """As :func:`scores_by_method`, for prompts of which all words are measured."""
    settings = {"forward": log_odds, "candidates": "all"}
    attributors = {
        "RelatIF": RelatIFAttributor(model, noise_variance="0.03*diagonal", **settings),
        "EK-FAC": EKFACAttributor(model, **settings),
        "TRAK": TRAKAttributor(model, **settings),
        "InfoGain": InfoGainAttributor(model, noise_variance="0.1*diagonal", **settings),
    }
    named = {f"{name}, whole prompt": attributor for name, attributor in attributors.items()}
    yield from attributions(named, rows, asked)


def attributions(attributors, rows, asked):
    """Yield the name, scores of each set of queries, and seconds of each attributor."""
    for name, attributor in attributors.items():
        start = time.perf_counter()
        attributor.fit(dict(rows), np.zeros(len(rows["labels"]), dtype=int))
        found = [
            attributor.attribute(dict(queries), np.zeros(len(queries["labels"]), dtype=int))
            for queries in asked
        ]
        yield name, found, time.perf_counter() - start


def ranks_of(scores, truth):
    """Ranks of the true rows, from 1; of rows that score the same, the middle one."""
    own = scores[np.arange(len(scores)), truth][:, None]
    return 1 + (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2


def retrieval(results, options):
    n_rows, n_prompts, epochs = (200, 40, 15) if options.quick else (500, 100, 25)
    cases = [(where, n) for where in ("start", "middle") for n in (4, 8)]
    for seed in range(1 if options.quick else options.seeds):
        key = {"seed": seed, "rows": n_rows}
        last = {
            "part": "retrieval",
            "method": "InfoGain, whole prompt",
            "prompt": "middle, 8 words",
        }
        if results.has(**last, **key):
            continue
        every = windows(32, 1000)
        rng = np.random.default_rng(seed)
        rows = causal_rows(every.take_rows(rng.choice(len(every.texts), n_rows, replace=False)))
        truth = [rng.choice(n_rows, n_prompts, replace=False) for _ in cases]
        words = [
            prompts(rows["input_ids"][chosen].numpy(), where, n, rng)
            for chosen, (where, n) in zip(truth, cases, strict=True)
        ]
        model = train(rows, 1000, epochs=epochs, seed=seed, lr=3e-3)
        with torch.no_grad():
            learned = -log_likelihood(model, dict(rows)).mean().item() / 31
        every_score = chain(
            scores_by_method(model, rows, [causal_rows(ids, last=1) for ids in words]),
            whole_prompt_scores(model, rows, [causal_rows(ids) for ids in words]),
        )
        for name, scores, seconds in every_score:
            for of_case, chosen, (where, n) in zip(scores, truth, cases, strict=True):
                ranks = ranks_of(of_case, chosen)
                line = {"part": "retrieval", "method": name, **key}
                line["prompt"] = f"{where}, {n} words"
                if results.has(**line):
                    continue
                for k in (1, 5):
                    hits = ranks <= k
                    line[f"top{k}"] = round(hits.mean(), 4)
                    line[f"top{k}_se"] = round(hits.std(ddof=1) / n_prompts**0.5, 4)
                line |= {"lds": "", "lds_se": "", "queries": n_prompts, "copies": ""}
                line |= {"weights": n_weights(model), "nats_per_word": round(learned, 3)}
                results.add(**line, seconds=round(seconds, 1))


def prompts(ids, where, n, rng):
    """Cut n words and the next one from each row."""
    first = np.zeros(len(ids), dtype=int)
    if where == "middle":
        first = rng.integers(1, ids.shape[1] - n, len(ids))
    return np.stack([row[i : i + n + 1] for row, i in zip(ids, first, strict=True)])


def datamodeling(results, options):
    n_rows, n_queries, n_copies, epochs = (60, 20, 6, 10) if options.quick else (200, 50, 40, 20)
    key = {"seed": 0, "rows": n_rows, "prompt": "all words"}
    if results.has(part="lds", method="gradient cosine, log odds", **key):
        return
    every = windows(24, 600)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(every.texts), n_rows + n_queries, replace=False)
    rows = causal_rows(every.take_rows(chosen[:n_rows]))
    queries = causal_rows(every.take_rows(chosen[n_rows:]))
    settings = {"epochs": epochs, "seed": 0, "lr": 3e-3, "width": 64}
    masks = np.stack([rng.permutation(n_rows) < n_rows // 2 for _ in range(n_copies)])
    values = []
    for number, mask in enumerate(masks):
        copy = train(rows.take_rows(mask), 600, **settings)
        with torch.no_grad():
            values.append(log_likelihood(copy, dict(queries)).numpy())
        print(f"copy {number + 1} of {n_copies}", flush=True)
    model = train(rows, 600, **settings)
    with torch.no_grad():
        learned = -log_likelihood(model, dict(rows)).mean().item() / 23
    for name, (scores,), seconds in scores_by_method(model, rows, [queries]):
        found = lds_from_truth(scores, masks, np.stack(values))
        line = {"part": "lds", "method": name, **key}
        line |= {"top1": "", "top1_se": "", "top5": "", "top5_se": ""}
        line |= {"lds": round(found.mean(), 4)}
        line |= {"lds_se": round(found.std(ddof=1) / n_queries**0.5, 4)}
        line |= {"queries": n_queries, "copies": n_copies, "weights": n_weights(model)}
        results.add(**line, nats_per_word=round(learned, 3), seconds=round(seconds, 1))


def n_weights(model):
    return sum(p.numel() for p in model.parameters())


def main():
    arguments = parser(__doc__, "fewer rows, prompts and copies")
    arguments.add_argument("--seeds", type=int, default=2, help="models of the first part")
    options = parse(arguments)
    results = Results("causal_models", ["part", "method", "seed", "rows", "prompt"])
    retrieval(results, options)
    datamodeling(results, options)


if __name__ == "__main__":
    main()
