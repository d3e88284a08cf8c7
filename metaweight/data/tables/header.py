"""Whether the first record of a table names its columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from statistics import median

_ROLES = """
source src target tgt trg reference ref hypothesis hyp translation text sentence sentence1 sentence2 premise
question answer context title tokens words tags ner_tags pos_tags label labels class category split set id idx
index key score weight mean_weight weights given_label suggested_label flipped kind reason lang language
source_lang target_lang file filename file_name image path row line name
"""
_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el
en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu
ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na
nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so
sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
deu ger eng fra fre spa ita por nld pol rus ukr ces tur ara zho jpn kor
"""
_LANGUAGES = """
english german french spanish italian portuguese dutch polish russian ukrainian czech turkish arabic chinese
japanese korean hindi swedish danish norwegian finnish greek hungarian romanian deutsch englisch
"""
ROLES = frozenset(_ROLES.split())
"""What columns are called, in small letters."""
LANGUAGES = frozenset((_CODES + _LANGUAGES).split())
"""Codes of languages, those of ISO 639-1 and some of three letters, and names in English."""
_REGION = re.compile(r"([a-z]{2,3})[-_][a-z0-9]{2,4}")
_SCRIPT = re.compile(r"[a-z]{3}_[a-z]{4}")
ROWS = 100
"""Records below that are looked at."""
SENTENCE = 8
"""Characters of their median field, from which the name of a language above them is a header."""


def is_header(first: Sequence[str], others: Iterable[Sequence[str]]) -> bool:
    """Whether ``first`` names the columns of the records that follow.

    It does where its fields differ and each is called like a column (``source``, ``src``, ``text``,
    ``label``, ``id`` and so on, whatever the case; the first may be empty, as that of pandas' index is), or
    like a language (``en``, ``pt-BR``, ``German``).  Names of languages alone count only above sentences: the
    median of the fields in the next 100 records has 8 characters or more.  A sentence is never a header.
    """
    names = [name.strip().casefold() for name in first]
    if len(set(names)) < len(names) or not any(names):
        return False
    called = [name for name in (names if names[0] else names[1:]) if name not in ROLES]
    if not all(map(_is_language, called)):
        return False
    if len(called) < len([name for name in names if name]):
        return True
    lengths = [len(field) for field in chain.from_iterable(islice(others, ROWS))]
    return bool(lengths) and median(lengths) >= SENTENCE


def _is_language(name: str) -> bool:
    region = _REGION.fullmatch(name)
    return (name if region is None else region[1]) in LANGUAGES or _SCRIPT.fullmatch(name) is not None
