"""Tables to tensors: what each kind of column becomes, and what a newcomer does wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from metaweight.data.tabular import TableEncoder
from metaweight.data.tabular.columns import MISSING, REACH, UNKNOWN

PEOPLE = pd.DataFrame(
    {
        "age": [20.0, 30.0, None, 40.0, 50.0],
        "size": ["1", "2.5", " 3 ", "", "4"],
        "town": ["Ulm", "Bonn", "Ulm", "Bonn", None],
        "born": ["2020-01-06", "2021-05-05", None, "2022-02-02", "2020-03-01"],
        "paid": [True, False, None, True, True],
    }
)


def numbers_of(values: object, *, then: object = None) -> np.ndarray:
    frame = pd.DataFrame({"x": values})
    encoder = TableEncoder().fit(frame)
    return encoder.transform(frame if then is None else pd.DataFrame({"x": then})).numbers.numpy()


def test_each_column_is_taken_for_what_it_holds_and_said_so() -> None:
    encoder = TableEncoder().fit(PEOPLE)
    assert encoder.notes == (
        "column 'age': numbers, 1 of 5 missing",
        "column 'size': numbers, 1 of 5 missing",
        "column 'town': 2 categories, 1 of 5 missing",
        "column 'born': dates, as year, month, weekday, days, 1 of 5 missing",
        "column 'paid': numbers, 1 of 5 missing",
    )
    rows = encoder.transform(PEOPLE)
    assert rows.numbers.shape == (5, encoder.width) == (5, 2 + 2 + 5 + 2)
    assert rows.categories.tolist() == [[3], [2], [3], [2], [MISSING]]
    assert encoder.cardinalities == (4,)
    assert encoder.one_hot(rows).shape == (5, 11 + 4)
    assert torch.isfinite(rows.numbers).all()


def test_numbers_are_centred_at_the_median_scaled_by_quartiles_and_bounded() -> None:
    values = np.arange(101.0)
    encoded = numbers_of(values, then=[50.0, 75.0, 1e300])[:, 0]
    z = 25 / (50 / 1.349)
    assert encoded == pytest.approx([0, z / np.sqrt(1 + (z / REACH) ** 2), REACH], rel=1e-6)


def test_a_column_that_is_mostly_zero_still_has_a_scale() -> None:
    values = np.r_[np.zeros(90), np.full(10, 7.0)]
    z = 7 / values.std()
    assert numbers_of(values)[-1, 0] == pytest.approx(z / np.hypot(1, z / REACH), rel=1e-6)
    assert numbers_of(np.full(9, 4.0), then=[4.0, 5.0]).tolist() == [[0.0], [0.0]]


def test_a_missing_number_is_the_median_with_a_flag_where_training_had_some() -> None:
    assert numbers_of([1.0, 3.0, None, 2.0], then=[None, 2.0]).tolist() == [[0, 1], [0, 0]]
    assert numbers_of([1.0, 3.0, 2.0], then=[None]).tolist() == [[0]]


def test_categories_that_are_rare_or_new_share_a_code() -> None:
    frame = pd.DataFrame({"x": ["a", "a", "b", "c", "c", "c", None]})
    encoder = TableEncoder().fit(frame)
    later = pd.DataFrame({"x": ["c", "a", "b", "new", None]})
    assert encoder.transform(later).categories[:, 0].tolist() == [2, 3, UNKNOWN, UNKNOWN, MISSING]


def test_a_category_is_the_same_as_number_and_as_text() -> None:
    encoder = TableEncoder().fit(pd.DataFrame({"x": pd.Categorical([1, 2, 1, 2])}))
    codes = [
        encoder.transform(pd.DataFrame({"x": cells})).categories for cells in ([1, 2], [1.0, 2.0], ["1", "2"])
    ]
    assert codes[0].tolist() == codes[1].tolist() == codes[2].tolist() == [[2], [3]]


def test_dates_are_read_from_text_and_from_timestamps_alike() -> None:
    text = pd.DataFrame({"x": ["2020-01-06", "2021-05-05T12:30", "2022-02-02"]})
    times = pd.DataFrame({"x": pd.to_datetime(text["x"], format="ISO8601")})
    encoder = TableEncoder().fit(text)
    assert encoder.notes == ("column 'x': dates, as year, month, weekday, hour, days",)
    assert torch.equal(encoder.transform(text).numbers, encoder.transform(times).numbers)
    zoned = pd.DataFrame({"x": times["x"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")})
    assert torch.equal(encoder.transform(zoned).numbers, encoder.transform(times).numbers)


def test_a_few_words_among_numbers_count_as_missing_and_are_named() -> None:
    cells = [*map(str, range(97)), "unknown", "?", "?"]
    encoder = TableEncoder().fit(pd.DataFrame({"x": cells}))
    assert encoder.notes == (
        "column 'x': numbers; 3 cells that are none ('unknown', '?') count as missing, 3 of 100 missing",
    )
    assert encoder.transform(pd.DataFrame({"x": ["so so", "48"]})).numbers[:, 1].tolist() == [1, 0]


def test_names_are_left_out_and_mixed_columns_are_said() -> None:
    frame = pd.DataFrame(
        {"id": [f"row {i}" for i in range(60)], "mixed": ["1", "2", "high"] * 20, "x": range(60)}
    )
    encoder = TableEncoder().fit(frame)
    assert encoder.notes[:2] == (
        "column 'id': left out: 60 distinct texts in 60 cells are names, not categories",
        "column 'mixed': 3 categories, though 67% of its cells are numbers",
    )
    assert (encoder.width, encoder.cardinalities) == (1, (5,))
    with pytest.raises(ValueError, match="no column is left to learn from: column 'id': left out"):
        TableEncoder().fit(frame[["id"]])


def test_arrays_of_any_kind_are_tables() -> None:
    numeric = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]])
    assert TableEncoder().fit(numeric).width == 3
    assert TableEncoder().fit(numeric.astype(object)).width == 3
    assert TableEncoder().fit(np.array([["1", "u"], ["2", "v"], ["3", "u"]])).cardinalities == (3,)
    assert TableEncoder().fit([[1, 2], [3, 4]]).width == 2


@pytest.mark.parametrize("cells", [pd.array([1, None, 3], "Int64"), pd.to_timedelta([1, 2, 3], unit="D")])
def test_other_types_of_numbers(cells: object) -> None:
    assert np.isfinite(numbers_of(cells)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.assign(age=["x", 1, 2, 3, 4]),
            r"column 'age' held numbers .* now holds 'x' in row 0 \(1",
        ),
        (
            lambda f: f.assign(born="soon"),
            r"column 'born' held dates .* holds 'soon' in row 0, 'soon' in row 1",
        ),
        (lambda f: f.drop(columns="town"), r"the table lacks \['town'\]: its columns are"),
        (lambda f: f.assign(new=1), r"the table has \['new'\], which training did not show"),
        (lambda f: f.assign(age=np.inf), "column 'age' holds infinity in 5 rows, the first of them 0"),
        (lambda f: f[:0], "got 0 rows and 5 columns"),
    ],
)
def test_mistakes_at_predict_time_are_named(change: Callable[[pd.DataFrame], object], message: str) -> None:
    encoder = TableEncoder().fit(PEOPLE)
    with pytest.raises(ValueError, match=message):
        encoder.transform(change(PEOPLE))


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(TypeError, match="dense data is required"):
        TableEncoder().fit(scipy.sparse.eye(3).tocsr())
    with pytest.raises(ValueError, match="Expected 2D array"):
        TableEncoder().fit(np.arange(3.0))
    with pytest.raises(ValueError, match=r"stand twice: \['age'\]"):
        TableEncoder().fit(PEOPLE[["age", "age"]])


def test_columns_are_found_by_name_in_any_order() -> None:
    encoder = TableEncoder().fit(PEOPLE)
    turned = encoder.transform(PEOPLE[PEOPLE.columns[::-1]])
    assert torch.equal(turned.numbers, encoder.transform(PEOPLE).numbers)


def test_booleans_are_the_same_from_a_file_of_text() -> None:
    assert numbers_of([True, False, True], then=["true", "False", True]).tolist() == (
        numbers_of([True, False, True]).tolist()
    )
    with pytest.raises(ValueError, match="'maybe' in row 1"):
        numbers_of([True, False, True], then=["true", "maybe"])
    with pytest.raises(ValueError, match="'true' in row 0"):
        numbers_of([1.0, 2.0, 3.0], then=["true"])
