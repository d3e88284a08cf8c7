"""Which column is the text, what it is cut into, and how pairs are joined."""

import pandas as pd
import pytest

from metaweight.data.rows import Rows, of_frame
from metaweight.data.text.column import text_columns, texts_of
from metaweight.data.text.pieces import check_pieces, encode_texts, join_pairs, learn_vocabulary

FREE = [f"a sentence that is number {n}" for n in range(6)]


def rows(**columns: list) -> Rows:
    return of_frame(
        pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()}), "f.csv"
    )


SHORT, NUMBERS = ["a", "b"] * 3, [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("given", "asked", "found"),
    [
        (rows(id=NUMBERS, said=FREE, label=SHORT), (), ("said",)),
        (rows(said=FREE, Text=SHORT, label=SHORT), (), ("Text",)),
        (rows(word=SHORT, label=SHORT), (), ("word",)),
        (rows(premise=FREE, Hypothesis=FREE, label=SHORT), (), ("premise", "Hypothesis")),
        (rows(a=FREE, b=FREE, label=SHORT), ("b", "a"), ("b", "a")),
    ],
)
def test_the_column_is_found_by_its_name_or_its_look(given: Rows, asked: tuple, found: tuple) -> None:
    assert text_columns(given, asked, ("label",)) == found


@pytest.mark.parametrize(
    ("given", "asked", "message"),
    [
        (rows(a=FREE, b=FREE, label=SHORT), (), "Say --text COLUMN, or two of a pair .'a' and 'b' may"),
        (rows(a=NUMBERS, b=SHORT, label=SHORT), (), "none is called so or holds free text"),
        (rows(said=FREE, label=SHORT), ("sayd",), "no column 'sayd'. Did you mean 'said'"),
        (rows(a=FREE, b=FREE, c=FREE), ("a", "b", "c"), "one column, or a pair of two"),
    ],
)
def test_what_is_not_clear_is_asked_for(given: Rows, asked: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        text_columns(given, asked, ("label",))


def test_cells_are_text_or_missing() -> None:
    assert texts_of(rows(t=["a", None, float("nan")]), "t") == ["a", "", ""]
    with pytest.raises(ValueError, match=r"f\.csv, row 2: the text in 't' is '7', no string but int"):
        texts_of(rows(t=["a", 7]), "t")
    with pytest.raises(ValueError, match=r"f\.csv, row 1: 't' holds half a surrogate pair"):
        texts_of(rows(t=["\ud800"]), "t")


def test_pairs_are_joined_and_the_longer_text_is_cut_first() -> None:
    assert join_pairs([[5, 6, 7]], None, 2) == ([[5, 6]], 1)
    assert join_pairs([[5], [5, 6, 7, 8]], [[9], [9, 10, 11]], 5) == ([[5, 2, 9], [5, 6, 2, 9, 10]], 1)
    assert join_pairs([[5] * 9], [[9]], 5) == ([[5, 5, 5, 2, 9]], 1)
    assert join_pairs([[5]], [[9] * 9], 5) == ([[5, 2, 9, 9, 9]], 1)


@pytest.mark.parametrize("pieces", ["unigram", "bpe"])
def test_short_text_has_as_many_pieces_as_it_allows(pieces: str) -> None:
    texts = [f"{one} {other}" for one in ("red", "green") for other in ("house", "horse")]
    vocabulary = learn_vocabulary(texts, pieces, 0)
    assert 8 < len(vocabulary) < 60
    assert all(min(ids) > 3 for ids in encode_texts(vocabulary, texts))
    with pytest.raises(ValueError, match="more than the text allows"):
        learn_vocabulary(texts, pieces, 4000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("wrods", 0, 9), "unknown pieces 'wrods'. Did you mean 'words'"),
        (("words", -1, 9), "vocab_size is a number of ids"),
        (("words", 0, 1), "max_length is 2 or more"),
    ],
)
def test_options_that_hold_nothing(options: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_pieces(*options)
