"""The text sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from metaweight.core.registry import Registry, did_you_mean
from metaweight.data.files import data_folder, find_file
from metaweight.data.hub import parse_options
from metaweight.data.seeding import derive
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.cldr import cldr_text
from metaweight.data.text.components import split_by_component, without_shared
from metaweight.data.text.files import read_bitext, read_splits
from metaweight.data.text.filtering import filter_bitext
from metaweight.data.text.hub_text import load_hub_text
from metaweight.data.text.text_set import TextSet

TRAIN_SIZE = 10_000
"""Training pairs of ``cldr``, which has no end, where no number is asked for."""
HELD_OUT = 1_000
"""Pairs to validate and to test where a set has no such splits and no number is asked for."""
TATOEBA = "Tatoeba (tatoeba.org) of 2018 through manythings.org/anki, CC BY 2.0 FR"
MULTI30K = "Multi30k, Elliott et al. (2016), no licence stated for its text, non-commercial research"
WMT = "WMT training text, OpenNMT's mix of 10,000 tokenised pairs, no licence stated"


@dataclass(frozen=True)
class TextRequest:
    """What ``load_text`` was asked for; None leaves a choice to the set."""

    name: str
    folder: Path | None
    """Of the data files, where one is named."""
    languages: tuple[str, str] | None
    train_size: int | None
    meta_size: int
    valid_size: int | None
    test_size: int | None
    seed: int


texts: Registry[Callable[[TextRequest], TextSet]] = Registry("text set")
"""Name -> loader."""


def load_text(
    name: str,
    *,
    data_dir: str | Path | None = None,
    train_size: int | None = None,
    meta_size: int = 500,
    valid_size: int | None = None,
    test_size: int | None = None,
    languages: tuple[str, str] | None = None,
    seed: int = 0,
) -> TextSet:
    """The text set ``name``: one of ``texts``, ``tsv:PATH[?source=COLUMN&target=COLUMN]``, or ``hf:NAME``.

    ``tsv:`` reads any table (see ``read_bitext``), ``hf:`` a set of the hub (see ``load_hub_text``).  A set
    with a validation and a test split of its own keeps them whole or, where a size is given, their first
    pairs, and draws the meta set out of its training split; another is split at random from ``seed``.  A size
    left None is all there is to train on (10,000 pairs of ``cldr``), 1,000 to validate, 1,000 to test.
    Training pairs that are empty, too long, lopsided or share a sentence with another part are dropped and
    counted in ``TextSet.notes``.  ``languages``: source and target, by default German to English, for
    ``cldr`` English to German, for ``tsv:`` just a label.  ``data_dir``: folder of the data files, by default
    what METAWEIGHT_DATA names.  Raises KeyError for an unknown name, ValueError for sizes or languages that a
    set does not have and for missing or broken files.
    """
    sizes = {"train": train_size, "meta": meta_size, "valid": valid_size, "test": test_size}
    for part, size in sizes.items():
        least = int(part == "train")
        if size is not None and size < least:
            raise ValueError(f"{part}_size is at least {least}, got {size}")
    if languages is not None and (len(languages) != 2 or languages[0] == languages[1]):
        raise ValueError(f"languages are two, source and target, and differ; got {languages!r}")
    prefix, colon, _ = name.partition(":")
    if not (colon and prefix in _PREFIXES) and name not in texts:
        asked = f"{prefix}:PATH" if colon else name  # a path would drown the nearest prefix
        known = (*texts.names(), "tsv:PATH", "hf:NAME")
        raise KeyError(f"unknown text set {name!r}.{did_you_mean(asked, known)}")
    loader = _PREFIXES[prefix] if colon else texts[name]
    folder = None if colon or name == "cldr" else data_folder(data_dir)
    return loader(TextRequest(name, folder, languages, train_size, meta_size, valid_size, test_size, seed))


@texts.register("cldr")
def _cldr(asked: TextRequest) -> TextSet:
    languages = asked.languages or ("en", "de")
    sizes = _sizes(asked, train=TRAIN_SIZE if asked.train_size is None else asked.train_size)
    spoken = {language.replace("-", "_").partition("_")[0] for language in languages}
    corpus = cldr_text(
        sum(size for size in sizes.values() if size is not None),
        languages=languages,
        foreign=next(language for language in ("fr", "es", "it") if language not in spoken),
        generator=derive(asked.seed, "text", "cldr"),
    )
    parts = split_by_component(corpus.bitext, sizes, generator=derive(asked.seed, "text", "split"))
    foreign = corpus.foreign
    return TextSet(
        f"CLDR {'-'.join(languages)}",
        languages,
        train=corpus.bitext.select(parts["train"]),
        meta=corpus.bitext.select(parts["meta"]),
        valid=corpus.bitext.select(parts["valid"]),
        test=corpus.bitext.select(parts["test"]),
        foreign=None if foreign is None else tuple(foreign[pair] for pair in parts["train"].tolist()),
        foreign_aligned=foreign is not None,
        source="Unicode CLDR through Babel, sentences made by rule; Unicode License, BSD",
    )


@texts.register("multi30k")
def _multi30k(asked: TextRequest) -> TextSet:
    return _with_wmt(asked, _own_splits(asked, "Multi30k", _multi30k_splits(asked), MULTI30K))


@texts.register("tatoeba")
def _tatoeba(asked: TextRequest) -> TextSet:
    return _with_wmt(asked, _drawn(asked, "Tatoeba", _tatoeba_pairs(asked), TATOEBA))


@texts.register("tatoeba-mini")
def _tatoeba_mini(asked: TextRequest) -> TextSet:
    splits = read_splits(_nmt_file(asked, "tatoeba-mini14k.de-en.tsv.xz"))
    splits = {split: _oriented(asked, pairs, ("de", "en")) for split, pairs in splits.items()}
    return _with_wmt(asked, _own_splits(asked, "Tatoeba mini", splits, TATOEBA))


@texts.register("mismatch")
def _mismatch(asked: TextRequest) -> TextSet:
    """Training pairs of Tatoeba, WMT text as the other domain, everything trusted from Multi30k."""
    trusted = _own_splits(replace(asked, train_size=None), "Multi30k", _multi30k_splits(asked), MULTI30K)
    filtered = filter_bitext(_tatoeba_pairs(asked))
    apart, shared = without_shared(filtered.bitext, trusted.meta, trusted.valid, trusted.test)
    if asked.train_size is not None:
        generator = derive(asked.seed, "text", "train")
        apart = apart.select(
            split_by_component(apart, {"train": asked.train_size}, generator=generator)["train"]
        )
    mixed = replace(
        trusted,
        name=f"Tatoeba for Multi30k {'-'.join(_languages(asked))}",
        train=apart,
        source=f"training: {TATOEBA}; meta, validation and test: {MULTI30K}",
        notes=f"training text: {filtered}; {shared} more share a sentence with meta, validation or test",
    )
    return _with_wmt(asked, mixed)


def _table(asked: TextRequest) -> TextSet:
    path, _, query = asked.name.removeprefix("tsv:").partition("?")
    example = "write tsv:PATH[?source=COLUMN&target=COLUMN]"
    options = parse_options(asked.name, query, ("source", "target"), example=example)
    if len(options) == 1 or not path:
        raise ValueError(f"{asked.name!r} names {'one column' if path else 'no file'}; {example}")
    columns = (options["source"], options["target"]) if options else None
    pairs = read_bitext(Path(path).expanduser(), columns=columns)
    labelled = replace(asked, languages=asked.languages or columns or ("source", "target"))
    return _drawn(labelled, Path(path).name, pairs, path)


def _hub(asked: TextRequest) -> TextSet:
    splits = load_hub_text(asked.name, asked.languages)
    labelled = replace(asked, languages=asked.languages or ("source", "target"))
    return _own_splits(labelled, asked.name, splits, f"Hugging Face datasets: {asked.name}")


_PREFIXES: dict[str, Callable[[TextRequest], TextSet]] = {"tsv": _table, "hf": _hub}


def _drawn(asked: TextRequest, name: str, pairs: Bitext, source: str) -> TextSet:
    """A set without splits: all parts are drawn at random, whole components each."""
    filtered = filter_bitext(pairs)
    generator = derive(asked.seed, "text", "split")
    parts = split_by_component(filtered.bitext, _sizes(asked, train=asked.train_size), generator=generator)
    languages = _languages(asked)
    return TextSet(
        f"{name} {'-'.join(languages)}",
        languages,
        train=filtered.bitext.select(parts["train"]),
        meta=filtered.bitext.select(parts["meta"]),
        valid=filtered.bitext.select(parts["valid"]),
        test=filtered.bitext.select(parts["test"]),
        source=source,
        notes=f"all text: {filtered}",
    )


def _own_splits(asked: TextRequest, name: str, splits: dict[str, Bitext], source: str) -> TextSet:
    """A set with the splits train, valid and test: only the meta set is drawn, out of the training split."""
    filtered = filter_bitext(splits["train"])
    apart, shared = without_shared(filtered.bitext, splits["valid"], splits["test"])
    sizes = {"meta": asked.meta_size, "train": asked.train_size}
    parts = split_by_component(apart, sizes, generator=derive(asked.seed, "text", "split"))
    languages = _languages(asked)
    return TextSet(
        f"{name} {'-'.join(languages)}",
        languages,
        train=apart.select(parts["train"]),
        meta=apart.select(parts["meta"]),
        valid=_first(splits["valid"], asked.valid_size, "valid"),
        test=_first(splits["test"], asked.test_size, "test"),
        source=source,
        notes=f"training split: {filtered}; {shared} more share a sentence with validation or test",
    )


def _with_wmt(asked: TextRequest, made: TextSet) -> TextSet:
    """The set with WMT text as its other domain and, of the source side, as its wrong language."""
    pairs = read_bitext(_nmt_file(asked, "opennmt-wmtmix10k.en-de.tok.tsv.xz"))
    pairs = filter_bitext(_oriented(asked, pairs, ("en", "de"))).bitext
    apart, _ = without_shared(pairs, made.meta, made.valid, made.test)
    source = f"{made.source}; other domain: {WMT}"
    return replace(made, foreign=apart.source, out_of_domain=apart, source=source)


def _multi30k_splits(asked: TextRequest) -> dict[str, Bitext]:
    found = read_splits(_nmt_file(asked, "multi30k.de-en.tsv.xz"))
    named = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
    return {split: _oriented(asked, found[name], ("de", "en")) for split, name in named.items()}


def _tatoeba_pairs(asked: TextRequest) -> Bitext:
    pairs = read_bitext(_nmt_file(asked, "tatoeba-2018-public.en-de.tsv.xz"))
    return _oriented(asked, pairs, ("en", "de"))


def _nmt_file(asked: TextRequest, name: str) -> Path:
    folders = [] if asked.folder is None else [asked.folder / "nmt", asked.folder]
    hint = "; other pairs come as tsv:PATH or hf:NAME, and cldr needs no file"
    return find_file([name], folders, dataset=asked.name, hint=hint)


def _languages(asked: TextRequest) -> tuple[str, str]:
    return asked.languages or ("de", "en")


def _oriented(asked: TextRequest, pairs: Bitext, held: tuple[str, str]) -> Bitext:
    """Pairs of the two languages that a file holds, in the direction that was asked for."""
    languages = _languages(asked)
    if set(languages) != set(held):
        raise ValueError(f"text set {asked.name!r} has the languages de and en, got {', '.join(languages)}")
    return pairs if languages == held else Bitext(pairs.target, pairs.source)


def _sizes(asked: TextRequest, *, train: int | None) -> dict[str, int | None]:
    """Sizes of all parts, to be drawn in this order."""
    test, valid = (HELD_OUT if size is None else size for size in (asked.test_size, asked.valid_size))
    return {"test": test, "valid": valid, "meta": asked.meta_size, "train": train}


def _first(pairs: Bitext, size: int | None, split: str) -> Bitext:
    if size is not None and size > len(pairs):
        raise ValueError(f"{split}_size is at most {len(pairs)}, all pairs of the split, got {size}")
    return pairs.select(range(len(pairs) if size is None else size))
