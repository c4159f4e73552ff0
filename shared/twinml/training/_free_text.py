"""Free text as numbers: TF-IDF of words and pairs of words, in few dimensions.

Made of scikit-learn and pandas alone, so that it loads where twinml is not installed.
"""

from __future__ import annotations

import re
from operator import methodcaller

import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

__all__ = ["words"]

# The most frequent words and pairs of words, and the dimensions that they become.
VOCABULARY = 1_000
DIMENSIONS = 32
WORD = r"(?u)\b\w+\b"


def words(texts: pd.Series[str]) -> Pipeline:
    """Return the unfitted transformer from a series of texts to TF-IDF in few dimensions.

    A null is a text without words; digits and single letters are words too.

    Parameters
    ----------
    texts
        What it is to be fitted on: of few words there are no more dimensions than words.
    """
    known = len({word for text in texts.dropna() for word in re.findall(WORD, text.lower())})
    filled = FunctionTransformer(methodcaller("fillna", ""))
    if known < 2:  # too few for dimensions, or for a vocabulary: a sample may be so
        return make_pipeline(filled, HashingVectorizer(n_features=1, token_pattern=WORD))
    return make_pipeline(
        filled,
        TfidfVectorizer(
            ngram_range=(1, 2), max_features=VOCABULARY, sublinear_tf=True, token_pattern=WORD
        ),
        TruncatedSVD(min(DIMENSIONS, known), random_state=0),
    )
