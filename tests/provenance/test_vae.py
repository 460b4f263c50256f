"""ProvenanceVAE as a user meets it."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_provenance import ProvenanceClassifier, ProvenanceVAE, explain

from ..checks import thorough
from .conftest import quick_vae

LOSSES = ["reconstruction_loss", "kl_loss", "class_loss", "index_loss"]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=5, return_X_y=True)
    X = (X[:200] * 255 / 16).round().astype(np.uint8).reshape(-1, 8, 8)
    return X, np.array(["zero", "one", "two", "three", "four"])[y[:200]]


@pytest.fixture(scope="module")
def fitted(digits):
    return quick_vae(16, max_epochs=20).fit(*digits)


def test_what_is_learned_improves_and_is_recorded(fitted, digits):
    first, last = fitted.history_[0], fitted.history_[-1]
    for name in ("train_loss", "reconstruction_loss", "class_loss", "index_loss"):
        assert last[name] < first[name]
    assert last["class_accuracy"] > first["class_accuracy"]
    assert set(LOSSES) | {"class_accuracy", "index_accuracy", "lr", "dur"} <= set(last)
    total = 0.6 * (last["reconstruction_loss"] + last["kl_loss"])
    total += 0.4 * (last["class_loss"] + last["index_loss"])
    assert last["train_loss"] == pytest.approx(total, rel=1e-5)
    X, y = digits
    assert np.mean(fitted.predict(X) == y) > 0.8
    error = np.abs(fitted.reconstruct(X).astype(float) - X).mean()
    assert error < 0.8 * np.abs(X.mean(0) - X).mean()


def test_training_rows_are_named_far_above_chance(digits):
    """Chance is one in 12. Under the paper's weights little pays for what tells digits apart."""
    X, y = digits[0][:60], digits[1][:60]
    vae = quick_vae(16, lambda_gen=0.005, lambda_cls=1, max_epochs=60).fit(X, y)
    assert np.mean(vae.explain(X, k=1).indices[:, 0] == np.arange(len(X))) > 0.4


@pytest.mark.parametrize("heads", ["per_class", *thorough("shared")])
def test_explanations_of_images_are_those_of_their_codes(digits, heads):
    X, y = digits
    vae = quick_vae(heads=heads).fit(X, y, sample_id=np.arange(1000, 1200))
    one, two = vae.explain(X[:9], k=4), vae.explain_latent(vae.transform(X[:9]), k=4)
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.sample_id, one.indices + 1000)
    np.testing.assert_array_equal(one.exemplar_labels, y[one.indices])
    np.testing.assert_array_equal(one.query_labels, vae.predict(X[:9]))
    assert (one.exemplar_labels == one.query_labels[:, None]).all()
    np.testing.assert_array_equal(one.queries.reshape(-1, 8, 8), X[:9])
    np.testing.assert_array_equal(two.queries.reshape(-1, 8, 8), vae.reconstruct(X[:9]))
    assert two.image_shape == (1, 8, 8)
    assert "autoencoder" in repr(one)


def test_soft_routing_gives_the_joint_probability(digits, fitted):
    X, y = digits
    soft = copy.copy(fitted).set_params(routing="soft")
    Z = fitted.transform(X[:6])
    indices, scores = soft.explain_latent(Z, k=200)
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    decoder = fitted.net_.module_.decoder
    with torch.no_grad():
        log_class = log_softmax(decoder.class_logits(torch.tensor(Z)).numpy(), axis=1)
        for c, name in enumerate(fitted.classes_):
            rows = np.flatnonzero(y == name)
            logits = decoder(torch.tensor(Z), torch.full((6,), c)).index_logits[:, : len(rows)]
            expected = np.exp(log_class[:, [c]] + log_softmax(logits.numpy(), axis=1))
            order = np.argsort(indices, axis=1)
            found = np.take_along_axis(scores, order, axis=1)[:, rows]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_hard_routing_pads_where_classes_are_small(fitted, digits):
    X = digits[0][:3]
    with pytest.warns(UserWarning, match="fewer than k=100 candidates"):
        explanation = fitted.explain(X, k=100)
    assert (explanation.indices[:, -1] == -1).all()
    np.testing.assert_allclose(np.nansum(explanation.scores, axis=1), 1, rtol=1e-5)


