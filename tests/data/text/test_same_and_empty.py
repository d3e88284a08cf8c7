"""One meaning of "the same" and of "empty" in filter, leak checks, splits and vocabulary."""

from __future__ import annotations

import pytest
import torch

from metaweight.data.text import (
    Bitext,
    components,
    filter_bitext,
    require_disjoint,
    shared_sentences,
    split_by_component,
    train_vocabulary,
)
from metaweight.data.text.components import without_shared

EMPTY = [
    "",
    " ",
    "\t",
    "\u00a0",
    "\u3000",
    "\u0085",
    "\u2028",
    "\u200b",
    "\ufeff",
    "\u2060\u200d",
    "\x00",
    " \u00ad \r",
]
ALIKE = [
    ("ein Haus", "ein\u00a0Haus"),
    ("caf\u00e9", "cafe\u0301"),
    ("Haus", " Ha\u200bus\t"),
    ("\u2764", "\u2764\ufe0f"),
]
OTHER = [("Haus", "haus"), ("ein Haus", "einHaus"), ("Haus", "Haus."), ("\uff21", "A")]


@pytest.mark.parametrize("empty", EMPTY)
def test_a_side_that_shows_nothing_is_left_out_with_its_reason(empty: str) -> None:
    pairs = Bitext((empty, "a", empty, "b"), ("A", empty, empty, "B"))
    found = filter_bitext(pairs)
    assert found.kept.tolist() == [3]
    assert found.left_out.reasons == ("the source is empty", "the target is empty", "both sides are empty")
    assert found.counts["empty"] == 3


@pytest.mark.parametrize("pair", ALIKE)
def test_sentences_that_look_alike_are_one(pair: tuple[str, str]) -> None:
    one, other = pair
    assert filter_bitext(Bitext([one], [other]), drop_copies=True).left_out.reasons == (
        "both sides say the same",
    )
    pairs = Bitext((one, other, "x"), ("A", "B", "C"))
    assert components(pairs).tolist() == [0, 0, 1]
    parts = split_by_component(pairs, {"test": 1, "train": None}, generator=torch.Generator().manual_seed(0))
    assert parts["test"].tolist() == [2]
    train, held = Bitext((one, "y"), ("A", "B")), Bitext(("z", other), ("Z", "D"))
    assert shared_sentences(train, held).tolist() == [0]
    apart, left_out = without_shared(train, held)
    assert apart == Bitext(("y",), ("B",))
    assert left_out.texts == (f"{one} ||| A",)
    with pytest.raises(ValueError, match="1 pairs of the training set share a sentence"):
        require_disjoint(train, held)
    with pytest.raises(ValueError, match="1 pairs of the training set share a sentence"):
        require_disjoint(train.swapped(), held.swapped())


@pytest.mark.parametrize("pair", OTHER)
def test_others_are_not(pair: tuple[str, str]) -> None:
    one, other = pair
    assert not len(filter_bitext(Bitext([one], [other]), drop_copies=True).left_out)
    require_disjoint(Bitext((one,), ("A",)), Bitext((other,), ("B",)))


def test_what_shows_nothing_is_no_text_of_a_vocabulary() -> None:
    text = ["rot blau gelb", "blau rot", "gelb rot rot"]
    assert train_vocabulary([*EMPTY, *text], 16) == train_vocabulary(text, 16)
    with pytest.raises(ValueError, match="no sentence that is not empty"):
        train_vocabulary(EMPTY, 16)
