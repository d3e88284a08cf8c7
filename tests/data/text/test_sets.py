from __future__ import annotations

import lzma
import os
from itertools import combinations
from pathlib import Path

import datasets
import pytest
import torch

from metaweight.data.text import Bitext, TextSet, load_text, texts

DATA = Path(os.environ.get("METAWEIGHT_DATA") or Path(__file__).parents[3] / ".." / "shared" / "data")
needs_data = pytest.mark.skipif(
    not (DATA / "nmt" / "multi30k.de-en.tsv.xz").is_file(),
    reason="METAWEIGHT_DATA names no folder with nmt/multi30k.de-en.tsv.xz",
)
PARTS = ("train", "meta", "valid", "test")


def sizes(made: TextSet) -> list[int]:
    return [len(getattr(made, part)) for part in PARTS]


def assert_apart(made: TextSet, *, but: tuple[str, str] | None = None) -> None:
    """No two parts share a sentence, by sets and by hand."""
    for one, other in combinations(PARTS, 2):
        if (one, other) != but:
            for side in ("source", "target"):
                first, second = (set(getattr(getattr(made, part), side)) for part in (one, other))
                assert not first & second


def lines(first: int, last: int, *, split: str = "", swap: bool = False) -> str:
    """Pairs "d3 d" and "e3 e" as TSV; German first unless swapped."""
    rows = []
    for number in range(first, last):
        pair = [f"d{number} d", f"e{number} e"]
        rows.append("\t".join(([split] if split else []) + (pair[::-1] if swap else pair)))
    return "".join(row + "\n" for row in rows)


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


def test_sizes_cut_the_own_splits_from_their_beginning_and_the_training_set_at_random(folder):
    whole = load_text("multi30k", data_dir=folder, meta_size=6)
    made = load_text("multi30k", data_dir=folder, meta_size=6, train_size=9, valid_size=3, test_size=4)
    assert sizes(made) == [9, 6, 3, 4]
    assert made.valid == whole.valid.select(range(3))
    assert made.test == whole.test.select(range(4))
    assert made.meta == whole.meta  # the training size does not move the meta set
    other = load_text("multi30k", data_dir=folder, meta_size=6, train_size=9, seed=1)
    assert other.meta != made.meta
    assert other.train != made.train
    assert other.test == whole.test


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


def test_a_table_of_one_s_own_is_split_by_component(tmp_path):
    path = tmp_path / "my.tsv"
    path.write_text(lines(0, 30) + "d0 d\tmore e\n" + " \tempty\n")
    made = load_text(f"tsv:{path}", meta_size=4, valid_size=5, test_size=6)
    assert (made.name, made.languages) == ("my.tsv source-target", ("source", "target"))
    assert sizes(made) == [16, 4, 5, 6]
    assert_apart(made)
    assert (made.foreign, made.out_of_domain) == (None, None)
    assert made.notes == "all text: kept 31 of 32 pairs, dropped: empty 1"
    again = load_text(f"tsv:{path}", meta_size=4, valid_size=5, test_size=6, languages=("de", "en"))
    assert (again.train, again.name) == (made.train, "my.tsv de-en")
    headed = tmp_path / "my.csv"
    headed.write_text("id,en,de\n" + "".join(f"{i},e{i},d{i}\n" for i in range(9)))
    named = load_text(
        f"tsv:{headed}?source=de&target=en", meta_size=1, valid_size=1, test_size=1, train_size=2
    )
    assert named.languages == ("de", "en")
    assert sizes(named) == [2, 1, 1, 1]
    assert named.train.source[0][0] == "d"