def test_training_rows_are_explained_by_the_others(fitted):
    explanation = fitted.explain(k=3)
    assert (explanation.indices != np.arange(200)[:, None]).all()


def test_samples_are_decoded_codes_of_the_prior(fitted):
    X, Z = fitted.sample(400, random_state=3, return_codes=True)
    assert X.shape == (400, 8, 8)
    assert X.dtype == np.uint8
    np.testing.assert_array_equal(X, fitted.inverse_transform(Z))
    np.testing.assert_array_equal(X, fitted.sample(400, random_state=3))
    assert abs(Z.mean()) < 0.05
    assert abs(Z.std() - 1) < 0.05
    assert (fitted.sample(2, random_state=4) != X[:2]).any()
    assert fitted.sample().shape == (1, 8, 8)


def test_decoded_pixels_are_rounded(fitted, digits):
    Z = fitted.transform(digits[0][:50])
    with torch.no_grad():
        values = fitted.net_.module_.decode(torch.tensor(Z)).numpy()
    decoded = fitted.inverse_transform(Z).reshape(values.shape).astype(float)
    assert np.abs(decoded - values).max() <= 0.5
    assert (decoded > values).mean() > 0.3  # not all to one side


@pytest.mark.parametrize(
    ("shape", "scale", "likelihood"),
    [
        ((8, 8), 255, "bernoulli"),
        ((7, 9, 3), 255, "bernoulli"),
        ((8, 8), 16.0, "gaussian"),
        *thorough(((3, 7, 9), 255, "bernoulli"), ((8, 8), 1.0, "bernoulli")),
        ((6,), 10.0, "gaussian"),
    ],
)
def test_what_is_decoded_has_the_form_of_what_was_given(shape, scale, likelihood):
    rng = np.random.default_rng(0)
    X = scale * rng.random((40, *shape))
    X = X.astype(np.uint8) if scale == 255 else X
    y = np.arange(40) % 2
    vae = quick_vae(max_epochs=2).fit(X, y)
    assert vae.likelihood_ == likelihood
    decoded = vae.reconstruct(X)
    assert decoded.shape == X.shape
    assert decoded.dtype == (np.uint8 if scale == 255 else np.float32)
    explanation = vae.explain_latent(vae.transform(X[:2]), k=2)
    assert explanation.queries.shape[0] == 2
    if len(shape) > 1:
        flat = X.reshape(40, -1)
        twin = quick_vae(max_epochs=2, input_shape=shape).fit(flat, y)
        np.testing.assert_array_equal(twin.reconstruct(flat), decoded.reshape(40, -1))


def test_pixels_keep_their_places():
    """Channels-last images come back channels-last: each channel and corner where it was."""
    X = np.zeros((60, 8, 6, 3), dtype=np.uint8)
    X[:, :4, :, 0], X[:, 4:, :3, 1] = 255, 255
    X[::2, :, 5, 2] = 255
    vae = quick_vae(4, max_epochs=20).fit(X, np.arange(60) % 2)
    error = np.abs(vae.reconstruct(X).astype(float) - X).mean(0)
    assert error.max() < 60


def test_score_is_the_mean_bound_and_rows_do_not_disturb_each_other(fitted, digits):
    X = digits[0]
    bound = fitted.score_samples(X)
    assert fitted.score(X) == pytest.approx(bound.mean())
    np.testing.assert_allclose(fitted.score_samples(X[:3]), bound[:3], rtol=1e-5)
    np.testing.assert_array_equal(bound, fitted.score_samples(X))
    noise = np.random.default_rng(0).integers(0, 256, X.shape, dtype=np.uint8)
    assert fitted.score(noise) < fitted.score(X) - 10


def test_the_bound_agrees_with_that_of_training(fitted, digits):
    """Both are means over codes of the same posteriors, once the network has settled."""
    X, y = digits
    vae = copy.deepcopy(fitted).set_params(warm_start=True, max_epochs=1, lr=1e-9).fit(X, y)
    last = vae.history_[-1]
    trained = -(last["reconstruction_loss"] + last["kl_loss"])
    assert vae.score(X) == pytest.approx(trained, rel=0.05)


