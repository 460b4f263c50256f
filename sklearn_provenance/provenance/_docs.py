"""What the docstrings of provenance estimators say alike."""

from .._utils.docs import with_paragraphs

_SHARED = {
    "mixing": """\
mixing : {"expected", "sampled"}, default="expected"
    Whether the loss uses the expectation of the mixed target, or draws one target per step as
    in the paper.""",
    "index_loss": """\
index_loss : {"full", "sampled"}, default="full"
    Softmax of the index loss. "full" computes the logits of all outputs at every step, so that
    the time of an epoch grows with the square of the number of rows. "sampled" computes those of
    the row's target and of ``n_negatives`` other outputs. AdamW then updates the weights of these
    outputs only, by up to 8 times the learning rate. It is meant for tens of thousands of rows and
    more. Predictions and explanations read all outputs either way, and ``history_`` has the index
    accuracy among the outputs that were drawn. See :ref:`large_index_branches`.""",
    "n_negatives": """\
n_negatives : int, default=1024
    Outputs that ``index_loss="sampled"`` draws at every step, uniformly and without repetition,
    at least 2. Where outputs are those of a class, each class gets as many. The sum of
    exponentials in the softmax, and the expectation of the logit under the target, are estimated
    without bias. The logarithm of the sum, and its gradient, have a bias that falls as
    1 / ``n_negatives``. The loss is exact where there are no more outputs.""",
    "index": """\
index : {"exact", "faiss"}, object or None, default=None
    Search index over the weights of the index branch, by which the rows of largest probability are
    found: a name, or an object with the methods ``build`` and ``search`` (see
    :mod:`sklearn_provenance.retrieval`). None compares all of them, exactly, a block at a time.
    Probabilities are exact either way, because the softmax is summed over all outputs; where only
    rows are asked for (``predict_index``, ``kneighbors`` without distances) a search index saves
    that. It is built for each class, or for all rows, when it is first used. ``save`` leaves out an
    object.""",
    "backbone": """\
backbone : {"auto", "cnn", "mlp"}, Module or callable, default="auto"
    What turns inputs into features. "auto" takes "cnn" for images and "mlp" for rows. The network
    uses a copy of a module, with its weights. A callable takes no arguments and returns a module.
    Such a module maps a batch of inputs to float32 features of any shape, which are flattened.""",
    "normalization": """\
normalization : {"scale", "standardize"}, default="scale"
    What happens to values before the network. "scale" multiplies all of them by one number (see
    :meth:`fit`). "standardize" subtracts the mean of each channel of the training images and
    divides by its standard deviation, as in section 7.4.3 of [1]_; the columns of a table are its
    channels. Both figures are those of all rows given to the first ``fit``, computed in float64,
    and belong to the network. A channel that is constant there has its mean subtracted and is
    scaled as with "scale". Rows are in single precision by then, which has seven digits: put a
    ``StandardScaler`` before where a column is large beside its spread, such as seconds since
    1970.""",
    "input_shape": """\
input_shape : tuple of int, default=None
    (H, W), (C, H, W) or (H, W, C) when X holds flat images.""",
    "lr": """\
lr : float, default=2e-3
    Learning rate of AdamW, after the warm-up.""",
    "lr_index": """\
lr_index : float, default=None
    Learning rate of the layers that only the index branch uses; None takes ``lr``.""",
    "weight_decay": """\
weight_decay : float, default=2e-5
    Weight decay of AdamW.""",
    "batch_size": """\
batch_size : int or "auto", default="auto"
    Rows per optimiser step. "auto" takes a tenth of the rows, but at least 16 and at most 128,
    the number of the paper.""",
    "warmup_epochs": """\
warmup_epochs : int, default=3
    Epochs in which the learning rate grows linearly to ``lr``.""",
    "decay_epochs": """\
decay_epochs : int, default=8
    Number of epochs after which the learning rate is multiplied by 0.6, again and again. Choose
    fewer for a short training.""",
    "device": """\
device : str or torch.device, default="auto"
    Where to compute; "auto" takes CUDA where there is a GPU.""",
    "precision": """\
precision : {"auto", "float32", "bfloat16"}, default="auto"
    Automatic mixed precision. "auto" takes bfloat16 on GPUs that support it, else float32.""",
    "callbacks": """\
callbacks : list of skorch callbacks, default=None
    Copies of them are called during training. ``history_`` names what they can monitor. The
    estimator schedules the learning rate itself.""",
    "random_state": """\
random_state : int, RandomState instance or None, default=None
    Seed of initialisation, order of rows, dropout, sampled targets and ``index_subset``. Torch's
    global generator is neither read nor changed, unless you give a backbone that draws from it.""",
    "warm_start": """\
warm_start : bool, default=False
    Whether a further call of ``fit`` with the same ``X`` and ``y`` trains for ``max_epochs``
    more.""",
    "verbose": """\
verbose : bool, default=False
    Whether to show a progress bar with the accuracies and the time that is left. The default is
    silent; a training can take minutes.""",
    "n_features_in_": """\
n_features_in_ : int
    Values per row.""",
    "feature_names_in_": """\
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Column names, if ``X`` was a data frame with string names.""",
    "input_shape_": """\
input_shape_ : tuple of int
    Shape of one input of the network, (n_features,) or (channels, height, width).""",
    "index_": """\
index_ : ndarray of shape (n_outputs,)
    Training rows that have an output, in increasing order.""",
    "training_": """\
training_ : TrainingData
    Rows ``X``, targets ``y`` and ``sample_id`` that were given to fit.""",
    "net_": """\
net_ : skorch.NeuralNet
    The trained net; ``net_.module_`` is the torch module.""",
}

documented = with_paragraphs(_SHARED)
