"""Whatever the contract lets in comes out of the encoding as a finite number or nan."""

from __future__ import annotations

import numpy as np
import pandas as pd

from twinml.training._preprocessing import LARGEST, encoder, linear_features, string_columns


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": [1, 2, 3, 4],
            "s": pd.Series(["a", "b", "a", np.nan], dtype=object),
            "x": [0.5, np.nan, 2.0, 3.0],
            "b": [True, False, True, True],
        }
    )


def test_columns_are_codes_then_numbers_in_order() -> None:
    encoded = encoder(frame()).fit_transform(frame())
    assert string_columns(frame()) == ["s"]
    assert encoded.dtype == np.float64
    np.testing.assert_array_equal(encoded[:, 0], [0, 1, 0, -1])
    np.testing.assert_array_equal(encoded[:, 1], [1, 2, 3, 4])
    np.testing.assert_array_equal(encoded[:, 2], [0.5, np.nan, 2.0, 3.0])
    np.testing.assert_array_equal(encoded[:, 3], [1, 0, 1, 1])


def test_every_kind_of_unknown_is_the_same_to_the_model() -> None:
    fitted = encoder(frame()).fit(frame())
    unknown = frame()
    unknown["s"] = pd.Series([None, np.nan, "never seen", ""], dtype=object)
    np.testing.assert_array_equal(fitted.transform(unknown)[:, 0], [-1, -1, -1, -1])


def test_infinity_becomes_a_number_that_forests_take() -> None:
    fitted = encoder(frame()).fit(frame())
    extreme = frame()
    extreme["x"] = [np.inf, -np.inf, 1e300, np.nan]
    found = fitted.transform(extreme)[:, 2]
    np.testing.assert_array_equal(found, [LARGEST, -LARGEST, LARGEST, np.nan])
    assert np.isfinite(found[:3].astype(np.float32)).all()


def test_a_table_of_integers_only_gives_floats() -> None:
    whole = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert encoder(whole).fit_transform(whole).dtype == np.float64


def test_linear_features_stay_bounded_beyond_the_training_range() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 3, 500), rng.normal(size=500), rng.integers(0, 2, 500)])
    transformer = linear_features(X, n_codes=1).fit(X)
    extreme = np.array([[-1.0, LARGEST, 1.0], [0.0, -LARGEST, 0.0], [2.0, np.nan, np.nan]])
    found = transformer.transform(extreme)
    dense = found.toarray() if hasattr(found, "toarray") else found
    assert np.isfinite(dense).all()
    assert np.abs(dense).max() <= 1.0 + 1e-9