def test_a_gaussian_bound_is_a_density_in_the_units_of_X(iris):
    X, y = iris
    one, two = quick_vae().fit(X, y), quick_vae().fit(1000 * X, y)
    assert two.score(1000 * X) == pytest.approx(one.score(X) - 4 * np.log(1000), abs=0.05)


def test_a_bound_of_a_gaussian_is_below_and_near_its_log_density():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((2, 5))
    X = 3 * (rng.standard_normal((300, 2)) @ factor + 0.5 * rng.standard_normal((300, 5)))
    vae = quick_vae(2, max_epochs=50).fit(X, np.zeros(300))
    covariance = 9 * (factor.T @ factor + 0.25 * np.eye(5))
    density = -0.5 * (
        np.einsum("ij,jk,ik->i", X, np.linalg.inv(covariance), X)
        + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    gap = density.mean() - vae.score(X)
    assert -0.1 < gap < 0.6


def test_same_seed_same_fit_and_global_generators_are_left_alone(digits):
    X, y = digits
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = quick_vae(max_epochs=2).fit(X, y)
    one.score(X)
    one.sample(2, random_state=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    torch.manual_seed(7)
    two, three = (quick_vae(max_epochs=2, random_state=seed).fit(X, y) for seed in (0, 1))
    np.testing.assert_array_equal(one.transform(X), two.transform(X))
    assert (one.transform(X) != three.transform(X)).any()


def test_reading_leaves_the_mode_of_the_network(fitted, digits):
    X = digits[0][:20]
    before = fitted.transform(X), fitted.reconstruct(X), fitted.explain(X).scores
    module = copy.deepcopy(fitted).net_.module_
    twin = copy.copy(fitted)
    twin.net_ = copy.deepcopy(fitted.net_)
    module = twin.net_.module_.train()
    for one, two in zip(
        before, (twin.transform(X), twin.reconstruct(X), twin.explain(X).scores), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert all(m.training for m in module.modules())


@pytest.mark.parametrize("kind", ["images", "rows"])
def test_a_loaded_autoencoder_does_what_the_saved_one_did(digits, iris, tmp_path, kind):
    X, y = digits if kind == "images" else iris
    vae = quick_vae(heads="shared", max_epochs=2).fit(X, y)
    vae.save(tmp_path / "vae")
    loaded = ProvenanceVAE.load(tmp_path / "vae", device="cpu")
    for twin in (loaded, pickle.loads(pickle.dumps(vae))):
        np.testing.assert_array_equal(twin.transform(X), vae.transform(X))
        np.testing.assert_array_equal(twin.sample(3, random_state=0), vae.sample(3, random_state=0))
        np.testing.assert_array_equal(twin.explain(X).indices, vae.explain(X).indices)
        np.testing.assert_array_equal(twin.score_samples(X), vae.score_samples(X))
        assert twin.history_ == vae.history_
        assert twin.get_params() == vae.get_params()
    with pytest.raises(ValueError, match=r"not written by this version of ProvenanceClassifier"):
        ProvenanceClassifier.load(tmp_path / "vae")


def test_warm_start_goes_on_and_interrupting_keeps_what_there_is(digits):
    class Interrupt(Callback):
        def on_batch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise KeyboardInterrupt

    X, y = digits
    vae = quick_vae(max_epochs=4, warm_start=True, callbacks=[Interrupt()])
    with pytest.warns(ConvergenceWarning, match="interrupted after 2 epochs"):
        vae.fit(X, y)
    assert vae.reconstruct(X).shape == X.shape
    vae.set_params(callbacks=None, max_epochs=2, lambda_gen=0.0, lr=5e-4).fit(X, y)
    assert [epoch["epoch"] for epoch in vae.history_] == [1, 2, 3, 4]
    assert vae.history_[-1]["lr"] == 5e-4
    named = vae.history_[-1]["class_loss"] + vae.history_[-1]["index_loss"]
    assert vae.history_[-1]["train_loss"] == pytest.approx(0.4 * named, rel=1e-5)
    with pytest.raises(ValueError, match="latent_dim changed"):
        vae.set_params(latent_dim=3).fit(X, y)
    assert vae.transform(X).shape == (200, 8)


def test_pipelines_and_searches(iris):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), quick_vae(2)).fit(X, y)
    explanation = explain(pipe, X[:4], k=3)
    np.testing.assert_allclose(explanation.training_data[[5]], X[[5]], rtol=1e-4)
    assert pipe.inverse_transform(pipe.transform(X)).shape == X.shape
    search = GridSearchCV(quick_vae(), {"latent_dim": [1, 2]}, cv=2, error_score="raise").fit(X, y)
    assert np.isfinite(search.best_score_)
    frame = pd.DataFrame(X, columns=list("abcd"))
    codes = quick_vae(2).set_output(transform="pandas").fit(frame, y).transform(frame)
    assert list(codes.columns) == ["provenancevae0", "provenancevae1"]
    framed = quick_vae(2).set_output(transform="pandas").fit(frame, y)
    assert set(framed.predict(frame)) <= set(y)
    np.testing.assert_array_equal(framed.reconstruct(frame), framed.inverse_transform(codes))


def test_only_what_fit_takes_can_be_routed(fitted):
    requests = [name for name in dir(fitted) if name.endswith("_request")]
    assert [name for name in requests if name.startswith("set_")] == ["set_fit_request"]


def test_one_class_and_classes_of_one_row():
    rng = np.random.default_rng(0)
    X = rng.random((30, 5))
    alone = quick_vae().fit(X, np.zeros(30))
    assert alone.explain(X, k=30).indices.shape == (30, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        people = quick_vae(routing="soft").fit(X, np.arange(30))
        assert people.explain(X, k=5).indices.shape == (30, 5)


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({"backbone": "cnn"}, "rows", "backbone='cnn' needs images"),
        ({"likelihood": "bernoulli"}, "rows", "X holds rows"),
        ({"likelihood": "bernoulli"}, "large", "values from 0 to 16"),
        ({"lr": 1e12, "max_epochs": 8}, "rows", "diverged"),
        ({"latent_dim": 0}, "rows", "latent_dim"),
        ({"heads": "both"}, "rows", "heads"),
    ],
)
def test_what_cannot_be_is_refused(params, data, message):
    X = np.linspace(0, 16, 160).reshape((40, 2, 2) if data == "large" else (40, 4))
    vae = quick_vae(**params)
    with pytest.raises(ValueError, match=message):
        vae.fit(X, np.arange(40) % 2)
    assert not hasattr(vae, "classes_")


