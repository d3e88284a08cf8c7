"""What each kind of text noise makes of the pairs that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from metaweight.core.plain_text import is_empty, same
from metaweight.core.registry import Registry
from metaweight.data.text.bitext import Bitext

Pair = tuple[str, str]
"""Source and target."""


@dataclass(frozen=True, eq=False)
class CleanText:
    """Right pairs, and all that a kind of noise may look at; N pairs.

    Raises ValueError where ``foreign`` is aligned and has not N sentences.
    """

    bitext: Bitext
    generator: torch.Generator
    foreign: tuple[str, ...] | None = None
    """Sentences in a third language: one for each pair, or a pool."""
    foreign_aligned: bool = True
    out_of_domain: Bitext | None = None

    def __post_init__(self) -> None:
        if self.foreign is not None and self.foreign_aligned and len(self.foreign) != len(self.bitext):
            raise ValueError(
                f"there are {len(self.bitext)} pairs but {len(self.foreign)} foreign sentences; give one for "
                "each, or foreign_aligned=False"
            )

    def draws(self, size: int) -> list[float]:
        """Uniform numbers in [0, 1)."""
        device = self.generator.device
        return torch.rand(size, generator=self.generator, device=device, dtype=torch.float64).tolist()

    def order(self, size: int) -> list[int]:
        """A random permutation of 0..size-1."""
        return torch.randperm(size, generator=self.generator, device=self.generator.device).tolist()


def _nothing_needed(clean: CleanText) -> None:
    """The pairs are enough."""


@dataclass(frozen=True)
class TextNoise:
    """One kind of noise of parallel text.

    A word is what stands between spaces: a text written without them has one word.  A pair is spoilt only
    into one that says something else (see ``same``).
    """

    fits: Callable[[CleanText, int], bool]
    """Whether the pair at a position can be spoilt."""
    spoil: Callable[[CleanText, Sequence[int]], list[Pair]]
    """The wrong pairs for the positions given, all of which fit; each differs from the right one."""
    check: Callable[[CleanText], None] = _nothing_needed
    """Raises ValueError where the kind lacks its material."""


text_noises: Registry[TextNoise] = Registry("noise of text")


def _borrowed(clean: CleanText, position: int, pool: Sequence[str]) -> str:
    """A random sentence of ``pool`` that is not the target at ``position``; there is one."""
    target = clean.bitext.target[position]
    for draw in clean.draws(16):  # nearly always the first does
        if not same(sentence := pool[int(draw * len(pool))], target):
            return sentence
    others = [sentence for sentence in pool if not same(sentence, target)]
    return others[int(clean.draws(1)[0] * len(others))]


def _has_other_target(clean: CleanText, position: int) -> bool:
    target = clean.bitext.target[position]
    return any(not same(other, target) for other in clean.bitext.target)


def _misalign(clean: CleanText, positions: Sequence[int]) -> list[Pair]:
    """Each source with the target of another chosen pair, a random derangement without equal targets.

    Where one target fills more than half of the chosen pairs (a single pair always does), those that find
    no other take a random target of the whole bitext.
    """
    source, target, plain = clean.bitext.source, clean.bitext.target, clean.bitext.plain[1]
    shuffled = [positions[n] for n in clean.order(len(positions))]
    count = Counter(plain[position] for position in shuffled)
    first = {text: rank for rank, text in enumerate(count)}
    # equal targets side by side: a turn by the size of the largest group leads out of every group
    ring = sorted(shuffled, key=lambda position: first[plain[position]])
    turn = max(count.values(), default=0)
    taken: dict[int, str] = {}
    for n, position in enumerate(ring):
        given = target[ring[(n + turn) % len(ring)]]
        found = not same(given, target[position])
        taken[position] = given if found else _borrowed(clean, position, target)
    return [(source[position], taken[position]) for position in positions]


text_noises.add("misaligned", TextNoise(_has_other_target, _misalign))


def _has_two_words(clean: CleanText, position: int) -> bool:
    return len(set(clean.bitext.target[position].split())) > 1


def _shuffle(clean: CleanText, positions: Sequence[int]) -> list[Pair]:
    """The target's words in a random order that is not the right one."""
    return [
        (clean.bitext.source[position], _other_order(clean, clean.bitext.target[position].split()))
        for position in positions
    ]


