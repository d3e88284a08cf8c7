"""Labelled texts by name: what needs no file."""

from __future__ import annotations

from collections.abc import Callable

import torch

from metaweight.core.registry import Registry
from metaweight.data.rows import of_frame
from metaweight.data.rows.parts import Parts
from metaweight.data.seeding import derive
from metaweight.data.text.cldr import cldr_text

labelled_texts: Registry[Callable[[], Parts]] = Registry(
    "labelled text set", group="metaweight.labelled_texts"
)
LANGUAGES = (("en", "de"), ("fr", "es"), ("it", "nl"))
KINDS = ("date", "span", "long-span", "unit", "currency", "list", "language")
"""Kinds of phrases of which most have a word that is not the same in all languages."""
EACH, TESTED = 400, 0.25
"""Texts of a language; share of them that are test rows."""


@labelled_texts.register("cldr-languages")
def cldr_languages() -> Parts:
    """Dates, measures and names in six languages; the label is the language.  The same in every run."""
    import pandas as pd

    said: dict[str, set[str]] = {}
    for pair in LANGUAGES:
        text = cldr_text(EACH, languages=pair, only=KINDS, generator=derive(0, "cldr-languages", *pair))
        for language, sentences in zip(pair, (text.bitext.source, text.bitext.target), strict=True):
            for sentence in sentences:
                said.setdefault(sentence, set()).add(language)
    rows = [(text, next(iter(languages))) for text, languages in said.items() if len(languages) == 1]
    order = torch.randperm(len(rows), generator=derive(0, "cldr-languages", "order")).tolist()
    frame = pd.DataFrame([rows[place] for place in order], columns=["text", "language"])
    cut = round(TESTED * len(frame))
    train, test = (
        of_frame(part.reset_index(drop=True), name)
        for part, name in ((frame[cut:], "cldr-languages"), (frame[:cut], "cldr-languages, test"))
    )
    note = f"{len(train)} phrases of the Unicode CLDR through Babel, {len(test)} more to test on"
    return Parts("cldr-languages", train, "language", test=test, clean=True, notes=(note,))