def test_calls_that_make_no_sense(fitted, digits):
    X = digits[0]
    with pytest.raises(NotFittedError):
        ProvenanceVAE().sample()
    with pytest.raises(ValueError, match="latent_dim=16 dimensions; got 3"):
        fitted.explain_latent(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.inverse_transform(np.full((1, 16), np.nan))
    with pytest.raises(ValueError, match=r"'n_samples' parameter .* must be an int"):
        fitted.sample(0)
    with pytest.raises(ValueError, match="k must be between 1 and 200"):
        fitted.explain(X[:1], k=201)
    with pytest.raises(ValueError, match="k must be between 1 and 199"):
        fitted.explain(k=200)
    with pytest.raises(ValueError, match="images must have one size"):
        fitted.transform(np.zeros((2, 9, 9), np.uint8))
    with pytest.raises(ValueError, match="at least 2 rows"):
        quick_vae().fit(X[:1], ["one"])


def test_images_may_have_a_gaussian_likelihood(digits):
    X, y = digits
    gaussian = quick_vae(likelihood="gaussian", max_epochs=1).fit(X[:40] / 255, y[:40])
    automatic = quick_vae(max_epochs=1).fit(X[:40] / 255, y[:40])
    assert gaussian.likelihood_ == "gaussian"
    assert automatic.likelihood_ == "bernoulli"
    assert gaussian.score(X[:40] / 255) != automatic.score(X[:40] / 255)
