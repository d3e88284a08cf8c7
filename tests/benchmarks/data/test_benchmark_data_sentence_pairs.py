from __future__ import annotations

import lzma
from pathlib import Path

import pytest
import torch
from real_data import DATA, needs
from text_sets import PARTS, assert_apart, lines, sizes

import benchmarks.data  # noqa: F401 - registers the sets
from metaweight.data.text import Bitext, load_text

needs_pairs = needs("nmt/multi30k.de-en.tsv.xz")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Data files of the real names and layouts with few pairs; Multi30k's training split leaks twice."""
    leaks = "train\td30 d\tnew e\ntrain\tnew d\te41 e\ntrain\t \tempty e\n"
    files = {
        "multi30k.de-en": lines(0, 30, split="train")
        + leaks
        + lines(30, 40, split="val")
        + lines(40, 50, split="test_2016_flickr")
        + lines(90, 95, split="test_2017"),
        "tatoeba-2018-public.en-de": lines(28, 80, swap=True) + "Hi.\tHallo!\nHi.\tGuten Tag!\n",
        "tatoeba-mini14k.de-en": "".join(
            lines(*span, split=split)
            for split, span in {"train": (0, 20), "valid": (20, 25), "test": (25, 30)}.items()
        ),
        "opennmt-wmtmix10k.en-de.tok": lines(40, 42, swap=True) + "other e\tother d\n\tnothing d\n",
    }
    (tmp_path / "nmt").mkdir()
    for name, text in files.items():
        (tmp_path / "nmt" / f"{name}.tsv.xz").write_bytes(lzma.compress(text.encode()))
    return tmp_path


def test_multi30k_keeps_its_test_set_and_drops_what_leaks_into_it(folder):
    made = load_text("multi30k", data_dir=folder, meta_size=6)
    assert (made.name, made.languages) == ("Multi30k de-en", ("de", "en"))
    assert sizes(made) == [24, 6, 10, 10]
    assert made.test == Bitext(*zip(*[(f"d{i} d", f"e{i} e") for i in range(40, 50)], strict=True))
    assert_apart(made)
    both = {*made.train.source, *made.meta.source}
    assert both == {f"d{i} d" for i in range(30)}
    assert made.notes == (
        "training split: kept 32 of 33 pairs, dropped: empty 1; "
        "2 more share a sentence with validation or test"
    )
    # of the other domain, the pairs of the test set and the empty one are gone
    assert made.out_of_domain == Bitext(("other d",), ("other e",))
    assert (made.foreign, made.foreign_aligned) == (("other d",), False)


@pytest.mark.parametrize("name", ["multi30k", "tatoeba", "tatoeba-mini", "mismatch"])
def test_the_direction_can_be_turned(folder, name):
    options = {"data_dir": folder, "meta_size": 3, "valid_size": 5, "test_size": 5}
    made, turned = load_text(name, **options), load_text(name, languages=("en", "de"), **options)
    for part in (*PARTS, "out_of_domain"):
        given, back = getattr(made, part), getattr(turned, part)
        assert back == Bitext(given.target, given.source)
    assert made.foreign == made.out_of_domain.source
    assert turned.foreign == turned.out_of_domain.source
    assert made.foreign[-1] == "other d"
    assert turned.foreign[-1] == "other e"
    assert turned.name.endswith(" en-de")
    with pytest.raises(ValueError, match=f"'{name}' has the languages de and en, got de, fr"):
        load_text(name, languages=("de", "fr"), **options)


@pytest.mark.parametrize(
    ("name", "clean"), [("multi30k", True), ("tatoeba", True), ("tatoeba-mini", True), ("mismatch", False)]
)
def test_pairs_of_one_domain_count_as_good_ones(folder, name, clean):
    assert load_text(name, data_dir=folder, meta_size=3, valid_size=5, test_size=5).clean == clean


def test_tatoeba_is_split_by_component(folder):
    for seed in range(6):
        made = load_text("tatoeba", data_dir=folder, meta_size=5, valid_size=6, test_size=7, seed=seed)
        assert sizes(made) == [36, 5, 6, 7]
        assert_apart(made)


def test_tatoeba_mini_has_its_own_splits(folder):
    made = load_text("tatoeba-mini", data_dir=folder, meta_size=4)
    assert sizes(made) == [16, 4, 5, 5]
    assert made.valid.source == tuple(f"d{i} d" for i in range(20, 25))


def test_mismatch_trains_on_tatoeba_and_trusts_multi30k(folder):
    trusted = load_text("multi30k", data_dir=folder, meta_size=6)
    made = load_text("mismatch", data_dir=folder, meta_size=6)
    assert (made.meta, made.valid, made.test) == (trusted.meta, trusted.valid, trusted.test)
    assert_apart(made)
    in_meta = sum(source in ("d28 d", "d29 d") for source in made.meta.source)
    assert len(made.train) == 54 - 20 - in_meta
    assert made.notes.endswith(f"{20 + in_meta} more share a sentence with meta, validation or test")
    few = load_text("mismatch", data_dir=folder, meta_size=6, train_size=11)
    assert sizes(few) == [11, 6, 10, 10]
    assert set(few.train.source) <= set(made.train.source)


@pytest.mark.parametrize("name", ["multi30k", "tatoeba", "tatoeba-mini", "mismatch"])
def test_missing_data_says_what_to_name(tmp_path, monkeypatch, name):
    monkeypatch.delenv("METAWEIGHT_DATA", raising=False)
    with pytest.raises(
        ValueError, match=rf"'{name}' needs the file .*\.tsv\.xz; looked in no folder.*data-dir"
    ):
        load_text(name)
    with pytest.raises(ValueError, match=r"looked in .*METAWEIGHT_DATA; other pairs come as tsv:PATH"):
        load_text(name, data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"data_dir names the data folder .*, which is not there"):
        load_text(name, data_dir=tmp_path / "gone")


@pytest.mark.data
@needs_pairs
def test_the_real_multi30k_has_its_published_counts():
    made = load_text("multi30k", data_dir=DATA)
    # 29,000 in training, less 2 lopsided, 2 that are in the validation set too, and 500 for meta
    assert sizes(made) == [28_496, 500, 1014, 1000]
    assert made.test.target[0] == "A man in an orange hat starring at something."
    assert_apart(made, but=("valid", "test"))
    assert len(made.out_of_domain) == len(made.foreign) == 9_998
    torch.testing.assert_close(sum(len(s.split()) for s in made.test.target) / 1000, 11.9, rtol=0, atol=0.6)


@pytest.mark.data
@needs_pairs
def test_the_real_tatoeba_keeps_translations_of_one_sentence_together():
    made = load_text("tatoeba", data_dir=DATA, train_size=20_000)
    assert sizes(made) == [20_000, 500, 1000, 1000]
    assert_apart(made)
