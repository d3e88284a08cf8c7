"""Row N is row N: whatever is skipped, cut, left out or drawn, each pair is found where it says it is.

The truth is noted while a file is written, by counting the line ends in it; no reader is asked.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import pyarrow
import pytest
from tiny_translation import OPTIONS

from metaweight.data.origins import Origins
from metaweight.data.seeding import derive
from metaweight.data.text import (
    Bitext,
    TextSet,
    filter_bitext,
    load_text,
    read_bitext,
    read_lines,
    read_splits,
)
from metaweight.data.text.noise import corrupt_bitext
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.translation.data import PreparedText, prepare

Pair = tuple[str, str]
Truth = dict[int, Pair]
"""Line, or row, from 1 -> what stands there."""

PAIRS: list[Pair] = [(f"Satz {n} ist hier", f"sentence {n} is here") for n in range(120)]
for bad, pair in {
    0: ("", "sentence without source"),
    7: ("Satz ohne Ziel", " \u00a0\u200b"),
    8: ("x " * 200, "y " * 200),
    30: ("kurz", "very much longer than its own other side can be so far"),
    31: ("wörtlich: er sagte", "literally: he said"),
    60: PAIRS[59],  # a copy: both are one component
    119: ("\u3000", "\ufeff"),
}.items():
    PAIRS[bad] = pair
DROPPED = {
    0: "the source is empty",
    7: "the target is empty",
    119: "both sides are empty",
    8: "words",
    30: "words",
}
LONG = [
    (f"{source}\nzweite Zeile", f'"{target}"\r\nthen, more') if n % 9 == 4 else (source, target)
    for n, (source, target) in enumerate(PAIRS)
]
"""With line ends and quotes inside of fields, which some forms cannot hold."""


class Written:
    """A file as it is written, and the line at which each pair begins."""

    def __init__(self, head: str = "") -> None:
        self.text, self.truth = head, Truth()

    def add(self, record: str, pair: Pair | None = None) -> None:
        if pair is not None:
            self.truth[self.text.count("\n") + 1] = pair
        self.text += record


def form(record: Callable[[Pair], str], pairs: list[Pair], head: str = "", blank: str = "\n") -> Written:
    """A file with blank lines at the top, in the middle and at the end."""
    file = Written()
    file.add(blank * 2)
    file.add(head)
    for number, pair in enumerate(pairs):
        if number % 40 == 5:
            file.add(blank)
        file.add(record(pair), pair)
    file.add(blank)
    return file


def cells(*fields: str, mark: str = ",", quoting: int = csv.QUOTE_MINIMAL, end: str = "\n") -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=mark, quoting=quoting, lineterminator=end).writerow(fields)
    return line.getvalue()


def tsv(pair: Pair) -> str:
    return "\t".join(pair) + "\n"


FORMS: dict[str, Callable[[], Written]] = {
    "a.tsv": lambda: form(tsv, PAIRS),
    "headed.tsv": lambda: form(tsv, PAIRS, "source\ttarget\n"),
    "windows.tsv.gz": lambda: form(lambda p: "\t".join(p) + "\r\n", PAIRS, "src\ttgt\r\n", "\r\n"),
    "quoted.tsv": lambda: form(lambda p: cells(*p, mark="\t"), LONG, "source\ttarget\n"),
    "a.csv": lambda: form(lambda p: cells(*p), LONG),
    "headed.csv.zst": lambda: form(lambda p: cells("7", p[1], p[0]), LONG, "id,target,source\n"),
    "european.csv": lambda: form(
        lambda p: cells(*p, mark=";", end="\r\n"), LONG, "source;target\r\n", "\r\n"
    ),
    "all.csv": lambda: form(lambda p: cells(*p, quoting=csv.QUOTE_ALL), LONG, '"source","target"\n'),
    "a.jsonl": lambda: form(lambda p: json.dumps({"target": p[1], "source": p[0]}) + "\n", LONG),
}


def write(folder: Path, name: str) -> tuple[Path, Truth]:
    made, path = FORMS[name](), folder / name
    packs = {".gz": gzip.compress, ".zst": lambda data: bytes(pyarrow.compress(data, "zstd", asbytes=True))}
    path.write_bytes(packs.get(path.suffix, bytes)(made.text.encode()))
    assert len(made.truth) == len(PAIRS)
    return path, made.truth


def assert_found(parts: Iterable[Bitext], file: str, truth: Truth) -> set[int]:
    """Each pair stands where it says; the rows that were seen, each once."""
    seen: list[int] = []
    for part in parts:
        assert part.origins is not None
        for source, target, origin in zip(part.source, part.target, part.origins, strict=True):
            assert (origin.file, truth[origin.row or 0]) == (file, (source, target))
            seen.append(origin.row or 0)
    assert len(seen) == len(set(seen))
    return set(seen)


def assert_left_out(made: TextSet, truth: Truth) -> set[int]:
    """Each pair that was left out begins as the list says; the rows."""
    rows = {}
    for (_, row, _, reason, text), origin in zip(made.left_out.rows(), made.left_out.origins, strict=True):
        source, target = truth[int(row)]
        assert text == f"{short(source)} ||| {short(target)}"
        assert origin.row == int(row)
        rows[int(row)] = reason
    assert len(rows) == len(made.left_out)
    return set(rows)


def short(side: str) -> str:
    return side if len(side) <= 300 else side[:300] + "..."


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_file_tells_each_pair_s_line(tmp_path: Path, name: str) -> None:
    path, truth = write(tmp_path, name)
    pairs = read_bitext(path)
    assert assert_found([pairs], str(path), truth) == set(truth)
    assert pairs.origins is not None
    assert pairs.origins.unit == "line"
    filtered = filter_bitext(pairs)
    kept = assert_found([filtered.bitext], str(path), truth)
    numbers = {number: line for number, line in enumerate(truth)}
    reasons = {
        origin.row: reason
        for origin, reason in zip(filtered.left_out.origins, filtered.left_out.reasons, strict=True)
    }
    assert set(reasons) == {numbers[bad] for bad in DROPPED} == set(truth) - kept
    assert all(DROPPED[bad] in reasons[numbers[bad]] for bad in DROPPED)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("size", [None, 31])
def test_every_split_of_a_file_keeps_each_pair_s_line(tmp_path: Path, name: str, size: int | None) -> None:
    path, truth = write(tmp_path, name)
    made = load_text(f"tsv:{path}", train_size=size, meta_size=20, valid_size=10, test_size=10, seed=3)
    used = assert_found([made.train, made.meta, made.valid, made.test], str(path), truth)
    left = assert_left_out(made, truth)
    assert not used & left
    assert used | left == set(truth)
    noisy = corrupt_bitext(made.train, "mixed", rate=0.5, generator=derive(0, "noise"))
    clean = [noisy.bitext.select([place]) for place in (~noisy.flipped).nonzero()[:, 0].tolist()]
    assert_found(clean, str(path), truth)
    assert noisy.bitext.origins is made.train.origins


def own(folder: Path, train: str) -> PreparedText:
    """A run on a file and trusted ones that share three of its sentences."""
    repeated = [PAIRS[3], (PAIRS[77][0].replace(" ", "\u00a0"), "other"), ("anders", PAIRS[78][1] + "\u200b")]
    held = {"meta": [(f"m {n}", f"n {n}") for n in range(16)] + repeated, "test": [("t 1", "u 1")]}
    for part, rows in held.items():
        (folder / f"{part}.tsv").write_text("".join(map(tsv, rows)), encoding="utf-8")
    paths = {part: str(folder / f"{part}.tsv") for part in held}
    options = {**OPTIONS, "vocab_size": 60, "overlap": "drop"}
    return prepare(TranslationConfig(**options, train=train, **paths))


@pytest.mark.parametrize("name", ["headed.tsv", "european.csv", "headed.csv.zst", "a.jsonl"])
def test_a_run_on_own_files_lists_what_it_uses_and_what_it_leaves_out(tmp_path: Path, name: str) -> None:
    path, truth = write(tmp_path, name)
    prepared = own(tmp_path, str(path))
    used = assert_found([prepared.pairs("train")], str(path), truth)
    assert prepared.origins is prepared.text.train.origins
    assert assert_left_out(prepared.text, truth) == set(truth) - used
    numbers = list(truth)
    shared = [
        o.row
        for o, why in zip(prepared.left_out.origins, prepared.left_out.reasons, strict=True)
        if "shares" in why
    ]
    assert shared == [numbers[3], numbers[77], numbers[78]]


def test_two_plain_files_have_the_same_line(tmp_path: Path) -> None:
    for side, place in (("de", 0), ("en", 1)):
        text = "".join(pair[place] + "\n" for pair in PAIRS)
        (tmp_path / f"a.{side}").write_bytes(text.encode())
    truth = dict(enumerate(PAIRS, 1))
    paths = str(tmp_path / "a.de"), str(tmp_path / "a.en")
    assert assert_found([read_lines(*paths)], paths[0], truth) == set(truth)
    prepared = prepare(
        TranslationConfig(
            **{**OPTIONS, "vocab_size": 60},
            train=paths,
            meta=write_held(tmp_path),
            test=write_held(tmp_path, 2),
        )
    )
    used = assert_found([prepared.pairs("train")], paths[0], truth)
    assert {row - 1 for row in set(truth) - used} == set(DROPPED)


def write_held(folder: Path, number: int = 1) -> str:
    path = folder / f"held{number}.tsv"
    path.write_text("".join(tsv((f"m {number} {n}", f"n {number} {n}")) for n in range(16)), encoding="utf-8")
    return str(path)


def test_splits_of_one_file_keep_its_lines(tmp_path: Path) -> None:
    file = Written("\n")
    for number, pair in enumerate(PAIRS):
        file.add("\t".join((("train", "dev")[number % 3 == 0], *pair)) + "\n", pair)
    path = tmp_path / "a.tsv"
    path.write_text(file.text, encoding="utf-8")
    splits = read_splits(path)
    assert [len(splits[name]) for name in ("dev", "train")] == [40, 80]
    assert assert_found(splits.values(), str(path), file.truth) == set(file.truth)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return tmp_path


def as_rows(pairs: list[Pair]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"de": [s for s, _ in pairs], "en": [t for _, t in pairs]})


SLICES = {
    "saved": ("train", "validation", "test"),
    "saved slices": ("train[25%:]", "validation[:10]", "test[-5:]"),
    "parquet slices": ("train[20:-20]", "train[:20]", "train[-20:]"),
}


@pytest.mark.parametrize("form", SLICES)
def test_rows_of_a_data_set_count_in_the_whole_split(hub: Path, form: str) -> None:
    good = [pair for number, pair in enumerate(PAIRS) if number not in DROPPED and number != 60]
    held = [("v" + s, "w" + t) for s, t in good[:20]]
    whole = {"train": PAIRS if "saved" in form else held[:20] + PAIRS + [("z" + s, "y" + t) for s, t in held]}
    if form == "parquet slices":
        as_rows(whole["train"]).to_parquet(str(hub / "a.parquet"))
        place = hub / "a.parquet"
    else:
        whole |= {"validation": held, "test": [("t" + s, "u" + t) for s, t in held]}
        parts = {split: as_rows(pairs) for split, pairs in whole.items()}
        place = hub / "set"
        datasets.DatasetDict(parts).save_to_disk(str(place))
    train, valid, test = SLICES[form]
    name = f"hf:{place}?train={train}&valid={valid}&test={test}"
    made = load_text(name, languages=("de", "en"), meta_size=10, train_size=50)
    seen = 0
    for part in (made.train, made.meta, made.valid, made.test):
        assert part.origins is not None
        assert part.origins.unit == "row"
        for source, target, origin in zip(part.source, part.target, part.origins, strict=True):
            split = origin.file.rpartition("split ")[2]
            assert origin.file == f"hf:{place}, split {split}"
            assert whole[split][(origin.row or 0) - 1] == (source, target)
            seen += 1
    for file, row, _, _, text in made.left_out.rows():
        source, target = whole[file.rpartition("split ")[2]][int(row) - 1]
        assert text == f"{short(source)} ||| {short(target)}"
    asked = {"saved": 120 + 20 + 20, "saved slices": 90 + 10 + 5, "parquet slices": 120 + 40}
    assert seen + len(made.left_out) == asked[form]


def test_made_up_sets_count_their_rows() -> None:
    made = load_text("cldr", train_size=40, meta_size=8, valid_size=8, test_size=8)
    parts = [made.train, made.meta, made.valid, made.test]
    assert all(part.origins is not None and part.origins.files == ("cldr",) for part in parts)
    rows = [origin.row for part in parts for origin in part.places]
    assert sorted(row or 0 for row in rows) == list(range(1, 65))


def test_pairs_without_origins_are_counted() -> None:
    pairs = Bitext(("a", "", "c"), ("A", "B", "C"))
    assert [str(origin) for origin in filter_bitext(pairs).left_out.origins] == ["pairs, row 2"]
    prepared = PreparedText(TextSet("x", ("de", "en"), pairs, *[Bitext((), ())] * 3), None, None)  # type: ignore[arg-type]
    assert isinstance(prepared.origins, Origins)
    assert str(prepared.origins[2]) == "x, row 3"
