"""What modules take and return, in every form users give it."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    RidgeClassifier,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.attribution.models import adapt
from sklearn_provenance.tangent._run import run

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:sklearn"),
]

IRIS, SPECIES = load_iris(return_X_y=True)
IRIS32 = IRIS.astype(np.float32)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
TEXTS = np.array(["a cat ran", "the dog sat", "a cat sat", "dogs ran far"] * 10, dtype=object)


def mlp():
    return MLPClassifier((6,), max_iter=15, random_state=0)


def skorch_net(module, **params):
    return NeuralNetClassifier(module, max_epochs=3, train_split=None, verbose=0, **params)


def provenance():
    return ProvenanceClassifier("single_branch", width="small", max_epochs=3, random_state=0)


def logits_of(model, X):
    return run(model, model.inputs(X))


# ----------------------------------------------------------------- outputs of modules
class Returns(nn.Module):
    """Hands its hidden layer h and its logits to a function, which arranges the outputs."""

    def __init__(self, arrange, n_out=3):
        super().__init__()
        self.arrange = arrange
        torch.manual_seed(0)
        self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, n_out)

    def forward(self, x):
        h = torch.tanh(self.hidden(x))
        return self.arrange(h, self.out(h))


class Output:
    def __init__(self, logits):
        self.logits = logits


OUTPUTS = {
    "tensor": lambda h, z: z,
    "dict": lambda h, z: {"hidden": h, "logits": z},
    "object": lambda h, z: Output(z),
    "tuple": lambda h, z: (z, None),
    "logits and attention": lambda h, z: (z, h[:, None]),
    "list of one": lambda h, z: [z],
    "logits and numbers of rows": lambda h, z: (z, torch.arange(len(z))[:, None]),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("n_out", [1, 3])
def test_logits_are_found(name, n_out):
    module = Returns(OUTPUTS[name], n_out)
    z = module.out(torch.tanh(module.hidden(torch.tensor(IRIS32)))).detach()
    truth = z if n_out == 3 else torch.cat([-z / 2, z / 2], 1)
    model = adapt(module)
    examined = model.examined(model.inputs(IRIS))
    assert (examined.forward is None) == (name == "tensor" and n_out == 3)
    assert examined.n_outputs == n_out
    np.testing.assert_array_equal(examined.classes, np.arange(truth.shape[1]))
    for X in (IRIS32, IRIS32[:1]):
        torch.testing.assert_close(logits_of(model, X), truth[: len(X)])
        torch.testing.assert_close(logits_of(examined, X), truth[: len(X)])
        np.testing.assert_array_equal(examined.predict(X), truth[: len(X)].argmax(1))


def test_one_number_a_row_without_an_axis():
    for arrange in (lambda h, z: z[:, 0], lambda h, z: z.squeeze()):
        model = adapt(Returns(arrange, 1))
        examined = model.examined(model.inputs(IRIS))
        assert examined.n_outputs == 1
        np.testing.assert_array_equal(examined.classes, [0, 1])
        one = logits_of(examined, IRIS[:1])  # squeeze() leaves no axis at all
        torch.testing.assert_close(one, logits_of(examined, IRIS)[:1])


REFUSED = {
    "features and logits": (lambda h, z: (h, z), ValueError, r"module\(x\)\[1\]"),
    "dict": (lambda h, z: {"scores": z}, ValueError, r"\['scores'\].*forward="),
    "sequence": (lambda h, z: z[:, None].expand(-1, 5, -1), ValueError, "measurement="),
    "integers": (lambda h, z: z.argmax(1), ValueError, "int64"),
    "complex": (lambda h, z: torch.complex(z, z), ValueError, "complex64"),
    "array": (lambda h, z: z.detach().numpy(), TypeError, "ndarray.*forward="),
    "nothing": (lambda h, z: None, TypeError, "NoneType"),
    "empty": (lambda h, z: (), ValueError, "empty"),
    "no columns": (lambda h, z: z[:, :0], ValueError, r"\(3, 0\)"),
    "a mean": (lambda h, z: z.mean(0, keepdim=True), ValueError, r"\(1, 3\) for 3 rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unclear_outputs_are_refused(name):
    arrange, error, message = REFUSED[name]
    model = adapt(Returns(arrange))
    with pytest.raises(error, match=message):
        model.examined(model.inputs(IRIS))


def test_a_softmax_at_the_end_is_named():
    module = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    model = adapt(module)
    with pytest.warns(UserWarning, match="look like probabilities.*forward="):
        model.examined(model.inputs(IRIS))
    logits = model.with_forward(lambda module, x: module(x).log())
    assert logits.examined(model.inputs(IRIS)).classes.tolist() == [0, 1, 2]


def test_a_forward_of_ones_own():
    module = Returns(lambda h, z: (h, z))
    truth = logits_of(adapt(Returns(OUTPUTS["tensor"])), IRIS)
    for outer in (module, FrozenEstimator(module)):
        model = adapt(outer).with_forward(lambda module, x: module(x)[1])
        model = model.examined(model.inputs(IRIS))
        torch.testing.assert_close(logits_of(model, IRIS), truth)
        np.testing.assert_array_equal(model.predict(IRIS), truth.argmax(1))
        outputs = logits_of(model.with_forward(None, logits=False), IRIS)
        assert isinstance(outputs, tuple)
    skorch = skorch_net(Returns(lambda h, z: (z, h)), criterion=nn.CrossEntropyLoss)
    skorch.initialize()
    torch.testing.assert_close(logits_of(adapt(skorch), IRIS32), truth)


# ----------------------------------------------------------------- inputs
class Words(nn.Module):
    """Token ids and a mask."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.out = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, ids, mask=None):
        h = self.embedding(ids)
        return self.out(h.sum(1) if mask is None else (h * mask[..., None]).sum(1))


