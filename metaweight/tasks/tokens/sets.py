"""Sentences of labelled tokens by name: what needs no file."""

from __future__ import annotations

from collections.abc import Callable

from babel import Locale

from metaweight.core.registry import Registry
from metaweight.data.rows import of_frame
from metaweight.data.rows.parts import Parts
from metaweight.data.seeding import derive
from metaweight.data.text.cldr_phrases import Draws, phrases
from metaweight.data.text.cldr_words import Vocabulary
from metaweight.data.tokens import Sentence
from metaweight.data.tokens.targets import OUTSIDE

labelled_tokens: Registry[Callable[[], Parts]] = Registry(
    "set of labelled tokens", group="metaweight.labelled_tokens"
)
NAMED = {"date": "DATE", "interval": "DATE", "time": "TIME", "span": "SPAN", "long-span": "SPAN"}
"""Kind of phrase -> what its tokens are called."""
OTHERS = ("number", "currency", "unit", "territory", "language")
"""Kinds whose tokens are part of nothing."""
BETWEEN = (",", ";", "and", "or")
SENTENCES, TESTED, PHRASES = 1_600, 400, 4
"""How many there are; how many of them are test rows; phrases in a sentence at most, 2 at least."""


@labelled_tokens.register("cldr-dates")
def cldr_dates() -> Parts:
    """Dates, times and lengths of time among amounts and names, in English.  The same in every run."""
    import pandas as pd

    english = Locale("en")
    draws = Draws(derive(0, "cldr-dates"), Vocabulary.shared(english, Locale("de")), english)
    made = dict.fromkeys(_sentence(draws, english) for _ in range(SENTENCES))
    frame = pd.DataFrame({"tokens": [row[0] for row in made], "labels": [row[1] for row in made]})
    train, test = (
        of_frame(part.reset_index(drop=True), name)
        for part, name in ((frame[TESTED:], "cldr-dates"), (frame[:TESTED], "cldr-dates, test"))
    )
    note = f"{len(train)} sentences of the Unicode CLDR through Babel, {len(test)} more to test on"
    return Parts("cldr-dates", train, "labels", test=test, clean=True, notes=(note,))


def _sentence(draws: Draws, english: Locale) -> tuple[Sentence, Sentence]:
    """Its tokens and their labels."""
    tokens: list[str] = []
    labels: list[str] = []
    for place in range(2 + draws.below(PHRASES - 1)):
        if place:
            tokens.append(draws.one_of(BETWEEN))
            labels.append(OUTSIDE)
        kind = draws.one_of((*NAMED, *OTHERS))
        words = phrases[kind](draws)(locale=english).replace(", ", " , ").split()
        tokens += words
        named = NAMED.get(kind)
        rest = [f"I-{named}"] * (len(words) - 1)
        labels += [f"B-{named}", *rest] if named is not None else [OUTSIDE] * len(words)
    return Sentence(tokens), Sentence(labels)
