"""A bitext with no download: CLDR items, said in two languages by rule."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from babel import Locale, UnknownLocaleError
from babel.localedata import locale_identifiers

from metaweight.core.plain_text import is_empty, same
from metaweight.data.origins import Origins
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.cldr_phrases import Draws, phrases
from metaweight.data.text.cldr_words import Vocabulary

WEIGHTS: Mapping[str, int] = MappingProxyType(
    {
        "date": 2,
        "time": 1,
        "moment": 1,
        "span": 1,
        "long-span": 2,
        "interval": 2,
        "number": 1,
        "currency": 2,
        "unit": 2,
        "territory": 1,
        "language": 2,
        "list": 6,
        "entry": 7,
    }
)
"""How often each kind of phrase is drawn; one that is not named here, once."""
PATIENCE = 10_000
"""Draws in a row without a new pair, after which there are taken to be no more."""
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})
"""CLDR's spaces that do not break or are narrow, as plain ones."""


@dataclass(frozen=True)
class CldrText:
    """Rule-made sentence pairs."""

    bitext: Bitext
    """N pairs, in the order of their origins, row 1 and on; every source and every target occurs once."""
    foreign: tuple[str, ...] | None
    """The N sentences in the third language, if one was asked for."""
    kinds: tuple[str, ...]
    """What each pair is: a name of ``phrases``."""


def cldr_text(
    size: int,
    *,
    languages: tuple[str, str] = ("en", "de"),
    generator: torch.Generator,
    foreign: str | None = None,
    only: Sequence[str] | None = None,
) -> CldrText:
    """Draw ``size`` rule-made pairs: dates, spans, numbers, money, measures, names, lists and mixes of them.

    No sentence is natural text: Babel's copy of the Unicode CLDR says the same item in both ``languages``
    (any two locales of Babel: "en", "pt_BR", "zh-Hant"), in the same form, so that one source form has one
    translation.  Pairs whose sides are equal are left out.  ``foreign`` adds the sentence of each pair in a
    third language and changes nothing else; ``only`` keeps to some kinds (``phrases.names()``).
    Raises ValueError for an unknown locale (with the nearest), for the same one twice, and where there are
    not ``size`` different pairs; KeyError for an unknown kind.
    """
    if size < 1:
        raise ValueError(f"a text has at least 1 pair, got size {size}")
    first, second = (_locale(name) for name in languages)
    third = None if foreign is None else _locale(foreign)
    if len({first, second, third}) < 3:
        raise ValueError(f"languages {languages} and foreign {foreign!r} name one twice; give different ones")
    names = list(phrases.names() if only is None else only)
    makers = [phrases[name] for name in names for _ in range(WEIGHTS.get(name, 1))]
    labels = [name for name in names for _ in range(WEIGHTS.get(name, 1))]
    if not makers:
        raise ValueError(f"only=() leaves no kind of phrase; name some of {', '.join(phrases.names())}")
    draws = Draws(generator, Vocabulary.shared(first, second), first)
    sources: dict[str, None] = {}
    targets: dict[str, None] = {}
    abroad: list[str] = []
    kinds: list[str] = []
    idle = 0
    while len(kinds) < size:
        maker = draws.below(len(makers))
        phrase = makers[maker](draws)
        source, target = (phrase(locale=locale).translate(SPACES) for locale in (first, second))
        repeated = source in sources or target in targets
        if repeated or same(source, target) or is_empty(source) or is_empty(target):
            if (idle := idle + 1) == PATIENCE:
                raise ValueError(
                    f"there are no more than about {len(kinds)} different pairs of {'-'.join(languages)} and "
                    f"{', '.join(names)}; {size} were asked for: lower the size or allow more kinds"
                )
            continue
        idle = 0
        sources[source] = targets[target] = None
        kinds.append(labels[maker])
        if third is not None:
            abroad.append(phrase(locale=third).translate(SPACES))
    return CldrText(
        bitext=Bitext(tuple(sources), tuple(targets), Origins.of("cldr", range(1, len(kinds) + 1))),
        foreign=None if third is None else tuple(abroad),
        kinds=tuple(kinds),
    )


def _locale(name: str) -> Locale:
    """The locale that ``name`` (``de``, ``pt_BR``, ``pt-BR``) means."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        codes = {text.lower(): text for text in locale_identifiers()}
        codes |= {text.lower(): code for code, text in Locale("en").languages.items() if code in codes}
        near = difflib.get_close_matches(name.lower().replace("-", "_"), codes, n=1, cutoff=0.5)
        hint = f" Did you mean {codes[near[0]]!r}?" if near else ""
        raise ValueError(
            f"Babel knows no locale {name!r}.{hint} `pybabel --list-locales` lists all"
        ) from error