class Whole(Words):
    def forward(self, batch):
        return super().forward(batch["ids"], batch["mask"])


class Keywords(Words):
    def forward(self, **batch):
        return super().forward(**batch)


IDS = np.random.default_rng(0).integers(0, 20, (9, 6))
MASK = (np.arange(6) < np.arange(9)[:, None] + 1).astype(np.float64)


@pytest.mark.parametrize("cls", [Words, Whole, Keywords])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_dicts_of_inputs(cls, kind):
    module = cls()
    with torch.no_grad():
        truth = Words()(torch.tensor(IDS), torch.tensor(MASK).float())
    model = adapt(module)
    inputs = model.inputs({"ids": kind(IDS), "mask": kind(MASK)})
    assert all(isinstance(value, torch.Tensor) for value in inputs.values())
    torch.testing.assert_close(run(model.examined(inputs), inputs), truth)
    np.testing.assert_array_equal(model.predict({"ids": IDS, "mask": MASK}), truth.argmax(1))
    with pytest.raises(ValueError, match="one number of rows"):
        model.inputs({"ids": IDS, "mask": MASK[1:]})


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint16])
def test_integers_are_ids_where_the_module_takes_those(dtype):
    ids = IDS.astype(dtype)
    torch.testing.assert_close(logits_of(adapt(Words()), ids), run(adapt(Words()), IDS))
    # The same numbers for a module of numbers.
    module = nn.Linear(6, 3)
    assert adapt(module).inputs(ids).dtype == torch.float32
    # One that has an embedding and yet takes floats; one that takes integers without one.
    both = Words()
    both.forward = lambda x: both.embedding(x[:, 0].long()) + module(x)[:, :1]
    assert adapt(both).inputs(ids).dtype == torch.float32
    both.forward = lambda x: module(nn.functional.one_hot(x[:, 0], 20)[:, :6].float())
    both.embedding = None
    assert adapt(both).inputs(ids).dtype == torch.int64
    assert adapt(module).inputs(torch.tensor(IDS)).dtype == torch.int64


