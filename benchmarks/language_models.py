"""What gradients of all rows cost for small transformers, in training steps of the same batch.

BERT and GPT-2 classify. "GPT-2, language" predicts each next token, with the table of its embedding
as head, and its rows are measured by their log-likelihood. "TransformerEncoder" is torch's own. A
training step is a forward and a backward pass and an update by AdamW. The pass linearises the rows,
keeps nothing, and notes their norms; "linear" leaves out everything but linear layers. The share is
that of the parameters whose gradients follow from the layers' factors. Seconds are of processor
time.
"""

import statistics
import time

import torch
from _common import Results, memory_mb, parse, parser, reset_peak
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)

from sklearn_provenance.tangent import TangentModel, TangentRows
from sklearn_provenance.text import causal_rows, log_likelihood

VOCABULARY, LENGTH = 8000, 64


class Encoder(nn.Module):
    """Classifier with torch's own layers."""

    def __init__(self, width, depth):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.places = nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, width // 32, 4 * width, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        places = self.places(torch.arange(x.shape[1], device=x.device))
        return self.head(self.layers(self.words(x) + places).mean(1))


def networks(width, depth):
    """Untrained networks by name."""
    sizes = {"vocab_size": VOCABULARY, "num_labels": 2, "pad_token_id": 0}
    bert = BertConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        **sizes,
    )
    gpt2 = GPT2Config(
        n_embd=width,
        n_layer=depth,
        n_head=width // 32,
        n_positions=512,
        bos_token_id=1,
        eos_token_id=2,
        **sizes,
    )
    return {
        "BERT": BertForSequenceClassification(bert),
        "GPT-2": GPT2ForSequenceClassification(gpt2),
        "GPT-2, language": GPT2LMHeadModel(gpt2),
        "TransformerEncoder": Encoder(width, depth),
    }


def measured_logits(network, x):
    """Logits of a classifier, and the log-likelihood of rows by a language model."""
    if isinstance(network, GPT2LMHeadModel):
        return log_likelihood(network, causal_rows(x))[:, None]
    outputs = network(x)
    return getattr(outputs, "logits", outputs)


def training_step(network, x, labels):
    optimizer = torch.optim.AdamW(network.parameters(), 1e-5)

    def step():
        network.train()
        optimizer.zero_grad()
        outputs = measured_logits(network, x)
        if outputs.shape[1] == 1:
            loss = -outputs.mean()
        else:
            loss = nn.functional.cross_entropy(outputs, labels)
        loss.backward()
        optimizer.step()

    return step


def seconds(function, repetitions):
    function()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main():
    options = parse(parser(__doc__, "narrower networks"))
    width, depth, n = (64, 2, 16) if options.quick else (256, 4, 64)
    results = Results("language_models", ["network", "parameters", "width"])
    torch.manual_seed(0)
    x = torch.randint(3, VOCABULARY, (n, LENGTH))
    labels = torch.arange(n) % 2
    for name, network in networks(width, depth).items():
        if all(results.has(network=name, parameters=p, width=width) for p in ("all", "linear")):
            continue
        step = seconds(training_step(network, x, labels), 5)
        columns = labels * (name != "GPT-2, language")  # the likelihood is the only column
        linear = [p for p, _ in network.named_parameters() if is_linear(network, p)]
        for which, parameters in {"all": "all", "linear": linear}.items():
            if results.has(network=name, parameters=which, width=width):
                continue
            model = TangentModel(network, forward=measured_logits, parameters=parameters)
            model.plan(x, columns)
            reset_peak()
            passed = seconds(lambda: TangentRows(model, x, columns, memory_limit=0), 5)  # noqa: B023
            results.add(
                network=name,
                parameters=which,
                width=width,
                depth=depth,
                rows=n,
                length=LENGTH,
                share=round(model.coverage.shares["factors"], 4),
                step_seconds=round(step, 4),
                pass_seconds=round(passed, 4),
                steps=round(passed / step, 3),
                peak_mb=round(memory_mb("VmHWM")),
            )


def is_linear(network, name):
    module = network.get_submodule(name.rpartition(".")[0])
    return type(module).__name__ in ("Linear", "Conv1D")


if __name__ == "__main__":
    main()
