"""Noise of parallel text: the kinds after Khayrallah and Koehn (2018), and mixes of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.noise import check_rate
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.noise_kinds import CleanText, text_noises

MIXES: Mapping[str, str] = MappingProxyType(
    {
        "none": "",
        "mixed": "misaligned*2+copied+truncated",
        "all": "misaligned+shuffled+copied+wrong-language+truncated+doubled",
    }
)
"""Mixes that have a name; out-of-domain is in none, since it needs a second bitext."""


@dataclass(frozen=True, eq=False)
class NoisyBitext:
    """Pairs as given, wrong ones among them."""

    bitext: Bitext
    """What the student trains on, N pairs; a wrong one has the origin of the pair whose place it takes."""
    kind: Tensor
    """[N] int64: 0 is clean, k is ``kinds[k - 1]``; for evaluation only."""
    kinds: tuple[str, ...]
    flipped: Tensor
    """[N] bool: the given pair is not the clean one."""
    nominal: float
    """The rate that was asked for; 0 without a kind."""
    realised: float
    """Share of flipped pairs."""


def parse_mix(text: str) -> Mapping[str, float]:
    """Shares (sum 1) of the kinds in ``KIND[*WEIGHT]+...`` or in a named mix: "none", "mixed" or "all".

    ``"misaligned*2+copied+truncated"`` gives 0.5, 0.25 and 0.25; "none" gives no kind.  Raises KeyError for
    an unknown kind (with the nearest), ValueError for one named twice or a weight that is not above 0.
    """
    mix: dict[str, float] = {}
    formula = MIXES.get(text.strip(), text)
    for term in formula.split("+") if formula else ():
        name, star, number = (part.strip() for part in term.partition("*"))
        if name not in text_noises:
            raise KeyError(_unknown(name))
        if name in mix:
            raise ValueError(f"mix {text!r} names {name!r} twice; give it one weight: {name}*2")
        try:
            mix[name] = float(number) if star else 1.0
        except ValueError:
            raise ValueError(f"mix {text!r}: the weight of {name!r} is a number, got {number!r}") from None
    return _shares(mix)


def _unknown(name: str) -> str:
    if name in MIXES:
        return f"{name!r} stands for {MIXES[name] or 'no kind'!r} and goes with no other: write it out"
    return f"unknown noise {name!r} of text.{did_you_mean(name, (*text_noises.names(), *MIXES))}"


def _shares(mix: Mapping[str, float]) -> Mapping[str, float]:
    """Weights scaled to the sum 1."""
    for name, weight in mix.items():
        if name not in text_noises:
            raise KeyError(_unknown(name))
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"the weight of noise {name!r} is above 0, got {weight}; leave it out instead")
    total = sum(mix.values())
    return MappingProxyType({name: weight / total for name, weight in mix.items()})


def corrupt_bitext(
    bitext: Bitext,
    mix: Mapping[str, float] | str,
    *,
    rate: float,
    generator: torch.Generator,
    foreign: Sequence[str] | None = None,
    foreign_aligned: bool = True,
    out_of_domain: Bitext | None = None,
) -> NoisyBitext:
    """Spoil exactly ``round(rate * N)`` random pairs, each by one kind of ``mix`` (see ``parse_mix``).

    Every kind gets its share of them (largest remainder) and only pairs that it can spoil, so that all
    chosen pairs are flipped.  ``foreign`` is for ``wrong-language``: the sentence of each pair in a third
    language, or (``foreign_aligned=False``) a pool of any size; ``out_of_domain`` is for that kind.
    Raises KeyError for an unknown kind; ValueError for a bad rate, weight or length, a kind without its
    material, and where no choice of pairs gives every kind its share.
    """
    check_rate(rate)
    shares = parse_mix(mix) if isinstance(mix, str) else _shares(mix)
    clean = CleanText(
        bitext, generator, None if foreign is None else tuple(foreign), foreign_aligned, out_of_domain
    )
    noises = [text_noises[name] for name in shares]
    kind = torch.zeros(len(bitext), dtype=torch.int64)
    source, target = list(bitext.source), list(bitext.target)
    if noises and rate > 0:
        counts = largest_remainder(round(rate * len(bitext)), list(shares.values()))
        for noise in noises:
            noise.check(clean)
        fitting = [
            tuple(k for k, noise in enumerate(noises) if noise.fits(clean, position))
            for position in range(len(bitext))
        ]
        dealt = deal(fitting, counts, names=tuple(shares), generator=generator)
        for k, (noise, chosen) in enumerate(zip(noises, dealt, strict=True)):
            kind[chosen] = k + 1
            for position, given in zip(chosen, noise.spoil(clean, chosen), strict=True):
                source[position], target[position] = given
    changed = [
        given != right
        for given, right in zip(
            zip(source, target, strict=True), zip(bitext.source, bitext.target, strict=True), strict=True
        )
    ]
    return NoisyBitext(
        bitext=Bitext(tuple(source), tuple(target), bitext.origins),
        kind=kind,
        kinds=tuple(shares),
        flipped=torch.tensor(changed, dtype=torch.bool),
        nominal=rate if noises else 0.0,
        realised=sum(changed) / max(len(changed), 1),
    )


def largest_remainder(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers nearest to ``total`` times each share, with the sum ``total``; the shares sum to 1."""
    exact = [total * share for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]  # 10 * 0.3 comes out a hair below 3
    rest = sorted(range(len(exact)), key=lambda k: counts[k] - exact[k])
    for k in rest[: total - sum(counts)]:
        counts[k] += 1
    return counts


def deal(
    fitting: Sequence[tuple[int, ...]],
    counts: Sequence[int],
    *,
    names: Sequence[str],
    generator: torch.Generator,
) -> list[list[int]]:
    """Give ``counts[k]`` of the N pairs to each kind k, a pair only to one of its ``fitting`` kinds.

    Returns the positions of each kind.  The pairs come in a random order; one is passed over only if no
    exchange among the kinds makes room for it.  Such augmenting paths find a dealing wherever there is one;
    else ValueError.
    """
    size, room = len(fitting), list(counts)
    order = torch.randperm(size, generator=generator, device=generator.device).tolist()
    draws = torch.rand(size, generator=generator, device=generator.device, dtype=torch.float64).tolist()
    held: list[dict[tuple[int, ...], list[int]]] = [defaultdict(list) for _ in counts]
    for position, draw in zip(order, draws, strict=True):
        if not any(room):
            break
        kinds = fitting[position]
        if ends := [k for k in kinds if room[k]]:
            # a place drawn among the open ones, so that every kind gets pairs of all sorts
            place = int(draw * sum(room[k] for k in ends))
            end = next(k for n, k in enumerate(ends) if place < sum(room[j] for j in ends[: n + 1]))
            moves: list[tuple[int, tuple[int, ...], int]] = []
        else:
            end, moves = _exchange(kinds, held, room)
        if end < 0:
            continue
        room[end] -= 1
        for giver, pattern, taker in moves:
            held[taker][pattern].append(held[giver][pattern].pop())
        held[moves[-1][0] if moves else end][kinds].append(position)
    if any(room):
        able = Counter(k for kinds in fitting for k in kinds)
        asked = ", ".join(f"{name} {counts[k]} (can: {able[k]})" for k, name in enumerate(names))
        raise ValueError(
            f"no choice among {size} pairs gives every noise its share: {asked}; lower the rate or the weight"
        )
    return [[position for group in groups.values() for position in group] for groups in held]


def _exchange(
    kinds: tuple[int, ...], held: Sequence[Mapping[tuple[int, ...], list[int]]], room: Sequence[int]
) -> tuple[int, list[tuple[int, tuple[int, ...], int]]]:
    """Moves (giver, pattern, taker), the last taker first, that empty a place in one of ``kinds``.

    Also the kind at the end, where there is room; -1 where there is no chain.
    """
    came: dict[int, tuple[int, tuple[int, ...]] | None] = dict.fromkeys(kinds)
    queue = list(kinds)
    for giver in queue:
        for pattern, positions in held[giver].items():
            for taker in pattern if positions else ():
                if taker in came:
                    continue
                came[taker] = (giver, pattern)
                queue.append(taker)
                if room[taker]:
                    moves, at = [], taker
                    while (step := came[at]) is not None:
                        moves.append((*step, at))
                        at = step[0]
                    return taker, moves
    return -1, []