def test_a_set_of_the_hub_keeps_its_splits_apart(tmp_path):
    def rows(first: int, last: int) -> datasets.Dataset:
        cells = [{"de": f"d{i} d", "en": f"e{i} e"} for i in range(first, last)]
        feature = datasets.Translation(languages=["de", "en"])
        return datasets.Dataset.from_dict({"t": cells}, features=datasets.Features({"t": feature}))

    parts = {"train": rows(0, 21), "validation": rows(20, 25), "test": rows(25, 30)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    made = load_text(f"hf:{tmp_path / 'd'}", meta_size=3, languages=("en", "de"))
    assert sizes(made) == [17, 3, 5, 5]
    assert "1 more share a sentence" in made.notes
    assert made.train.source[0][0] == "e"


def test_cldr_has_foreign_sentences_of_its_training_pairs():
    made = load_text("cldr", train_size=60, meta_size=8, valid_size=9, test_size=10)
    assert sizes(made) == [60, 8, 9, 10]
    assert (made.name, made.languages, made.foreign_aligned) == ("CLDR en-de", ("en", "de"), True)
    assert_apart(made)
    assert made == load_text("cldr", train_size=60, meta_size=8, valid_size=9, test_size=10)
    other = load_text("cldr", train_size=60, meta_size=8, valid_size=9, test_size=10, seed=1)
    assert other.train != made.train
    # aligned: digits of the target, in whatever order a language writes them, are those of the foreign one
    digits = [(sorted(filter(str.isdecimal, a)), sorted(filter(str.isdecimal, b))) for a, b in pairs(made)]
    same = sum(one == two for one, two in digits if one)
    assert same > 0.8 * sum(1 for one, _ in digits if one)


def pairs(made: TextSet) -> list[tuple[str, str]]:
    return list(zip(made.train.target, made.foreign or (), strict=True))


@pytest.mark.parametrize("languages", [("de", "fr"), ("fr", "es"), ("fr_CA", "en")])
def test_the_foreign_language_of_cldr_is_a_third_one(languages):
    made = load_text("cldr", train_size=40, meta_size=5, valid_size=5, test_size=5, languages=languages)
    assert sum(foreign != target for target, foreign in pairs(made)) > 30


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"train_size": 0}, "train_size is at least 1, got 0"),
        ({"valid_size": -1}, "valid_size is at least 0, got -1"),
        ({"languages": ("de", "de")}, r"source and target, and differ; got \('de', 'de'\)"),
        ({"test_size": 11}, "test_size is at most 10, all pairs of the split, got 11"),
        ({"meta_size": 31}, "meta 31 are 31 pairs, the bitext has 30"),
        ({"meta_size": 30}, "the training set is empty"),
        ({"meta_size": 10, "train_size": 21}, "meta 10, train 21 are 31 pairs, the bitext has 30"),
    ],
)
def test_bad_sizes_and_languages_are_refused(folder, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        load_text("multi30k", data_dir=folder, **{"meta_size": 2, **options})


@pytest.mark.parametrize(
    ("name", "error", "complaint"),
    [
        ("multi3k", KeyError, "unknown text set 'multi3k'. Did you mean 'multi30k'.*tsv:PATH"),
        ("tvs:a.tsv", KeyError, "unknown text set 'tvs:a.tsv'. Did you mean 'tsv:PATH'"),
        ("tsv:", ValueError, "names no file; write tsv:PATH"),
        ("tsv:a.tsv?source=de", ValueError, "names one column; write tsv:PATH"),
        ("tsv:a.tsv?sorce=de", TypeError, "unknown option 'sorce'. Did you mean 'source'"),
        ("tsv:gone.tsv", ValueError, "gone.tsv: there is no such file"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, error, complaint):
    with pytest.raises(error, match=complaint):
        load_text(name)


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


def test_a_set_that_leaks_cannot_be_built():
    pair, other = Bitext(("a",), ("A",)), Bitext(("b",), ("B",))
    empty = Bitext((), ())
    with pytest.raises(ValueError, match="1 pairs of the training set share a sentence with the test set"):
        TextSet("x", ("de", "en"), pair, empty, empty, Bitext(("c",), ("A",)))
    with pytest.raises(ValueError, match="1 pairs of the meta set share a sentence with the valid set"):
        TextSet("x", ("de", "en"), pair, other, other, empty)
    with pytest.raises(ValueError, match="source and target language are both 'de'"):
        TextSet("x", ("de", "de"), pair, other, empty, empty)
    with pytest.raises(ValueError, match="2 foreign sentences for 1 training pairs"):
        TextSet("x", ("de", "en"), pair, other, empty, empty, foreign=("c", "d"), foreign_aligned=True)
    assert set(texts.names()) == {"cldr", "multi30k", "tatoeba", "tatoeba-mini", "mismatch"}


@pytest.mark.data
@needs_data
def test_the_real_multi30k_has_its_published_counts():
    made = load_text("multi30k", data_dir=DATA)
    # 29,000 in training, less 2 lopsided, 2 that are in the validation set too, and 500 for meta
    assert sizes(made) == [28_496, 500, 1014, 1000]
    assert made.test.target[0] == "A man in an orange hat starring at something."
    assert_apart(made, but=("valid", "test"))
    assert len(made.out_of_domain) == len(made.foreign) == 9_998
    torch.testing.assert_close(sum(len(s.split()) for s in made.test.target) / 1000, 11.9, rtol=0, atol=0.6)


@pytest.mark.data
@needs_data
def test_the_real_tatoeba_keeps_translations_of_one_sentence_together():
    made = load_text("tatoeba", data_dir=DATA, train_size=20_000)
    assert sizes(made) == [20_000, 500, 1000, 1000]
    assert_apart(made)
