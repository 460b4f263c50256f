"""BM25: the training texts that have the words of a query."""

from collections.abc import Callable
from typing import Any

from sklearn.utils._param_validation import HasMethods

from ..._utils.arguments import real, store_arguments
from ..._utils.rows import few_rows, n_rows, take_rows
from ..features._words import WordFeatures
from ..rules._words import WordRule
from ._base import base_constraints
from ._docs import documented
from ._pointwise import PointwiseAttributor


@documented
class BM25Attributor(PointwiseAttributor):
    """Name the training texts that have the words of a query (BM25).

    The score of a training text d is the sum over the words of the query, each as often as it
    occurs there, of ``idf f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|))``, with f the number of
    times that d has the word, ``|d|`` its number of words, and
    ``idf = log(1 + (n - m + 0.5) / (m + 0.5))`` for a word in m of n texts. The model is not looked
    at: what finds exemplars that say more about it has to beat this. ``contributions`` of an
    explanation are the parts of words.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        The model to explain, which predicts the labels of queries and is not looked at otherwise. A
        module maps a batch to logits, is always taken as fitted, and counts its classes from 0.
    k1 : float, default=1.5
        From 0 up, how much a word that occurs several times counts more than one that occurs once.
    b : float, default=0.75
        Between 0 and 1, how far long texts are scored lower.
    vectorizer : transformer, default=None
        Counts the words of texts, such as a CountVectorizer; it is cloned and fitted on the
        training texts. None takes any run of letters, digits and underscores, in small letters.
    {candidates} {forward} {prefit} {memory_limit} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_}
    features_ : transformer or None
        The fitted vectorizer; None where rows are no texts.
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    RepSimAttributor : The simplest method that looks at the model.

    Notes
    -----
    Rows are texts, or a :class:`~sklearn_provenance.text.TokenizedTexts`, whose texts are read. Of
    other mappings the words are the token ids in "input_ids" that the "attention_mask" leaves in.
    Rows of numbers are taken as counts, one column for each word.

    References
    ----------
    Robertson, Zaragoza (2009). The probabilistic relevance framework: BM25 and beyond, Foundations
    and Trends in Information Retrieval 3.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_provenance.attribution import BM25Attributor
    >>> texts = ["a good film", "a bad film", "good food", "the food was bad"]
    >>> model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    >>> attributor = BM25Attributor(model, candidates="all").fit(texts, [1, 0, 1, 0])
    >>> exp = attributor.explain(["the film was good"], k=2)
    >>> exp.indices
    array([[3, 0]])
    >>> [(word, round(part, 2)) for word, part in exp.shared_features(0, 0)]
    [('the', 1.05), ('was', 1.05)]
    """

    _parameter_constraints: dict = {
        **base_constraints(
            "estimator", "candidates", "forward", "prefit", "memory_limit", "verbose"
        ),
        "k1": [real()],
        "b": [real(most=1, closed="both")],
        "vectorizer": [HasMethods(["fit", "transform"]), None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        k1: float = 1.5,
        b: float = 0.75,
        vectorizer: Any = None,
        candidates: str = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory_limit: float = 2e9,
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _make_features(self, X, y):
        model = self._fitted_model()
        if model.module is not None:
            X_few = take_rows(X, few_rows(n_rows(X)))
            model = model.examined(model.inputs(X_few), compared=False)
        features = WordFeatures(model, self.vectorizer, self.k1, self.b).fit(X)
        self.features_ = features.fitted
        return features, features.inputs(X)

    def _make_rule(self):
        return WordRule()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags
