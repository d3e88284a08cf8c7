"""What two languages both have words for in CLDR, and a phrase: one item that is said in any language."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Literal, Protocol

from babel import Locale, numbers, units

Style = Literal["standard", "or", "unit"]
STYLES: tuple[Style, ...] = ("standard", "or", "unit")
"""Of lists: a, b, and c; a, b, or c; a, b, c."""
MEASURES = (
    "area",
    "length",
    "volume",
    "mass",
    "speed",
    "temperature",
    "energy",
    "power",
    "digital",
    "pressure",
)
"""CLDR's families of units that are drawn from."""

PLURALS = (1, 2, 5, 20, Decimal("0.5"))
"""Numbers that between them need every plural form."""


class Phrase(Protocol):
    """One item, said in a locale."""

    def __call__(self, *, locale: Locale) -> str: ...


@dataclass(frozen=True)
class Vocabulary:
    """What both languages have words for; no word of the first has two translations."""

    territories: tuple[str, ...]
    languages: tuple[str, ...]
    scripts: tuple[str, ...]
    currencies: tuple[str, ...]
    measures: tuple[str, ...]
    skeletons: frozenset[str]
    styles: tuple[Style, ...]

    @classmethod
    def shared(cls, first: Locale, second: Locale) -> Vocabulary:
        """Of two locales; scripts may be missing.  Raises ValueError where anything else is."""
        said: dict[str, str] = {}

        def clear(codes: Iterable[str], phrase: Callable[[str], Phrase]) -> tuple[str, ...]:
            """The codes whose word in the first language means one thing in the second."""
            pairs = ((code, phrase(code)(locale=first), phrase(code)(locale=second)) for code in codes)
            return tuple(code for code, here, there in pairs if said.setdefault(here, there) == there)

        def known(table: str) -> list[str]:
            return sorted(set(getattr(first, table)) & set(getattr(second, table)))

        def is_measured(code: str) -> bool:
            """Whether both languages know the unit in all their plural forms, of fractions too."""
            said = (measure(n, code, locale=locale) for locale in (first, second) for n in PLURALS)
            return not any(code in text for text in said)

        words = cls(
            # codes such as ZZ and XA stand for no place
            territories=clear(
                (c for c in known("territories") if c[0] not in "XZ"), partial(name_of, "territories")
            ),
            languages=clear((c for c in known("languages") if len(c) == 2), partial(name_of, "languages")),
            scripts=clear((c for c in known("scripts") if c[0] != "Z"), partial(name_of, "scripts")),
            # historic currencies carry their years in brackets
            currencies=clear(
                (c for c in known("currencies") if "(" not in first.currencies[c] + second.currencies[c]),
                lambda code: partial(numbers.format_currency, 5, code, format_type="name"),
            ),
            measures=clear(
                (c for c in known("unit_display_names") if c.startswith(MEASURES) and is_measured(c)),
                lambda code: partial(measure, 5, code),
            ),
            skeletons=frozenset(first.datetime_skeletons) & frozenset(second.datetime_skeletons),
            styles=tuple(s for s in STYLES if has_style(first, s) and has_style(second, s)),
        )
        needed = ("territories", "languages", "currencies", "measures", "styles")
        if lacking := [name for name in needed if not getattr(words, name)]:
            raise ValueError(
                f"Babel has no {' and no '.join(lacking)} that {first} and {second} both name; choose "
                "languages with fuller CLDR data"
            )
        return words


def has_style(locale: Locale, style: Style) -> bool:
    """Whether Babel knows all of a list's style in the locale."""
    return {"2", "start", "middle", "end"} <= set(locale.list_patterns.get(style, ()))


def measure(
    value: Decimal | int, code: str, length: Literal["long", "short"] = "long", *, locale: Locale
) -> str:
    """A value with its unit; a language that lacks one of the two lengths has the other.

    Where Babel has no form at all it writes the bare ``code``.
    """
    lengths: tuple[Literal["long", "short", "narrow"], ...] = (length, "short", "long", "narrow")
    texts = (units.format_unit(value, code, known, locale=locale) for known in lengths)
    return next((text for text in texts if code not in text), f"{value} {code}")


def name_of(table: str, code: str) -> Phrase:
    """The name that a ``table`` of the locale (territories, languages, scripts) has for ``code``."""

    def name(*, locale: Locale) -> str:
        return str(getattr(locale, table).get(code, code))  # a foreign language may lack it

    return name
