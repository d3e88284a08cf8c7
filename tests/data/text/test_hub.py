from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from metaweight.data.text import Bitext, load_hub_text
from metaweight.data.text.hub_text import HubText

GERMAN = ["eins", "zwei", "drei", "vier"]
ENGLISH = ["one", "two", "three", "four"]
PAIRS = Bitext(GERMAN, ENGLISH)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The library's cache lies in the test's own folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def nested(feature: object = None, name: str = "translation") -> datasets.Dataset:
    """One column of dictionaries: of type Translation, or plain where ``feature`` says so."""
    cells = [{"de": de, "en": en} for de, en in zip(GERMAN, ENGLISH, strict=True)]
    feature = feature or datasets.Translation(languages=["de", "en"])
    return datasets.Dataset.from_dict({name: cells}, features=datasets.Features({name: feature}))


def flat(**columns: list) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns or {"de": GERMAN, "en": ENGLISH})


def save(path: Path, rows: datasets.Dataset, cuts: tuple[int, int] = (2, 3)) -> str:
    parts = (range(cuts[0]), range(*cuts), range(cuts[1], len(rows)))
    names = ("train", "validation", "test")
    splits = {name: rows.select(part) for name, part in zip(names, parts, strict=True)}
    datasets.DatasetDict(splits).save_to_disk(str(path))
    return f"hf:{path}"


PLAIN = {"en": datasets.Value("string"), "de": datasets.Value("string")}


@pytest.mark.parametrize("rows", [nested(), nested(PLAIN), flat()], ids=["Translation", "dict", "columns"])
def test_the_pairs_are_found_by_the_languages_in_either_direction(tmp_path, rows):
    name = save(tmp_path / "d", rows)
    made = load_hub_text(name, ("de", "en"))
    assert list(made) == ["train", "valid", "test"]
    assert [made[split] for split in made] == [PAIRS.select([0, 1]), PAIRS.select([2]), PAIRS.select([3])]
    back = load_hub_text(name, ("en", "de"))
    assert (back["train"].source, back["train"].target) == (made["train"].target, made["train"].source)


def test_columns_can_be_named_and_come_before_the_languages(tmp_path):
    name = save(tmp_path / "d", flat(de=GERMAN, en=ENGLISH, loud=[word.upper() for word in ENGLISH]))
    made = load_hub_text(f"{name}?source=en&target=loud&valid=test&test=validation", ("de", "en"))
    assert made["train"] == Bitext(("one", "two"), ("ONE", "TWO"))
    assert (made["valid"].target, made["test"].target) == (("FOUR",), ("THREE",))
    assert load_hub_text(f"{name}?source=en&target=loud")["train"] == made["train"]


@pytest.mark.parametrize("rows", [nested(), flat()])
def test_a_parquet_file_can_be_cut_into_splits(tmp_path, rows):
    path = tmp_path / "all.parquet"
    rows.to_parquet(str(path))
    name = f"hf:{path}?train=train[:2]&valid=train[2:3]&test=train[3:]"
    assert load_hub_text(name, ("de", "en"))["test"] == PAIRS.select([3])
    with pytest.raises(ValueError, match=r"split 'train\[3:3\]', cannot be loaded: .*no data"):
        load_hub_text(name.replace("[2:3]", "[3:3]"), ("de", "en"))


def test_of_several_columns_of_pairs_one_must_fit(tmp_path):
    french = [{"fr": "un", "en": word} for word in ENGLISH]
    both = nested().add_column("more", french)
    name = save(tmp_path / "d", both)
    assert load_hub_text(name, ("de", "en"))["train"] == PAIRS.select([0, 1])
    assert load_hub_text(name, ("fr", "en"))["train"].source == ("un", "un")
    with pytest.raises(ValueError, match=r"no pairs of es and en: column 'translation' holds de, en; 'more'"):
        load_hub_text(name, ("es", "en"))
    flat_too = save(tmp_path / "f", flat().add_column("more", french))
    assert load_hub_text(flat_too, ("de", "en"))["train"] == PAIRS.select([0, 1])
    twice = save(tmp_path / "e", nested().add_column("again", nested()["translation"][:]))
    with pytest.raises(ValueError, match=r"2 columns with de and en: \['translation', 'again'\]"):
        load_hub_text(twice, ("de", "en"))


def test_what_does_not_fit_is_refused(tmp_path):
    name = save(tmp_path / "d", flat())
    with pytest.raises(ValueError, match=r"split 'train' has no column 'fr'\. .*Known: de, en"):
        load_hub_text(name, ("de", "fr"))
    with pytest.raises(ValueError, match=r"no column 'dee'\. Did you mean 'de'"):
        load_hub_text(f"{name}?source=dee&target=en", ("de", "en"))
    with pytest.raises(ValueError, match="name the languages, source and target, or both columns"):
        load_hub_text(name)
    with pytest.raises(
        ValueError, match=r"no split 'valid'\. Did you mean 'validation'.*\?train=NAME&valid="
    ):
        load_hub_text(f"{name}?valid=valid", ("de", "en"))
    numbers = save(tmp_path / "numbers", flat(de=GERMAN, en=[1, 2, 3, 4]))
    with pytest.raises(ValueError, match=r"numbers, split train, row 1: no sentence in 'en', got 1"):
        load_hub_text(numbers, ("de", "en"))
    holes = save(tmp_path / "holes", flat(de=["a", None, "c", "d"], en=ENGLISH))
    with pytest.raises(ValueError, match=r"split train, row 2: no sentence in 'de', got None"):
        load_hub_text(holes, ("de", "en"))


def test_a_cell_without_pair_is_refused(tmp_path):
    cells = [{"de": "a", "en": "b"}, None, {"de": "a", "en": "b"}, {"de": "a", "en": "b"}]
    features = datasets.Features({"t": PLAIN})
    name = save(tmp_path / "d", datasets.Dataset.from_dict({"t": cells}, features=features))
    with pytest.raises(ValueError, match=r"split train, row 2: no sentence in 'de', got None"):
        load_hub_text(name, ("de", "en"))


def test_a_hub_name_and_its_config_reach_the_library(monkeypatch):
    asked = []

    def load(name: str, config: str | None, *, split: str) -> datasets.Dataset:
        asked.append((name, config, split))
        return nested()

    monkeypatch.setattr(datasets, "load_dataset", load)
    load_hub_text("hf:some-one/pairs@de-en?test=devtest", ("de", "en"))
    splits = ("train", "validation", "devtest")
    assert asked == [("some-one/pairs", "de-en", split) for split in splits]


def test_a_split_without_rows_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_args, **_options: flat(de=[], en=[]))
    with pytest.raises(ValueError, match="hf:a, split 'train' has no row"):
        load_hub_text("hf:a", ("de", "en"))


def test_a_name_is_taken_apart():
    assert HubText.parse("hf:a/b") == HubText("a/b")
    assert HubText.parse("hf:a/b@c?source=s&target=t&train=x[:9]&valid=y&test=z") == HubText(
        "a/b", "c", source="s", target="t", train="x[:9]", valid="y", test="z"
    )


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("hf:", ValueError, r"names no data set; write hf:NAME.*valid=SPLIT"),
        ("hf:a?sorce=x", TypeError, "unknown option 'sorce'\\. Did you mean 'source'"),
        ("hf:a?source=x", ValueError, "source and target go together"),
        ("hf:a?source=&target=x", ValueError, "option 'source' has the value ''"),
    ],
)
def test_a_bad_name_is_refused(text, error, complaint):
    with pytest.raises(error, match=complaint):
        HubText.parse(text)
