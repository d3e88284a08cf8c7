"""The words of the page that not everybody knows, each in a sentence, and where they are explained."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from metaweight.core.shown import shown

GLOSSARY = {
    "weight": "How much a training row counts: 1 is an ordinary row, 0 left out; the mean after the warm-up.",
    "teacher": "What gives the weights: it looks at the student and learns from the trusted rows.",
    "student": "The model that is trained on the weighted rows.",
    "plain training": "Training the same student on the same rows without weights: each counts as 1.",
    "arm": "What is compared with others: a teacher, a remedy, a loss, or plain training.",
    "trusted rows": "Rows whose labels somebody has checked; nothing else says what is right.",
    "suspect": "A row whose weight lies below the cut-off: its label is probably wrong.",
    "cut-off": "The weight that parts suspects from other rows: from probes where there are some, else where "
    "the weights fall into two groups.",
    "probe": "A trusted row planted among the training rows, half with a wrong label, to test the weights.",
    "AUROC": "How often, of a right and a wrong row drawn at random, the right one weighs more; 0.5: chance.",
    "influence": "What a little more weight of a row, in all its visits, does to a loss at the end: positive "
    "says that the row does harm.",
    "LDS": "Linear datamodeling score: the rank correlation of what a score predicts of the loss without "
    "random rows, and what it is when the student is trained without them; 1 is perfect, 0 is chance.",
    "certificate": "What training again without some rows said of a score: its LDS, and what was gained "
    "without the rows that it calls worst.",
}
"""Word -> what it means."""
OF_SAMPLES = ("influence", "LDS", "certificate")
"""Words of the section on what single samples did."""
FORMS = {name: rf"{name.removesuffix(' rows')}(?:s|ed)?(?: rows)?" for name in GLOSSARY}
"""How a word stands in a sentence: weights, suspected, trusted."""
WORD = re.compile(rf"(?<![\w-])(?:{'|'.join(f'({form})' for form in FORMS.values())})(?![\w=-])")


def explained(texts: Iterable[str]) -> list[Markup]:
    """Each text with the words of the glossary marked where they come first, for pointer and keyboard."""
    said: set[str] = set()
    names = list(GLOSSARY)

    def mark(found: re.Match[str]) -> str:
        name = names[(found.lastindex or 1) - 1]
        if name in said:
            return found[0]
        said.add(name)
        return term(found[0], GLOSSARY[name])

    return [Markup(WORD.sub(mark, str(escape(shown(text))))) for text in texts]


def term(word: str, meaning: str) -> Markup:
    """A word that says its meaning under the pointer, and where it has the focus."""
    return Markup('<abbr tabindex="0" title="{}">{}</abbr>').format(meaning, word)
