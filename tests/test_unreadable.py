"""Masked arrays and torch's loaders are refused wherever rows, labels or numbers go in."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    ProvenanceClassifier,
    ProvenanceVAE,
    explain,
)
from sklearn_provenance import TangentFeatures as Tangent
from sklearn_provenance.attribution import InfoLossAttributor, RandomAttributor, RepSimAttributor
from sklearn_provenance.evaluation import (
    backdoor_retrieval,
    brittleness,
    label_disagreement,
    label_error_ranking,
    label_error_scores,
    label_loss,
    lds_from_truth,
    realism,
    relative_information,
    robustness,
    self_influence,
)
from sklearn_provenance.inspection import (
    ProvenanceOutlierDetector,
    anomaly_ranking,
    embedding_clusters,
    index_entropy,
    membership_inference,
    memorisation_scores,
    report,
)
from sklearn_provenance.retraining import Recipe, retrain

X, Y = load_iris(return_X_y=True)
X, Y = X[::5].astype(np.float32), Y[::5]
QUICK = {"width": "small", "max_epochs": 1, "device": "cpu", "random_state": 0}


class Fitted:
    """What calls need, fitted once."""

    def __init__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.clf = ProvenanceClassifier(backbone="mlp", **QUICK).fit(X, Y)
            self.vae = ProvenanceVAE(2, **QUICK).fit(X, Y)
            self.lr = LogisticRegression(max_iter=1000).fit(X, Y)
            self.network = nn.Linear(4, 3)
            self.repsim = RepSimAttributor(self.lr).fit(X, Y)
            self.influence = InfluenceAttributor(self.lr).fit(X, Y)
            self.loss = InfoLossAttributor(self.network).fit(X, Y)
            self.explanation = self.clf.explain(k=2)

    def retrain(self, **given):
        """Train a copy of a network for an epoch, on what is given."""
        given = {"X": X, "y": Y, "masks": np.ones((1, 30), bool), "X_eval": X} | given
        arguments = (given.pop(name) for name in ("X", "y", "masks"))
        return retrain(self.network, *arguments, recipe=Recipe(max_epochs=1), **given)


@pytest.fixture(scope="module")
def fitted():
    return Fitted()


ROWS = {
    "classifier.fit": lambda f, X: ProvenanceClassifier(**QUICK).fit(X, Y),
    "classifier.predict": lambda f, X: f.clf.predict(X),
    "classifier.predict_proba": lambda f, X: f.clf.predict_proba(X),
    "classifier.predict_index": lambda f, X: f.clf.predict_index(X),
    "classifier.index_proba": lambda f, X: f.clf.index_proba(X),
    "classifier.index_certainty": lambda f, X: f.clf.index_certainty(X),
    "classifier.transform": lambda f, X: f.clf.transform(X),
    "classifier.explain": lambda f, X: f.clf.explain(X),
    "classifier.kneighbors": lambda f, X: f.clf.kneighbors(X),
    "classifier.find_training_rows": lambda f, X: f.clf.find_training_rows(X),
    "autoencoder.fit": lambda f, X: ProvenanceVAE(2, **QUICK).fit(X, Y),
    "autoencoder.transform": lambda f, X: f.vae.transform(X),
    "autoencoder.inverse_transform": lambda f, X: f.vae.inverse_transform(X[:, :2]),
    "autoencoder.explain": lambda f, X: f.vae.explain(X),
    "autoencoder.explain_latent": lambda f, X: f.vae.explain_latent(X[:, :2]),
    "autoencoder.score": lambda f, X: f.vae.score(X),
    "attributor.fit": lambda f, X: RepSimAttributor(f.lr).fit(X, Y),
    "attributor.explain": lambda f, X: f.repsim.explain(X),
    "attributor.attribute": lambda f, X: f.repsim.attribute(X),
    "attributor.predict": lambda f, X: f.repsim.predict(X),
    "attributor of a network": lambda f, X: InfoGainAttributor(f.network).fit(X, Y),
    "influence.fit": lambda f, X: InfluenceAttributor(f.lr).fit(X, Y),
    "influence.explain": lambda f, X: f.influence.explain(X),
    "influence.predict_without": lambda f, X: f.influence.predict_without(X, [0]),
    "random": lambda f, X: RandomAttributor(f.lr).fit(X, Y),
    "information_lost": lambda f, X: f.loss.information_lost(X, [[0]] * 30),
    "tangent features": lambda f, X: Tangent(f.network).fit(X),
    "explain": lambda f, X: explain(f.clf, X),
    "self_influence": lambda f, X: self_influence(f.repsim, X, Y),
    "label_error_scores": lambda f, X: label_error_scores(f.repsim, X, Y),
    "label_loss": lambda f, X: label_loss(f.lr, X, Y),
    "robustness": lambda f, X: robustness(f.clf, X, Y),
    "realism, reference": lambda f, X: realism(f.vae, np.asarray, X_reference=X),
    "realism, test": lambda f, X: realism(f.vae, np.asarray, X_test=X),
    "relative_information": lambda f, X: relative_information(f.repsim, f.loss, X, sizes=(1,)),
    "brittleness": lambda f, X: brittleness(f.repsim, X, Y, X, Y, model=f.lr, sizes=(1,)),
    "backdoor_retrieval": lambda f, X: backdoor_retrieval(f.repsim, X, Y, Y == 0, k=2),
    "retrain": lambda f, X: f.retrain(X=X),
    "retrain, evaluated": lambda f, X: f.retrain(X_eval=X),
    "detector.fit": lambda f, X: ProvenanceOutlierDetector(f.clf).fit(X),
    "embedding_clusters": lambda f, X: embedding_clusters(f.clf, label=0, X=X, y=Y),
    "index_entropy": lambda f, X: index_entropy(f.clf, X),
    "membership, members": lambda f, A: membership_inference(f.clf, A, X),
    "membership, others": lambda f, A: membership_inference(f.clf, X, A),
    "memorisation_scores": lambda f, X: memorisation_scores(f.clf, X, Y),
    "report": lambda f, X: report(f.clf, X),
}
# Where there is a label or a number for each row.
COLUMNS = {
    "classifier.fit": lambda f, y: ProvenanceClassifier(**QUICK).fit(X, y),
    "classifier.fit, names": lambda f, y: ProvenanceClassifier(**QUICK).fit(X, Y, sample_id=y),
    "classifier.predict_index": lambda f, y: f.clf.predict_index(X, y),
    "autoencoder.fit": lambda f, y: ProvenanceVAE(2, **QUICK).fit(X, y),
    "attributor.fit": lambda f, y: RepSimAttributor(f.lr).fit(X, y),
    "attributor.fit, names": lambda f, y: RepSimAttributor(f.lr).fit(X, Y, sample_id=y),
    "attributor.explain": lambda f, y: f.repsim.explain(X, y),
    "attributor.attribute": lambda f, y: f.repsim.attribute(X, y),
    "attributor.select": lambda f, y: f.repsim.select(X, 3, y),
    "influence.fit": lambda f, y: InfluenceAttributor(f.lr).fit(X, y),
    "influence.fit, names": lambda f, y: InfluenceAttributor(f.lr).fit(X, Y, sample_id=y),
    "influence.fit, weights": lambda f, y: InfluenceAttributor(f.lr).fit(X, Y, sample_weight=y),
    "influence.explain": lambda f, y: f.influence.explain(X, y),
    "influence.attribute": lambda f, y: f.influence.attribute(X, y),
    "attributor.score": lambda f, y: f.repsim.score(X, y),
    "attributor.score, nats": lambda f, y: f.loss.score(X, y),
    "attributor.score, weights": lambda f, y: f.loss.score(X, Y, sample_weight=y),
    "information_lost, rows": lambda f, y: f.loss.information_lost(X, y[:, None]),
    "label_loss": lambda f, y: label_loss(f.lr, X, y),
    "label_disagreement": lambda f, y: label_disagreement(f.explanation, y),
    "self_influence": lambda f, y: self_influence(f.repsim, X, y),
    "label_error_ranking": lambda f, y: label_error_ranking({"loss": y.astype(float)}, Y == 0),
    "label_error_ranking, errors": lambda f, y: label_error_ranking({"loss": Y}, y == 0),
    "lds_from_truth": lambda f, y: lds_from_truth(
        y[None].astype(float), np.eye(30, dtype=bool), np.arange(30.0)[:, None]
    ),
    "robustness": lambda f, y: robustness(f.clf, X, y),
    "backdoor_retrieval": lambda f, y: backdoor_retrieval(f.repsim, X, Y, y == 0, k=2),
    "retrain": lambda f, y: f.retrain(y=y),
    "retrain, masks": lambda f, y: f.retrain(masks=(y == 0)[None]),
    "anomaly_ranking": lambda f, y: anomaly_ranking(f.clf, y.astype(float)),
    "memorisation_scores": lambda f, y: memorisation_scores(f.clf, X, y),
    "report": lambda f, y: report(f.clf, X, y),
    "report, suspicion": lambda f, y: report(f.clf, X, suspicious=y.astype(float)),
    "embedding_clusters": lambda f, y: embedding_clusters(f.clf, label=0, X=X, y=y),
}


@pytest.mark.parametrize("call", ROWS.values(), ids=ROWS)
def test_masked_rows(call, fitted):
    masked = np.ma.masked_array(X, mask=X > 5)
    with pytest.raises((ValueError, TypeError), match=r"masked.array|without a mask"):
        call(fitted, masked)


@pytest.mark.parametrize("call", COLUMNS.values(), ids=COLUMNS)
def test_masked_columns(call, fitted):
    masked = np.ma.masked_array(Y, mask=Y == 1)
    with pytest.raises((ValueError, TypeError), match=r"masked.array|without a mask"):
        call(fitted, masked)


@pytest.mark.parametrize("kind", [TensorDataset, DataLoader])
@pytest.mark.parametrize("name", [name for name in ROWS if "latent" not in name])
def test_loaders(name, kind, fitted):
    rows = TensorDataset(torch.tensor(X), torch.tensor(Y))
    rows = DataLoader(rows, batch_size=5) if kind is DataLoader else rows
    if name == "autoencoder.inverse_transform":
        with pytest.raises(TypeError, match="codes must hold the rows"):
            fitted.vae.inverse_transform(rows)
        return
    with pytest.raises((ValueError, TypeError), match="the rows themselves"):
        ROWS[name](fitted, rows)


def test_tensors_with_a_gradient_are_read(fitted):
    codes = torch.ones(3, 2, requires_grad=True)
    plain = np.ones((3, 2), dtype=np.float32)
    np.testing.assert_array_equal(
        fitted.vae.inverse_transform(codes), fitted.vae.inverse_transform(plain)
    )
    np.testing.assert_array_equal(
        fitted.vae.explain_latent(codes, k=2).indices, fitted.vae.explain_latent(plain, k=2).indices
    )


class Giving(nn.Module):
    """A linear network that makes something else of its logits."""

    def __init__(self, change):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.change = change

    def forward(self, x):
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z.to_sparse(), "a dense tensor of logits with values; got torch.sparse_coo"),
        (lambda z: z.to("meta"), "a dense tensor of logits with values; .* the device meta"),
        (lambda z: z + 0j, "real floating-point logits; got torch.complex64"),
        (lambda z: z.long(), "real floating-point logits; got torch.int64"),
        (lambda z: z[:, :0], "logits of shape"),
        (lambda z: None, "a tensor of logits; got NoneType"),
        (lambda z: {"features": z}, "without 'logits'"),
    ],
)
def test_outputs_that_are_no_logits(change, message):
    for cls in (InfoGainAttributor, RepSimAttributor):
        with pytest.raises((TypeError, ValueError), match=message):
            cls(Giving(change)).fit(X, Y)
