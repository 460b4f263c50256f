"""What the docstrings of attributors say alike."""

from textwrap import indent

from ..._utils.docs import with_paragraphs

_SUPPORTED = """\
The classifier to explain: a ProvenanceClassifier; a skorch NeuralNetClassifier or
NeuralNetBinaryClassifier; a torch.nn.Module that returns logits (one column is the log odds
of the second class), or a dict, tuple or Hugging Face ModelOutput that holds them; a
scikit-learn linear classifier or MLPClassifier; or a Pipeline, search or FrozenEstimator
around one of these. A module is always taken as fitted, and counts its classes from 0.\
"""
_TREES = """\
Trees, the leaves of which are compared: random forests, extra trees, single trees, bagging,
gradient boosting, IsolationForest, XGBoost, LightGBM, CatBoost; classifiers and regressors.
Any other classifier or regressor, with ``features`` that you give.\
"""
_MEASUREMENT = """\
Scalar output whose gradient is the tangent feature: the logit of the query's label, for
training rows too, or the log odds of each row's own label. A callable
``(outputs, target) -> (B,)`` measures outputs of any kind: dicts, sequences, regression.\
"""
_QUERY_MEASUREMENT = """\
What is explained about a query: the log odds log(p / (1 - p)) of its label, its logit, or
what a callable ``(logits, label) -> (B,)`` makes of them. Of a regressor that is a network it
is the output, and log p of a row is minus half the squared error of its target.\
"""
_SHARED = {
    "supported": _SUPPORTED,
    "estimator": f"estimator : estimator or torch.nn.Module\n{indent(_SUPPORTED, '    ')}",
    "estimators": f"""\
estimator : estimator, torch.nn.Module or list of these
{indent(_SUPPORTED, "    ")}
    A list holds models of the same classes, or regressors, trained from several seeds or saved at
    several checkpoints. Each is asked, and scores are averaged over them; the class of the largest
    mean probability is predicted. What is learned of each model is then a list.""",
    "trees": indent(_TREES, "    "),
    "candidates": """\
candidates : {"auto", "same_class", "all"}, default="auto"
    Rows that may be named for a query: those of its class, or all. "auto" is those of its
    class where there are classes.""",
    "forward": """\
forward : callable, default=None
    ``forward(module, x)`` gives the logits of a module whose outputs are something else; None
    reads them from what the module returns. For a language model it is ``log_odds`` or
    ``log_likelihood`` of :mod:`sklearn_provenance.text`.""",
    "prefit": """\
prefit : {"auto"} or bool, default="auto"
    Whether the estimator is fitted. "auto" uses a fitted one as it stands, and clones and
    fits another. False always fits a clone. Modules and FrozenEstimators stay as they are.""",
    "memory": """\
memory : str or joblib.Memory, default=None
    Folder in which fitted clones are kept, and what is computed from the rows, which is found
    again by the weights, the rows and their labels.""",
    "memory_limit": """\
memory_limit : float, default=2e9
    Bytes that kernels and features, and blocks on the way, may take; other calls find what is
    kept. What does not fit is computed again, or refused with a MemoryError where it must be
    kept.""",
    "batch_size": """\
batch_size : int or "auto", default="auto"
    Rows per pass through the network.""",
    "verbose": """\
verbose : bool, default=False
    Whether to show progress.""",
    "noise_variance": """\
noise_variance : float or str, default="scale"
    Noise variance σ², in units of the kernel. "scale" takes ten times the mean kernel
    diagonal of the training rows, "3*diagonal" three times it; far from that scale every rule
    is poor.""",
    "measurement": f"""\
measurement : {{"label_logit", "margin"}} or callable, default="label_logit"
{indent(_MEASUREMENT, "    ")}""",
    "query_measurement": f"""\
measurement : {{"margin", "label_logit"}} or callable, default="margin"
{indent(_QUERY_MEASUREMENT, "    ")}""",
    "parameters": """\
parameters : {"auto", "trainable", "all", "linear"}, type or list, default="auto"
    Weights of a network that gradients are taken in: all that are trained, those of linear
    layers, those of a class of modules, or a list of names, patterns of names such as
    "encoder.*" and classes. See :class:`~sklearn_provenance.tangent.TangentModel`.""",
    "features": """\
features : {"auto", "exact"}, TangentFeatures, transformer or callable, default="auto"
    Where features φ come from. "auto" and "exact" compute exact tangent kernels from layer
    factors, or compare the leaves of trees. A TangentFeatures without a module sketches tangent
    features. A transformer (fitted here unless it is fitted), or a callable of X, gives rows φ
    of your own, the same whatever the label. Rows that are a read-only memory map or a Dask array
    stay where they are.""",
    "ntk_parameterization": """\
ntk_parameterization : bool or float, default=False
    Differentiate by Ω where a weight is W = (s / √fan_in) Ω; True is s = 1.""",
    "estimator_": """\
estimator_ : estimator or torch.nn.Module
    The model in use; a list of them if ``estimator`` is one.""",
    "classes_": """\
classes_ : ndarray of shape (n_classes,) or None
    Its class labels, in the order of the logits; None of a regressor.""",
    "training_": """\
training_ : TrainingData
    Rows ``X``, labels ``y`` and ``sample_id`` that were given to fit.""",
    "candidates_": """\
candidates_ : {"same_class", "all"}
    ``candidates`` in use.""",
    "noise_variance_": """\
noise_variance_ : float
    σ² in use.""",
    "noise_scale_": """\
noise_scale_ : float or None
    Mean kernel diagonal of the training rows at their own labels, the mean squared norm of their
    features (of sketches where these are compared). Where a network would have to run for no other
    reason, it is that of 256 rows, always the same; then it is None where ``noise_variance`` is a
    number, which does not need it.""",
    "features_": """\
features_ : object or None
    The fitted ``features``, if they are not exact.""",
    "coverage_": """\
coverage_ : Coverage or None
    Which of the model's parameters have tangent features, how they are computed and the share
    of each way; None with features of your own.""",
    "n_features_in_": """\
n_features_in_ : int
    Second dimension of ``X``.""",
    "feature_names_in_": """\
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Column names, if ``X`` was a data frame with string names.""",
}

documented = with_paragraphs(_SHARED)
