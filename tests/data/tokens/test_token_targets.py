"""Labels of tokens as targets, the ids of tokens, and labels that are made wrong."""

import pytest
import torch

from metaweight.data.origins import Origins
from metaweight.data.rows.loader import IGNORED
from metaweight.data.rows.spoil import other_labels, spoil
from metaweight.data.tokens import Sentence, read_labels
from metaweight.data.tokens.features import TokenIds, features, shape

CELLS = [Sentence(("O", "B-X", "I-X")), Sentence(("O",))]
ORIGINS = Origins.of("a.bio", [3, 9], unit="line")


def test_labels_become_codes_with_o_first_and_come_back() -> None:
    targets = read_labels(CELLS, "labels", "a.bio", width=4)
    assert targets.classes == ("O", "B-X", "I-X")
    codes = targets.encode(CELLS, ORIGINS, "training")
    assert codes.tolist() == [[0, 1, 2, IGNORED], [0, IGNORED, IGNORED, IGNORED]]
    assert targets.shown(codes) == ["O B-X I-X", "O"]
    strange = [Sentence(("O", "B-Y"))]
    with pytest.raises(ValueError, match=r"a\.bio, line 3: token 2 of this test sentence has the label 'B-"):
        targets.encode(strange, ORIGINS, "test")
    assert "F1" not in targets.note
    codes_alone = [Sentence(("0", "1"))]
    assert (
        "none is 'O', so all tokens count in F1"
        in read_labels(codes_alone, "ner_tags", "a.bio", width=2).note
    )
    with pytest.raises(ValueError, match=r"a\.bio: every token has the label 'O'"):
        read_labels([CELLS[1]], "labels", "a.bio", width=1)


def test_a_token_is_its_word_its_shape_and_its_ends() -> None:
    assert features("London’s") == ("word london’s", "shape Xxxx’x", "first lon", "last n’s")
    assert shape("A380-800") == "Xddd-ddd"
    ids = TokenIds.learn([["Ann", "Anna"], ["Ann", "Zoë"]], "words", 0)
    (bags,) = ids.encode([["Ann", "Bob"], ["Anna"]]).select(torch.tensor([0, 1]))
    known = {word: code for code, word in enumerate(ids.vocabulary.words, 3)}  # type: ignore[attr-defined]
    assert set(known) == {"word ann", "shape Xxx", "first ann", "last ann"}
    assert bags[0, 0].tolist() == [known[name] for name in ("word ann", "shape Xxx", "first ann", "last ann")]
    assert bags[0, 1].tolist() == [1, known["shape Xxx"], 0, 0]
    assert bags[1, 1].tolist() == [0, 0, 0, 0]
    assert ids.unknown([["Ann", "Bob"]]) == 0.5


def test_a_token_is_its_pieces() -> None:
    ids = TokenIds.learn([["reading", "read"], ["red", "riding"]], "bpe", 0)
    (bags,) = ids.encode([["read"], ["unreadable ☃"]]).select(torch.tensor([0, 1]))
    assert bool((bags[0, 0] > 0).any())
    assert 1 in bags[1, 0].tolist()


def test_wrong_labels_stand_in_the_chosen_sentences_alone() -> None:
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (200, 1), generator=g)
    values = torch.randint(0, 3, (200, 8), generator=g).where(torch.arange(8) < lengths, IGNORED)
    rows = torch.arange(200) % 2 == 0
    given = other_labels(values, rows, 3, g)
    changed = given != values
    assert changed.any(dim=1).tolist() == rows.tolist()
    assert not changed[values == IGNORED].any()
    assert bool(((given >= 0) == (values >= 0)).all())
    share = changed[rows].sum() / (values[rows] != IGNORED).sum()
    assert 0.25 < float(share) < 0.5  # half are drawn anew, a third of these to what they were


def test_noise_of_sentences() -> None:
    targets = read_labels(CELLS, "labels", "a.bio", width=3)
    codes = targets.encode(CELLS * 50, Origins.of("a", range(1, 101)), "training")
    found = spoil(targets, codes, "uniform", rate=0.4, generator=torch.Generator().manual_seed(0))
    assert ((found.targets != codes).any(dim=1) == found.flipped).all()
    assert 0.25 < found.realised < 0.55
    with pytest.raises(ValueError, match="noise 'flip' is none of sentences"):
        spoil(targets, codes, "flip", rate=0.4, generator=torch.Generator())
