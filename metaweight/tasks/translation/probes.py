"""Probes of a translation run: trusted pairs planted among the training pairs, half of them misaligned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metaweight.core.plain_text import same
from metaweight.data import derive
from metaweight.data.origins import Origins
from metaweight.data.splits import Splits
from metaweight.data.text import Bitext, TextSet
from metaweight.data.text.noise import NoisyBitext
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.probes import Probes, draw


def planted(
    config: TranslationConfig, text: TextSet, noisy: NoisyBitext
) -> tuple[TextSet, NoisyBitext, Probes]:
    """``text`` and ``noisy`` with trusted pairs at the end of the training pairs instead of in the meta set.

    Only such as share no sentence with another trusted pair are taken: else the teacher would know them.
    Raises ValueError as ``draw``, and where nobody says that the trusted pairs are right.
    """
    if text.meta_from_train and not text.clean:
        raise ValueError(
            f"{config.data}: probes are pairs that are surely right, and nobody has checked those that "
            "meta_from_train draws: name trusted pairs, or leave out probes"
        )
    train, meta, generator = len(text.train), len(text.meta), derive(config.seed, "probes")
    splits = Splits(torch.arange(train), train + _alone(text.meta), torch.empty(0, dtype=torch.int64))
    probes = draw(splits, config.probes, generator=generator)
    held = probes.positions - train
    right = text.meta.select(held)
    rest = torch.arange(meta)[~torch.isin(torch.arange(meta), held)]
    origins = _origins(text, held)
    bigger = replace(
        text,
        train=_joined(text.train, right, origins),
        meta=text.meta.select(rest),
        foreign=None,  # it was for the noise, which is there already
        foreign_aligned=False,
        notes="; ".join(filter(None, (text.notes, probes.note))),
    )
    spoilt = replace(
        noisy,
        bitext=_joined(noisy.bitext, _spoilt(right, probes.wrong, text.train.target, generator), origins),
        kind=torch.cat([noisy.kind, torch.zeros(len(held), dtype=torch.int64)]),
        flipped=torch.cat([noisy.flipped, probes.wrong]),
    )
    return bigger, spoilt, replace(probes, positions=train + torch.arange(len(held)), trusted=meta)


def _alone(pairs: Bitext) -> Tensor:
    """Places of the pairs that share neither sentence with another: [a] int64."""
    counts = [Counter(side) for side in pairs.plain]
    each = zip(*pairs.plain, strict=True)
    alone = [counts[0][source] == counts[1][target] == 1 for source, target in each]
    return torch.tensor(alone).nonzero().flatten()


def _spoilt(pairs: Bitext, wrong: Tensor, pool: Sequence[str], generator: torch.Generator) -> Bitext:
    """``pairs`` [p], those that are ``wrong`` with some training pair's target, as misaligned ones have."""
    target = list(pairs.target)
    starts = torch.randint(len(pool), (len(target),), generator=generator).tolist()
    for place in wrong.nonzero().flatten().tolist():
        ahead = (pool[(starts[place] + step) % len(pool)] for step in range(len(pool)))
        other = next((sentence for sentence in ahead if not same(sentence, target[place])), None)
        if other is None:
            raise ValueError("all training pairs have one target: probes cannot be given a wrong one")
        target[place] = other
    return Bitext(pairs.source, tuple(target), pairs.origins)


def _origins(text: TextSet, held: Tensor) -> Origins | None:
    """Of the training pairs and the probes behind them, where these say."""
    own, trusted = text.train.origins, text.meta.origins
    if own is None:
        return None
    if trusted is None:
        return own.join(Origins.of(f"{text.name}, trusted pairs", (held + 1).tolist()))
    return own.join(trusted.select(held))


def _joined(pairs: Bitext, more: Bitext, origins: Origins | None) -> Bitext:
    return Bitext(pairs.source + more.source, pairs.target + more.target, origins)
