from __future__ import annotations

import datasets
import pytest
from text_sets import assert_apart, lines, sizes

from metaweight.data.text import Bitext, TextSet, load_text


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
    ],
)
def test_bad_sizes_and_languages_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        load_text("cldr", **options)


@pytest.mark.parametrize(
    ("name", "error", "complaint"),
    [
        ("cdlr", KeyError, "unknown text set 'cdlr'. Did you mean 'cldr'.*tsv:PATH.*--import the module"),
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
