from __future__ import annotations

import datetime
import re
from decimal import Decimal

import pytest
import torch
from babel import Locale
from babel.dates import format_date

from metaweight.data.text.cldr import WEIGHTS, cldr_text
from metaweight.data.text.cldr_phrases import Draws, compact, enumeration, phrases
from metaweight.data.text.cldr_words import Vocabulary, has_style, measure, name_of

EN, DE, FR, JA = (Locale.parse(name) for name in ("en", "de", "fr", "ja"))


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def text():
    return cldr_text(1200, generator=g(), foreign="fr")


def test_no_sentence_is_in_two_pairs_and_no_pair_is_a_copy(text):
    source, target = text.bitext.source, text.bitext.target
    assert len(text.bitext) == len(set(source)) == len(set(target)) == 1200
    assert len(text.kinds) == len(text.foreign) == 1200
    assert all(s != t for s, t in zip(source, target, strict=True))
    assert all(s and s == " ".join(s.split()) for s in (*source, *target, *text.foreign))


def test_every_kind_is_there_in_about_its_share(text):
    assert set(WEIGHTS) == set(phrases.names()) == set(text.kinds)
    assert text.kinds.count("list") > 150 < text.kinds.count("entry")
    words = sum(len(s.split()) for s in text.bitext.target) / 1200
    assert 3.5 < words < 5


@pytest.mark.parametrize("kind", phrases.names())
def test_the_two_sides_say_the_same_figures(kind):
    """A second reading of the item: digits of amounts, spans and lists must agree between the languages."""
    text = cldr_text(60, generator=g(1), only=(kind,), foreign="fr")
    assert set(text.kinds) == {kind}
    if kind in ("span", "long-span", "unit", "number", "currency", "territory", "list", "language"):
        for sides in zip(text.bitext.source, text.bitext.target, text.foreign, strict=True):
            assert len({re.sub(r"\D", "", side) for side in sides}) == 1, sides


def test_a_full_date_is_the_one_that_the_calendar_has():
    """Against datetime: English and German names of day and month written out by hand."""
    months = [
        *("Januar", "Februar", "März", "April", "Mai", "Juni"),
        *("Juli", "August", "September", "Oktober", "November", "Dezember"),
    ]
    days = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]
    text, seen = cldr_text(600, generator=g(2), only=("date",)), 0
    for source, target in zip(text.bitext.source, text.bitext.target, strict=True):
        if re.fullmatch(r"[A-Z][a-z]+day, [A-Z][a-z]+ \d+, \d{4}", source):
            day = datetime.datetime.strptime(source, "%A, %B %d, %Y")
            assert target == f"{days[day.weekday()]}, {day.day}. {months[day.month - 1]} {day.year}"
            seen += 1
        if found := re.fullmatch(r"(\d+)/(\d+)/(\d\d)", source):
            month, day_of_month, year = map(int, found.groups())
            assert target == f"{day_of_month:02}.{month:02}.{year:02}"
            seen += 1
    assert seen > 50


def test_times_are_the_same_on_both_clocks():
    text = cldr_text(200, generator=g(3), only=("time",))
    seen = 0
    for source, target in zip(text.bitext.source, text.bitext.target, strict=True):
        if re.fullmatch(r"\d+:\d\d [AP]M", source):
            assert datetime.datetime.strptime(source, "%I:%M %p").strftime("%H:%M") == target
            seen += 1
    assert seen > 30


def test_one_source_form_has_one_translation():
    """ "May 5, 2024" is long and medium in English; only the long German form may stand beside it."""
    text = cldr_text(2500, generator=g(4), only=("date",))
    in_may = [
        target
        for source, target in zip(text.bitext.source, text.bitext.target, strict=True)
        if re.fullmatch(r"May \d+, \d{4}", source)
    ]
    assert len(in_may) > 8
    assert all(re.fullmatch(r"\d+\. Mai \d{4}", target) for target in in_may)


def test_the_first_form_that_sounds_alike_is_taken():
    draws = Draws(g(), Vocabulary.shared(EN, DE), EN)
    day = datetime.date(2024, 5, 5)

    def long(*, locale):
        return format_date(day, "long", locale)

    def medium(*, locale):
        return format_date(day, "medium", locale)

    assert {draws.form([long, medium])(locale=DE) for _ in range(20)} == {"5. Mai 2024"}
    assert {draws.form([medium, long])(locale=DE) for _ in range(20)} == {"05.05.2024"}


