"""Words by a rule without a language, and the vocabulary of the frequent ones."""

import json

import pytest

from metaweight.data.text.words import WordVocabulary, frequent_words, learn_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, it's 3.5 €!", ["don't", "stop", ",", "it's", "3", ".", "5", "€", "!"]),
        ("y’all 'quoted'", ["y’all", "'", "quoted", "'"]),
        ("Straße ÉCOLE école", ["strasse", "école", "école"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("ƙasa\u200bɗan\tx_1", ["ƙasaɗan", "x", "_", "1"]),
        ("\u200b \u2028\n", []),
        ("😀😀", ["😀", "😀"]),
    ],
)
def test_words_of(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_the_frequent_words_have_ids_in_the_order_of_their_counts() -> None:
    vocabulary = learn_words(["b a a", "A b b c", " "], 20)
    assert vocabulary.words == ("a", "b")
    assert len(vocabulary) == 5
    assert vocabulary.encode(["B c a", ""]) == [[4, 1, 3], []]
    assert learn_words(["b a a", "a b b b c"], 4).words == ("b",)


def test_a_vocabulary_lies_in_its_file_in_order(tmp_path) -> None:
    vocabulary = WordVocabulary(("ż", "a"))
    vocabulary.save(tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text(encoding="utf-8")) == ["ż", "a"]
    with pytest.raises(ValueError, match="each word once"):
        WordVocabulary(("a", "a"))


@pytest.mark.parametrize(
    ("rows", "size", "message"), [([["a"]], 3, "more than the 3 special ids"), ([[]], 9, "not empty")]
)
def test_sizes_that_hold_no_word(rows: list[list[str]], size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frequent_words(rows, size)
