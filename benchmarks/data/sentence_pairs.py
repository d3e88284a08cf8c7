"""German and English sentence pairs: Multi30k, Tatoeba, and Tatoeba to train on where Multi30k is trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from metaweight.data.seeding import derive
from metaweight.data.text import (
    Bitext,
    TextRequest,
    TextSet,
    filter_bitext,
    read_bitext,
    read_splits,
    split_by_component,
    texts,
)
from metaweight.data.text.components import without_shared

TATOEBA = "Tatoeba (tatoeba.org) of 2018 through manythings.org/anki, CC BY 2.0 FR"
MULTI30K = "Multi30k, Elliott et al. (2016), no licence stated for its text, non-commercial research"
WMT = "WMT training text, OpenNMT's mix of 10,000 tokenised pairs, no licence stated"


@texts.register("multi30k")
def multi30k(asked: TextRequest) -> TextSet:
    """29,000 captions, German to English; tested on test_2016_flickr."""
    return _with_wmt(asked, _multi30k(asked), clean=True)


@texts.register("tatoeba")
def tatoeba(asked: TextRequest) -> TextSet:
    """163,000 short sentences, German to English, split by component."""
    made = asked.drawn("Tatoeba", _tatoeba_pairs(asked), languages=_languages(asked), source=TATOEBA)
    return _with_wmt(asked, made, clean=True)


@texts.register("tatoeba-mini")
def tatoeba_mini(asked: TextRequest) -> TextSet:
    """12,000 of them with splits of their own, every sentence once."""
    splits = read_splits(_file(asked, "tatoeba-mini14k.de-en.tsv.xz"))
    splits = {split: _oriented(asked, pairs, ("de", "en")) for split, pairs in splits.items()}
    made = asked.with_splits("Tatoeba mini", splits, languages=_languages(asked), source=TATOEBA)
    return _with_wmt(asked, made, clean=True)


@texts.register("mismatch")
def mismatch(asked: TextRequest) -> TextSet:
    """Training pairs of Tatoeba, WMT text as the other domain, everything trusted from Multi30k."""
    trusted = _multi30k(replace(asked, train_size=None))
    filtered = filter_bitext(_tatoeba_pairs(asked))
    apart, shared = without_shared(filtered.bitext, trusted.meta, trusted.valid, trusted.test)
    left_out = filtered.left_out.join(shared)
    if asked.train_size is not None:
        generator = derive(asked.seed, "text", "train")
        parts = split_by_component(apart, {"train": asked.train_size}, generator=generator)
        left_out = left_out.join(asked.not_drawn(apart, parts))
        apart = apart.select(parts["train"])
    mixed = replace(
        trusted,
        name=f"Tatoeba for Multi30k {'-'.join(_languages(asked))}",
        train=apart,
        meta_from_train=False,
        source=f"training: {TATOEBA}; meta, validation and test: {MULTI30K}",
        notes=f"training text: {filtered}; {len(shared)} more share a sentence with meta, validation or test",
        left_out=left_out,
    )
    return _with_wmt(asked, mixed, clean=False)


def _with_wmt(asked: TextRequest, made: TextSet, *, clean: bool) -> TextSet:
    """The set with WMT text as its other domain and, of the source side, as its wrong language."""
    pairs = read_bitext(_file(asked, "opennmt-wmtmix10k.en-de.tok.tsv.xz"))
    pairs = filter_bitext(_oriented(asked, pairs, ("en", "de"))).bitext
    apart, _ = without_shared(pairs, made.meta, made.valid, made.test)
    source = f"{made.source}; other domain: {WMT}"
    return replace(made, clean=clean, foreign=apart.source, out_of_domain=apart, source=source)


def _multi30k(asked: TextRequest) -> TextSet:
    stored = read_splits(_file(asked, "multi30k.de-en.tsv.xz"))
    named = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
    splits = {split: _oriented(asked, stored[name], ("de", "en")) for split, name in named.items()}
    return asked.with_splits("Multi30k", splits, languages=_languages(asked), source=MULTI30K)


def _tatoeba_pairs(asked: TextRequest) -> Bitext:
    pairs = read_bitext(_file(asked, "tatoeba-2018-public.en-de.tsv.xz"))
    return _oriented(asked, pairs, ("en", "de"))


def _file(asked: TextRequest, name: str) -> Path:
    return asked.find(f"nmt/{name}", name)


def _languages(asked: TextRequest) -> tuple[str, str]:
    return asked.languages or ("de", "en")


def _oriented(asked: TextRequest, pairs: Bitext, held: tuple[str, str]) -> Bitext:
    """Pairs of the two languages that a file holds, in the direction that was asked for."""
    languages = _languages(asked)
    if set(languages) != set(held):
        raise ValueError(f"text set {asked.name!r} has the languages de and en, got {', '.join(languages)}")
    return pairs if languages == held else pairs.swapped()