def test_no_word_of_the_first_language_has_two_translations():
    words = Vocabulary.shared(EN, DE)
    meant: dict[str, set[str]] = {}
    for table in ("territories", "languages", "scripts"):
        for code in getattr(words, table):
            name = name_of(table, code)
            meant.setdefault(name(locale=EN), set()).add(name(locale=DE))
    assert len(meant) > 500
    assert {len(translations) for translations in meant.values()} == {1}


def test_languages_with_gaps_in_babels_data():
    assert measure(4, "volume-cup", locale=JA) == "4 カップ - 米国"  # only the short form is there
    names = [name_of("territories", code) for code in ("FR", "PE", "TD")]
    assert enumeration(names, "or")(locale=DE) == "Frankreich, Peru oder Tschad"
    assert not has_style(Locale("lt"), "unit")
    assert enumeration(names, "unit")(locale=Locale("lt")) == "Prancūzija, Peru ir Čadas"
    assert (
        compact(Decimal("1.2e6"), "long", locale=JA)
        == compact(Decimal("1.2e6"), "short", locale=JA)
        == "120万"
    )


def test_a_language_without_the_short_form_has_the_long_one(monkeypatch):
    def only_long(value, code, length, *, locale):
        return f"{value} {code if length == 'short' else 'Kalorien'}"

    monkeypatch.setattr("metaweight.data.text.cldr_words.units.format_unit", only_long)
    assert measure(2, "energy-foodcalorie", "short", locale=DE) == "2 Kalorien"


@pytest.mark.parametrize("languages", [("de", "en"), ("ja", "ar"), ("pt_BR", "zh-Hant"), ("en", "ln")])
def test_any_two_languages(languages):
    text = cldr_text(300, languages=languages, generator=g(5))
    assert len(set(text.bitext.source)) == len(set(text.bitext.target)) == 300
    bare = re.compile(r"\b(area|length|volume|mass|speed|duration|energy)-[a-z]")
    assert not any(bare.search(s) for s in (*text.bitext.source, *text.bitext.target))


def test_the_generator_decides_and_a_third_language_changes_nothing(text):
    again = cldr_text(1200, generator=g())
    assert again.bitext == text.bitext
    assert again.kinds == text.kinds
    assert again.foreign is None
    assert cldr_text(100, generator=g()).bitext == text.bitext.select(range(100))
    assert cldr_text(100, generator=g(1)).bitext != text.bitext.select(range(100))


def test_the_third_language_says_the_same_items(text):
    """Against a text drawn with that language as the target: the same source has the same sentence."""
    other = cldr_text(1200, languages=("en", "fr"), generator=g())
    french = dict(zip(other.bitext.source, other.bitext.target, strict=True))
    both = [(french[s], f) for s, f in zip(text.bitext.source, text.foreign, strict=True) if s in french]
    assert len(both) > 100
    assert all(expected == given for expected, given in both)


@pytest.mark.slow
def test_a_hundred_thousand_pairs_can_be_had():
    text = cldr_text(100_000, generator=g(6))
    assert len(set(text.bitext.source)) == len(set(text.bitext.target)) == 100_000


def test_an_exhausted_space_is_an_error():
    with pytest.raises(ValueError, match=r"no more than about 1\d\d different pairs of en-de and territory"):
        cldr_text(5000, generator=g(), only=("territory",))


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ({"languages": ("en", "german")}, ValueError, "Did you mean 'de'"),
        ({"languages": ("frr-x", "de")}, ValueError, "Did you mean 'frr"),
        ({"languages": ("en", "")}, ValueError, "no locale ''"),
        ({"languages": ("en", "jbo")}, ValueError, "no territories and no languages"),
        ({"languages": ("de", "de")}, ValueError, "twice"),
        ({"foreign": "en"}, ValueError, "twice"),
        ({"foreign": "q"}, ValueError, "no locale 'q'"),
        ({"only": ("dates",)}, KeyError, "Did you mean 'date'"),
        ({"only": ()}, ValueError, "name some of"),
        ({"size": 0}, ValueError, "at least 1"),
    ],
)
def test_mistakes_are_errors(options, error, hint):
    options = {"size": 3, "generator": g(), **options}
    with pytest.raises(error, match=hint):
        cldr_text(options.pop("size"), **options)
