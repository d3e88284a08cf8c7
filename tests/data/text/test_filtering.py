from __future__ import annotations

import pytest

from metaweight.data.text import Bitext, filter_bitext

WORDS = " ".join(["word"] * 12)
CASES = [  # source, target, the reason that drops it with max_words=20, max_characters=100
    ("ein Satz", "one sentence", None),
    ("", "one sentence", "empty"),
    ("ein Satz", " \t\u00a0\u2003", "empty"),
    (" ".join("a" * 20), " ".join("a" * 20), None),
    (" ".join("a" * 21), " ".join("a" * 20), "too-long"),
    ("x" * 100, "x", None),
    ("x", "x" * 101, "too-long"),
    ("a b c", WORDS, None),  # exactly four times
    ("a b", WORDS, "ratio"),
    (WORDS, "a b", "ratio"),
    ("Halt!", "will you stop that right now please", None),  # 7 words: too short for a ratio
    ("Berlin", "Berlin", None),
]
PAIRS = Bitext(*zip(*[case[:2] for case in CASES], strict=True))


def test_every_pair_that_goes_is_counted_once_under_its_reason():
    made = filter_bitext(PAIRS, max_words=20, max_characters=100)
    assert made.kept.tolist() == [i for i, case in enumerate(CASES) if case[2] is None]
    assert made.bitext == PAIRS.select(made.kept)
    assert made.counts == {"empty": 2, "too-long": 2, "ratio": 2}
    assert len(made.kept) + made.dropped == len(PAIRS)
    assert str(made) == "kept 6 of 12 pairs, dropped: empty 2, too-long 2, ratio 2"


def test_every_limit_can_be_moved_or_switched_off():
    unlimited = filter_bitext(PAIRS, max_words=None, max_characters=None, max_ratio=None)
    assert unlimited.counts == {"empty": 2, "too-long": 0, "ratio": 0}
    assert str(filter_bitext(Bitext(("a",), ("b",)))) == "kept 1 of 1 pairs"
    assert filter_bitext(PAIRS, max_ratio=3.9).counts["ratio"] == 3
    assert filter_bitext(Bitext((), ())).kept.tolist() == []


def test_copies_go_by_option_alone():
    copies = Bitext(("Berlin", "Berlin ", "Berlin"), ("Berlin", "Berlin", "berlin"))
    assert "copy" not in filter_bitext(copies).counts
    made = filter_bitext(copies, drop_copies=True)
    assert (made.kept.tolist(), made.counts["copy"]) == ([2], 2)


def test_words_of_a_language_without_spaces_have_no_ratio():
    english = " ".join(["word"] * 30)
    chinese = Bitext((english, english), ("我" * 30, "你" * 40))
    assert filter_bitext(chinese).kept.tolist() == [0, 1]
    assert filter_bitext(Bitext(chinese.target, chinese.source)).kept.tolist() == [0, 1]
    assert filter_bitext(Bitext((english, english), ("ein Wort", "ein Wort"))).counts["ratio"] == 2


def test_one_line_of_100_000_letters_does_not_switch_the_ratio_off():
    made = filter_bitext(Bitext((*PAIRS.source, "x" * 100_000), (*PAIRS.target, "x")))
    assert made.counts == {"empty": 2, "too-long": 1, "ratio": 2}


@pytest.mark.parametrize("option", ["max_words", "max_characters", "max_ratio"])
@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_below_one_is_refused(option, limit):
    with pytest.raises(ValueError, match=f"{option} is at least 1, or None"):
        filter_bitext(PAIRS, **{option: limit})
