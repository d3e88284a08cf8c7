"""The rows of the lowest weights of five data sets, none of them picked by hand."""

from __future__ import annotations

import torch

from docs.pictures.cards import Card, worst_cards
from docs.pictures.page import Page
from docs.pictures.rows import Column, Row, worst_rows
from docs.pictures.runs import DIGITS, LOWEST, Trained, lowest, share_wrong, trained
from metaweight.report.suspects import least_first


def worst_digits() -> Page:
    """Digits, 40 % of the labels drawn again."""
    run = trained("image", noise="uniform", noise_rate=0.4, **DIGITS)
    return _pictures(run, "The digits of scikit-learn, {share} of them with a wrong label.")


def worst_mnist() -> Page:
    """MNIST, wrong labels by a rule on the pixels, as kind of noise ``instance`` makes them."""
    import benchmarks.default.sources  # noqa: F401

    run = trained(
        "image",
        **{"data": "mnist-5k", "noise": "instance", "noise_rate": 0.4, "train_size": 3000},
        **{"model_options": {"width": 16}, "epochs": 12, "warmup_epochs": 2, "batch_size": 50, "lr": 0.05},
    )
    return _pictures(run, "MNIST; a random rule on the pixels gave {share} of the pictures a wrong label.")


def _pictures(run: Trained, data: str) -> Page:
    images: torch.Tensor = run.prepared.images.train_images
    classes = run.prepared.images.classes
    cards = [
        Card(images[low.index, 0].numpy(), f"{classes[low.given]} → {classes[low.suggested]}", low.wrong)
        for low in lowest(run.samples)
    ]
    data = data.format(share=share_wrong(run.samples))
    return worst_cards(cards, f"{data} Below each picture: the label it came with → the one suggested.")


def worst_grades() -> Page:
    """Exams of students and a grade, a fifth of them wrong as the set came."""
    import benchmarks.default.sources  # noqa: F401

    run = trained(
        "tabular",
        **{"data": "student-grades", "noise": "human", "meta_balanced": False, "meta_size": 50},
        **{"valid_size": 50, "seed": 0},
    )
    frame = run.prepared.frame
    names = dict(zip(run.prepared.targets.classes, GRADES, strict=True))
    given, suggested = (
        [names[run.prepared.targets.classes[getattr(low, label)]] for low in lowest(run.samples)]
        for label in ("given", "suggested")
    )
    rows = []
    for low, one, other in zip(lowest(run.samples), given, suggested, strict=True):
        own = frame.iloc[low.index]
        exams = [f"{own[name]:g}" if own[name] == own[name] else "-" for name in frame.columns[:3]]
        note = own[frame.columns[3]]
        cells = (*exams, note if isinstance(note, str) else "", f"{one} → {other}")
        rows.append(Row(cells, low.wrong))
    columns = (
        *(Column("exam 1", 54, right=True), Column("2", 36, right=True), Column("3", 36, right=True)),
        *(Column("   note", 215), Column("grade", 62, right=True)),
    )
    lead = (
        f"Exams, a note, the grade that was entered → the one suggested. "
        f"{share_wrong(run.samples)} of the grades came wrong."
    )
    return worst_rows(rows, columns, lead, what="wrong grades", noun="grade")


GRADES = "ABCDF"
FEWER = 12
"""Rows shown where each takes two or three lines."""
KINDS_OF_QUESTION = {
    **{"ABBR": "an abbreviation", "DESC": "a description", "ENTY": "a thing"},
    **{"HUM": "a person", "LOC": "a place", "NUM": "a number"},
}
"""What an answer is."""


def worst_questions() -> Page:
    """Questions whose labels come from 68 hand-written rules."""
    import benchmarks.default.sources  # noqa: F401

    run = trained(
        "text",
        **{"data": "trec-rules", "noise": "human", "meta_balanced": False, "meta_size": 200},
        **{"train_size": 2000, "epochs": 10, "warmup_epochs": 1},
    )
    frame, classes = run.prepared.frame, run.prepared.targets.classes
    rows = []
    for low in lowest(run.samples, FEWER):
        text = as_printed(str(frame.iloc[low.index]["text"]))
        given, says = (KINDS_OF_QUESTION[str(classes[label])] for label in (low.given, low.suggested))
        rows.append(
            Row((text,), low.wrong, f"asks for {given} → {says}" if says != given else f"asks for {given}")
        )
    share = share_wrong(run.samples)
    lead = (
        f"Questions, labelled by rules with what they ask for; {share} of the labels are wrong. "
        "Below each: the label of the rules → the one suggested."
    )
    return worst_rows(rows, (Column("", 1),), lead)


def as_printed(text: str) -> str:
    """A sentence of tokens with its marks where they belong."""
    for apart, together in (("`` ", "“"), (" ''", "”"), (" 's", "'s"), (" ,", ","), (" :", ":"), (" ?", "?")):
        text = text.replace(apart, together)
    return text[:1].upper() + text[1:]


def worst_pairs() -> Page:
    """English and German phrases, 40 % of the pairs wrong."""
    run = trained(
        "translation",
        **{"data": "cldr", "noise": "mixed", "noise_rate": 0.4, "train_size": 3000, "meta_size": 300},
        **{"valid_size": 100, "test_size": 100, "epochs": 5, "warmup_epochs": 1, "beam": 1},
        **{"lr": 2e-3, "lr_schedule": "cosine", "lr_warmup_steps": 50},
    )
    noisy, own = run.prepared.noisy, run.samples.own
    order = least_first(own.index, own.mean_weight(), own.mean_loss())[:LOWEST]
    rows = []
    for at in own.index[order].tolist():
        kind = ("", *noisy.kinds)[int(noisy.kind[at])].replace("truncated", "cut off")
        cells = (noisy.bitext.source[at], noisy.bitext.target[at], kind)
        rows.append(Row(cells, bool(noisy.flipped[at])))
    share = share_wrong(run.samples)
    lead = f"Phrases in English and German; {share} of the pairs are wrong: misaligned, copied or cut off."
    columns = (Column("English", 6), Column("German", 4), Column("fault", 2.6))
    return worst_rows(rows, columns, lead, what="wrong pairs", noun="pair")