def _other_order(clean: CleanText, words: list[str]) -> str:
    given = words
    while given == words:  # at worst every other permutation is the right order
        given = [words[n] for n in clean.order(len(words))]
    return " ".join(given)


text_noises.add("shuffled", TextNoise(_has_two_words, _shuffle))


def _differs_from_source(clean: CleanText, position: int) -> bool:
    source, target = clean.bitext.plain
    return source[position] != target[position]


def _copy(clean: CleanText, positions: Sequence[int]) -> list[Pair]:
    """The source left untranslated."""
    return [(clean.bitext.source[position],) * 2 for position in positions]


text_noises.add("copied", TextNoise(_differs_from_source, _copy))


def _foreign(clean: CleanText) -> tuple[str, ...]:
    if not clean.foreign:
        raise ValueError(
            "noise 'wrong-language' needs sentences in another language: foreign=, one for each pair, or a "
            "pool with foreign_aligned=False"
        )
    return clean.foreign


def _has_foreign(clean: CleanText, position: int) -> bool:
    target, foreign = clean.bitext.target[position], _foreign(clean)
    if clean.foreign_aligned:
        return not same(foreign[position], target)
    return any(not same(text, target) for text in foreign)


def _mistake_language(clean: CleanText, positions: Sequence[int]) -> list[Pair]:
    """The sentence of the same pair in another language, or a random one of the pool."""
    foreign, source = _foreign(clean), clean.bitext.source
    if clean.foreign_aligned:
        return [(source[position], foreign[position]) for position in positions]
    return [(source[position], _borrowed(clean, position, foreign)) for position in positions]


def _check_foreign(clean: CleanText) -> None:
    _foreign(clean)


text_noises.add("wrong-language", TextNoise(_has_foreign, _mistake_language, _check_foreign))

KEPT = (0.3, 0.7)
"""Share of its words that a truncated target keeps, drawn uniformly."""


def _can_be_cut(clean: CleanText, position: int) -> bool:
    return len(clean.bitext.target[position].split()) > 1


def _truncate(clean: CleanText, positions: Sequence[int]) -> list[Pair]:
    """The first 30 to 70 % of the target's words; at least one is lost and one left."""
    pairs = []
    for position, draw in zip(positions, clean.draws(len(positions)), strict=True):
        words = clean.bitext.target[position].split()
        kept = round(len(words) * (KEPT[0] + draw * (KEPT[1] - KEPT[0])))
        pairs.append((clean.bitext.source[position], " ".join(words[: min(max(kept, 1), len(words) - 1)])))
    return pairs


text_noises.add("truncated", TextNoise(_can_be_cut, _truncate))


def _is_not_empty(clean: CleanText, position: int) -> bool:
    return not is_empty(clean.bitext.target[position])


def _double(clean: CleanText, positions: Sequence[int]) -> list[Pair]:
    """The target said twice."""
    return [
        (clean.bitext.source[position], " ".join([clean.bitext.target[position]] * 2))
        for position in positions
    ]


text_noises.add("doubled", TextNoise(_is_not_empty, _double))


def _others(clean: CleanText) -> Bitext:
    if clean.out_of_domain is None or len(clean.out_of_domain) == 0:
        raise ValueError("noise 'out-of-domain' needs a second bitext: out_of_domain=Bitext(...)")
    return clean.out_of_domain


def _has_replacement(clean: CleanText, position: int) -> bool:
    right, others = (clean.bitext.source[position], clean.bitext.target[position]), _others(clean)
    return any(pair != right for pair in zip(others.source, others.target, strict=True))


def _replace(clean: CleanText, positions: Sequence[int]) -> list[Pair]:
    """A pair of the other bitext in place of the whole pair; each is used once before any is used twice."""
    others = list(zip(_others(clean).source, _others(clean).target, strict=True))
    order: list[int] = []
    pairs = []
    for position in positions:
        right = (clean.bitext.source[position], clean.bitext.target[position])
        usable = (n for n in range(len(order) - 1, -1, -1) if others[order[n]] != right)
        if (last := next(usable, None)) is None:
            order = clean.order(len(others)) + order
            last = next(n for n in range(len(order) - 1, -1, -1) if others[order[n]] != right)
        pairs.append(others[order.pop(last)])
    return pairs


def _check_others(clean: CleanText) -> None:
    _others(clean)


text_noises.add("out-of-domain", TextNoise(_has_replacement, _replace, _check_others))
