"""Vocabularies of labelled texts, read again from where a run has written them."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaweight.data.text.pieces import learn_vocabulary, load_vocabulary

TEXTS = [f"{fruit} und {tool}, Nr. {n}" for n in range(9) for fruit in ("Äpfel", "pear") for tool in ("saw",)]


@pytest.mark.parametrize("pieces", ["words", "unigram", "bpe"])
def test_a_vocabulary_is_read_as_it_was_written(pieces: str, tmp_path: Path) -> None:
    learnt = learn_vocabulary(TEXTS, pieces, 0)
    learnt.save(tmp_path / f"vocabulary{learnt.ending}")
    read = load_vocabulary(tmp_path / "vocabulary")
    assert read == learnt
    assert read.encode([*TEXTS, "neu"]) == learnt.encode([*TEXTS, "neu"])


@pytest.mark.parametrize("text", ["{", "[1, 2]", '["a", "a"]'])
def test_a_damaged_one_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(ValueError, match=r"vocabulary.json is damaged: .*; copy it from"):
        load_vocabulary(tmp_path / "vocabulary")


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the vocabulary .*vocabulary.json is missing"):
        load_vocabulary(tmp_path / "vocabulary")
