"""Kinds of phrases out of CLDR: each draws one item and says how it is put in any language."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Literal, TypeVar

import torch
from babel import Locale, dates, lists, numbers

from metaweight.core.registry import Registry
from metaweight.data.text.cldr_words import Phrase, Style, Vocabulary, has_style, measure, name_of

Part = Literal["year", "month", "week", "day", "hour", "minute", "second"]
CENTURY = datetime.datetime(1950, 1, 1)
"""Moments are drawn from the hundred years that begin here."""
LENGTHS = ("full", "long", "medium", "short")
DATES = ("yMMMEd", "yMMMM", "yMMM", "MMMMd", "MMMEd", "MMMd", "yQQQQ", "yMEd", "yw", "MMMMW")
"""CLDR skeletons: y year, M month (MMM short, MMMM long), d day, E weekday, Q quarter, w and W week."""
DAY_SPANS = ("yMMMd", "MMMd", "MMMEd")
MONTH_SPANS = ("yMMMM", "yMMM")
MAJOR = ("USD", "EUR", "GBP", "JPY", "CHF", "CNY", "INR", "KRW", "BRL", "CAD", "AUD", "MXN")
"""Currencies that are also written with their sign."""
PARTS: tuple[Part, ...] = ("year", "month", "week", "day", "hour", "minute", "second")
PART_SECONDS = (31_536_000, 2_592_000, 604_800, 86_400, 3_600, 60, 1)
PART_COUNTS = (99, 11, 4, 6, 23, 59, 59)
"""The most of a part that no larger part says."""
BLOCK = 4096
T = TypeVar("T")


class Draws:
    """Random choices out of a generator and out of what two languages have words for."""

    def __init__(self, generator: torch.Generator, words: Vocabulary, source: Locale) -> None:
        self.generator, self.words, self.source = generator, words, source
        self._numbers: list[float] = []

    def below(self, size: int) -> int:
        """One of 0..size-1."""
        if not self._numbers:  # a block at a time: one draw by torch costs more than a phrase
            block = torch.rand(
                BLOCK, generator=self.generator, device=self.generator.device, dtype=torch.float64
            )
            self._numbers = block.tolist()
        return int(self._numbers.pop() * size)

    def one_of(self, choices: Sequence[T]) -> T:
        """One of ``choices``."""
        return choices[self.below(len(choices))]

    def some_of(self, choices: Sequence[T], count: int) -> list[T]:
        """``count`` different ones, or all if there are fewer."""
        left = list(choices)
        return [left.pop(self.below(len(left))) for _ in range(min(count, len(left)))]

    def form(self, forms: Sequence[Phrase]) -> Phrase:
        """One of several ways to say an item; of those that the source language says alike, the first.

        "May 5, 2024" is long and medium in English, but two things in German.
        """
        text = self.one_of(forms)(locale=self.source)
        return next(form for form in forms if form(locale=self.source) == text)

    def moment(self) -> datetime.datetime:
        """A minute and second of a hundred years."""
        return CENTURY + datetime.timedelta(days=self.below(36525), seconds=self.below(86400))


Kind = Callable[[Draws], Phrase]
phrases: Registry[Kind] = Registry("kind of CLDR phrase")


@phrases.register("date")
def date(draws: Draws) -> Phrase:
    """A day, week, month or quarter in one of fourteen forms: Tue, Mar 5, 2024."""
    moment = draws.moment()
    forms: list[Phrase] = [partial(dates.format_date, moment, length) for length in LENGTHS]
    usable = [skeleton for skeleton in DATES if skeleton in draws.words.skeletons]
    return draws.form([*forms, *(partial(dates.format_skeleton, skeleton, moment) for skeleton in usable)])


@phrases.register("time")
def time(draws: Draws) -> Phrase:
    """A time of day: 2:30 PM, 2:30:15 PM, 2:30 in the afternoon."""
    moment = draws.moment()
    forms: list[Phrase] = [partial(dates.format_time, moment, length) for length in ("short", "medium")]
    usable = [skeleton for skeleton in ("Bhm", "EBhm") if skeleton in draws.words.skeletons]
    return draws.form([*forms, *(partial(dates.format_skeleton, skeleton, moment) for skeleton in usable)])


@phrases.register("moment")
def date_and_time(draws: Draws) -> Phrase:
    """A date with its time: Mar 5, 2024, 2:30 PM."""
    moment = draws.moment()
    return draws.form([partial(dates.format_datetime, moment, length) for length in ("medium", "short")])


@phrases.register("span")
def time_span(draws: Draws) -> Phrase:
    """A length of time, or how long ago or ahead it is: in 3 days, 5 hr."""
    part = draws.below(len(PARTS))
    seconds = PART_SECONDS[part] * (1 + draws.below(PART_COUNTS[part]))
    past, future = datetime.timedelta(seconds=-seconds), datetime.timedelta(seconds=seconds)
    said = partial(dates.format_timedelta, granularity=PARTS[part], threshold=1)
    return draws.form(
        [
            partial(said, past, add_direction=True),
            partial(said, future, add_direction=True),
            partial(said, future),
            partial(said, future, format="short"),
        ]
    )


@phrases.register("long-span")
def long_time_span(draws: Draws) -> Phrase:
    """A length of time in two or three parts: 3 days, 4 hours, and 12 minutes."""
    first, count = draws.below(len(PARTS) - 2), 2 + draws.below(2)
    said: list[Phrase] = [
        partial(measure, 1 + draws.below(PART_COUNTS[part]), f"duration-{PARTS[part]}")
        for part in range(first, first + count)
    ]
    return enumeration(said, "standard")


@phrases.register("interval")
def interval(draws: Draws) -> Phrase:
    """From one day or month to another, at most 200 days later: Mar 5 - Apr 4, 2024."""
    start = draws.moment()
    end = start + datetime.timedelta(days=1 + draws.below(200))
    one_month = (start.year, start.month) == (end.year, end.month)
    spans = DAY_SPANS if one_month else (*DAY_SPANS, *MONTH_SPANS)
    return draws.form([partial(dates.format_interval, start, end, skeleton) for skeleton in spans])


def amount(draws: Draws, digits: int) -> Decimal:
    """A number of one to ``digits`` digits, with up to two of them after the point."""
    whole = draws.below(10 ** (1 + draws.below(digits)))
    return Decimal(whole).scaleb(-draws.below(3))


def compact(value: Decimal, length: Literal["long", "short"], *, locale: Locale) -> str:
    """A large number with a word for its power; a language without long words has its short ones."""
    known = length if length in locale.compact_decimal_formats else "short"
    return numbers.format_compact_decimal(value, format_type=known, fraction_digits=1, locale=locale)


@phrases.register("number")
def number(draws: Draws) -> Phrase:
    """A number in figures, in per cent or in words for large powers: 1,234.5, 12%, 1.2 million."""
    value = amount(draws, 7)
    large = Decimal(10 + draws.below(9990)).scaleb(draws.one_of((5, 8, 11)))
    return draws.form(
        [
            partial(numbers.format_decimal, value),
            partial(numbers.format_percent, amount(draws, 4) / 100, decimal_quantization=False),
            partial(compact, large, "long"),
            partial(compact, large, "short"),
        ]
    )


@phrases.register("currency")
def currency(draws: Draws) -> Phrase:
    """A sum of money, by name or with the sign: 1,234.50 euros, $3.20, EUR 1.2M."""
    code, major = draws.one_of(draws.words.currencies), draws.one_of(MAJOR)
    large = Decimal(10 + draws.below(9990)).scaleb(draws.one_of((5, 8)))
    value = amount(draws, 6)
    return draws.form(
        [
            partial(numbers.format_currency, value, code, format_type="name"),
            partial(numbers.format_currency, value, major, format_type="name"),
            partial(numbers.format_currency, value, major),
            partial(numbers.format_compact_currency, large, major, fraction_digits=1),
        ]
    )


@phrases.register("unit")
def unit(draws: Draws) -> Phrase:
    """A measure, its unit in full or abbreviated: 5 kilometers, 5 km."""
    value, code = amount(draws, 5), draws.one_of(draws.words.measures)
    return draws.form([partial(measure, value, code, length) for length in ("long", "long", "short")])


@phrases.register("territory")
def territory(draws: Draws) -> Phrase:
    """A country or another part of the world."""
    return name_of("territories", draws.one_of(draws.words.territories))


@phrases.register("language")
def language(draws: Draws) -> Phrase:
    """A language, often as it is spoken or written somewhere: German, German (Austria), Serbian (Latin)."""
    name = name_of("languages", draws.one_of(draws.words.languages))
    tables = ("", "territories", "scripts") if draws.words.scripts else ("", "territories")
    table = draws.one_of(tables)
    if not table:
        return name
    where = name_of(table, draws.one_of(getattr(draws.words, table)))
    brackets = str.maketrans("()", "[]")  # as CLDR puts a name with brackets inside others

    def both(*, locale: Locale) -> str:
        return f"{name(locale=locale)} ({where(locale=locale).translate(brackets)})"

    return both


def enumeration(items: Sequence[Phrase], style: Style) -> Phrase:
    """The items as a list in one of CLDR's styles; a language that lacks it has the standard one."""

    def said(*, locale: Locale) -> str:
        known = style if has_style(locale, style) else "standard"
        return lists.format_list([item(locale=locale) for item in items], known, locale)

    return said


@phrases.register("list")
def listed(draws: Draws) -> Phrase:
    """Two to four territories or languages, or two measures, sums or numbers: Chad, Peru, or Malta."""
    style = draws.one_of(draws.words.styles)
    if draws.below(3):
        table = draws.one_of(("territories", "languages"))
        codes = draws.some_of(getattr(draws.words, table), 2 + draws.below(3))
        return enumeration([name_of(table, code) for code in codes], style)
    kind = draws.one_of((unit, currency, number))
    return enumeration([kind(draws), kind(draws)], style)


@phrases.register("entry")
def entry(draws: Draws) -> Phrase:
    """An amount, a time or a list under a heading: Norway: 12 kilometers."""
    head = draws.one_of((territory, date))(draws)
    body = draws.one_of((unit, currency, number, time, long_time_span, listed))(draws)
    return lambda *, locale: f"{head(locale=locale)}: {body(locale=locale)}"