class Doubling(nn.Linear):
    def forward(self, x):
        return super().forward(x.mul_(2))


def test_kinds_of_rows():
    polars = pytest.importorskip("polars")
    module = Doubling(4, 3)
    model = adapt(module)
    frame = pd.DataFrame(IRIS, columns=list("abcd"))
    tensor = torch.tensor(IRIS32, requires_grad=True)
    truth = nn.functional.linear(tensor * 2, module.weight, module.bias).detach()
    kinds = {
        "array": IRIS.copy(),
        "big-endian": IRIS.astype(">f8"),
        "rows as tensors": list(tensor),
        "reversed": IRIS[::-1],
        "read-only": np.broadcast_to(IRIS, IRIS.shape),
        "integers as objects": IRIS.astype(object),
        "list": IRIS.tolist(),
        "frame": frame,
        "nullable frame": frame.convert_dtypes(),
        "polars": polars.DataFrame(frame.to_dict("list")),
        "tensor": tensor,
        "half": IRIS32.astype(np.float16),
        "sparse": csr_array(IRIS),
    }
    for name, X in kinds.items():
        expected = truth.flip(0) if name == "reversed" else truth
        before = X.detach().clone() if isinstance(X, torch.Tensor) else copy.copy(X)
        inputs = model.inputs(X)
        assert inputs.dtype in (np.float32, np.float64, torch.float32, torch.float64), name
        assert not getattr(inputs, "requires_grad", False)
        tolerance = 1e-2 if name == "half" else 1e-5
        torch.testing.assert_close(run(model, inputs), expected, rtol=tolerance, atol=tolerance)
        model.examined(inputs)
        if isinstance(X, np.ndarray | torch.Tensor):
            assert (before == X).all(), name


def test_modules_that_would_change_are_not_run():
    renorm = nn.Sequential(nn.Embedding(20, 3, max_norm=0.1), nn.Flatten(), nn.Linear(18, 3))
    before = copy.deepcopy(renorm.state_dict())
    for module in (renorm, nn.LazyLinear(3)):
        for ids in (IDS, torch.tensor(IDS)):
            with pytest.raises(ValueError, match=r"max_norm|must have a shape"):
                adapt(module).examined(adapt(module).inputs(ids))
    assert all((before[name] == value).all() for name, value in renorm.state_dict().items())


def test_memory_maps_are_read_when_needed(tmp_path):
    np.save(tmp_path / "rows.npy", IRIS32)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    model = adapt(nn.Linear(4, 3))
    assert isinstance(model.inputs(rows), np.memmap)
    torch.testing.assert_close(logits_of(model, rows), logits_of(model, IRIS32))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # since torch 2.14
def test_compiled_modules():
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    model = adapt(torch.jit.trace(module, torch.tensor(IRIS32[:2])))
    model = model.examined(model.inputs(IRIS))
    torch.testing.assert_close(logits_of(model, IRIS), logits_of(adapt(module), IRIS))
    words = adapt(torch.jit.script(Words()))
    with pytest.raises((RuntimeError, TypeError)):
        words.examined(words.inputs({"wrong": IDS}))
    inputs = words.inputs({"ids": IDS, "mask": MASK})
    torch.testing.assert_close(run(words, inputs), run(adapt(Words()), inputs))


