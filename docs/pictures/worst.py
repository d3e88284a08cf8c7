"""The rows of the lowest weights of five data sets, none of them picked by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch

from docs.pictures.cards import Card, worst_cards
from docs.pictures.page import Page
from docs.pictures.rows import Column, Row, worst_rows
from docs.pictures.runs import DIGITS, LOWEST, Low, Trained, lowest, share_wrong, trained
from metaweight.report.suspects import least_first


def worst_digits() -> Page:
    """Digits, 40 % of the labels drawn again."""
    run = trained("image", noise="uniform", noise_rate=0.4, **DIGITS)
    return _digits(run, "The digits of scikit-learn, {share} of them with a wrong label.")


def worst_mnist() -> Page:
    """MNIST, wrong labels by a rule on the pixels, as kind of noise ``instance`` makes them."""
    import benchmarks.default.sources  # noqa: F401

    run = trained(
        "image",
        **{"data": "mnist-5k", "noise": "instance", "noise_rate": 0.4, "train_size": 3000},
        **{"model_options": {"width": 16}, "epochs": 12, "warmup_epochs": 2, "batch_size": 50, "lr": 0.05},
    )
    return _digits(run, "MNIST; a random rule on the pixels gave {share} of the pictures a wrong label.")


def _digits(run: Trained, data: str) -> Page:
    classes = run.prepared.images.classes
    lead = f"{data} Below each picture: the label it came with → the one suggested."
    return _pictures(run, lead, lambda low: f"{classes[low.given]} → {classes[low.suggested]}")


def _pictures(run: Trained, lead: str, caption: Callable[[Low], str], count: int = LOWEST) -> Page:
    images: torch.Tensor = run.prepared.images.train_images
    lows = lowest(run.samples, count)
    cards = [Card(images[low.index, 0].numpy(), caption(low), low.wrong) for low in lows]
    return worst_cards(cards, lead.format(share=share_wrong(run.samples)))


def worst_tumours() -> Page:
    """Tumours by measures of their cells' nuclei, 30 % of the labels the other one."""
    run = trained(
        "tabular",
        **{"data": "breast-cancer", "noise": "flip", "noise_rate": 0.3, "meta_size": 60, "epochs": 20},
    )
    shown = {"mean radius": "radius", "mean texture": "texture", "mean area": "area"}
    lead = (
        "Tumours by the nuclei of their cells; {share} of the labels are the other one. "
        "The label it came with → the one suggested."
    )
    return _table(run, shown, 150, lead)


def worst_clothes() -> Page:
    """Fashion-MNIST, of the package dataset-fashion-mnist, wrong labels in a part of each class."""
    import benchmarks.default.sources  # noqa: F401

    run = trained(
        "image",
        **{"data": "fashion-mnist", "noise": "cluster", "noise_rate": 0.8, "train_size": 2000},
        **{"model_options": {"width": 16}, "epochs": 10, "warmup_epochs": 2, "batch_size": 50, "lr": 0.05},
    )
    lead = "Fashion-MNIST; {share} of the labels are wrong. Below each picture: the label it came with."
    return _pictures(run, lead, lambda low: CLOTHES[low.given], 18)


CLOTHES = ("tee", "trouser", "jumper", "dress", "coat", "sandal", "shirt", "trainer", "bag", "boot")
"""Short names of the classes."""


def _table(run: Trained, shown: dict[str, str], room: int, lead: str) -> Page:
    """Some columns of the rows, and the label."""
    classes = [str(name) for name in run.prepared.targets.classes]
    rows = []
    for low in lowest(run.samples):
        own = run.prepared.frame.iloc[low.index]
        cells = (
            *(f"{float(own[name]):.4g}" for name in shown),
            f"{classes[low.given]} → {classes[low.suggested]}",
        )
        rows.append(Row(cells, low.wrong))
    columns = (*(Column(name, 60, right=True) for name in shown.values()), Column("label", room, right=True))
    return worst_rows(rows, columns, lead.format(share=share_wrong(run.samples)))


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