def test_rows_that_are_refused():
    dataset = TensorDataset(torch.tensor(IRIS32))
    scaled = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, NAMES)
    skorch = skorch_net(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))).fit(IRIS32, SPECIES)
    numbers = RandomForestClassifier(2).fit(IRIS, NAMES)
    for estimator in (nn.Linear(4, 3), scaled, skorch, numbers, provenance()):
        if isinstance(estimator, ProvenanceClassifier):
            estimator.fit(IRIS, NAMES)
        model = adapt(estimator)
        for X, error, message in [
            (dataset, TypeError, "TensorDataset.*Pass the rows"),
            (DataLoader(dataset), TypeError, "DataLoader.*Pass the rows"),
            (np.ma.masked_less(IRIS, 1), ValueError, "masked array"),
            (IRIS + 1j, ValueError, "complex128"),
            (torch.tensor(IRIS + 1j), ValueError, "complex128"),
            (csr_matrix(IRIS + 1j), ValueError, "complex128"),
            (torch.tensor(IRIS).to_sparse(), ValueError, "sparse_coo"),
            (torch.empty(3, 4, device="meta"), ValueError, "meta"),
        ]:
            with pytest.raises(error, match=message):
                model.inputs(X)
            if model.module is None:
                with pytest.raises(error, match=message):
                    model.predict(X)
    model = adapt(nn.Linear(4, 3))
    for X in (TEXTS, TEXTS.tolist(), [[1, 2], [3]], pd.DataFrame({"a": ["x", "y"]})):
        with pytest.raises(ValueError, match="numeric"):
            model.inputs(X)


def test_names_of_columns_are_checked():
    frame = pd.DataFrame(IRIS, columns=list("abcd"))
    for estimator in (LogisticRegression(max_iter=500), mlp(), provenance()):
        model = adapt(estimator.fit(frame, NAMES))
        model.inputs(frame)
        with pytest.raises(ValueError, match="feature names"):
            model.inputs(frame[list("dcba")])
        few = frame[list("abc")].to_numpy()
        warned = pytest.warns(UserWarning, match="does not have valid feature names")
        with warned, pytest.raises(ValueError, match="features"):
            model.inputs(few)


def test_a_sparse_table():
    frame = pd.DataFrame({"c": list("abcdefghij") * 6, "x": np.arange(60.0)})
    y = np.arange(60) % 2
    columns = make_column_transformer(
        (OneHotEncoder(), ["c"]), remainder="passthrough", sparse_threshold=1.0
    )
    for last in (LogisticRegression(), mlp(), RidgeClassifier()):
        pipe = make_pipeline(columns, last).fit(frame, y)
        model = adapt(pipe)
        assert issparse(model.inputs(frame))
        np.testing.assert_array_equal(
            model.classes[model.decide(logits_of(model, frame))], pipe.predict(frame)
        )


# skorch takes a frame's columns as they are, and those of pandas 3 cannot be written to.
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_columns_of_a_frame_for_skorch():
    class Columns(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(2, 3)

        def forward(self, b, a):
            return self.out(torch.cat([a, b], 1))

    frame = pd.DataFrame(IRIS32[:, :2], columns=list("ab"))
    estimator = skorch_net(Columns(), criterion=nn.CrossEntropyLoss).fit(frame, SPECIES)
    model = adapt(estimator)
    np.testing.assert_array_equal(model.decide(logits_of(model, frame)), estimator.predict(frame))


@pytest.mark.filterwarnings("ignore:some rows of input_ids end in 0:UserWarning")
@pytest.mark.filterwarnings("ignore:some rows of input_ids begin in 0:UserWarning")
def test_hugging_face_models():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    module = transformers.BertForSequenceClassification(config).eval()
    batch = transformers.BatchEncoding({"input_ids": IDS, "attention_mask": MASK.astype(int)})
    with torch.no_grad():
        plain = module(torch.tensor(IDS)).logits
        masked = module(torch.tensor(IDS), torch.tensor(MASK.astype(int))).logits
    for X, truth in [
        (IDS, plain),
        (torch.tensor(IDS), plain),
        (batch, masked),
        (batch.convert_to_tensors("pt"), masked),
    ]:
        model = adapt(module)
        inputs = model.inputs(X)
        model = model.examined(inputs)
        assert model.n_outputs == 3
        torch.testing.assert_close(run(model, inputs), truth)
        np.testing.assert_array_equal(model.predict(X), truth.argmax(1))
    words = transformers.BertForTokenClassification(config)
    with pytest.raises(ValueError, match="measurement="):
        adapt(words).examined(torch.tensor(IDS))
