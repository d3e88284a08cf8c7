"""Pairs that share a sentence belong together: components, splits that respect them, and checks of leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metaweight.data.origins import LeftOut
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.left_out import left_out


def components(bitext: Bitext) -> Tensor:
    """Number the connected components of a bitext: [N] int64, equal where pairs hang together.

    Two pairs hang together if they have the same source or the same target sentence (see ``same``: kinds of
    white space, composition and characters that show nothing do not count), or through a chain of such pairs.
    Components are numbered from 0 in order of first appearance.
    """
    parent = list(range(len(bitext)))

    def root(pair: int) -> int:
        while parent[pair] != pair:
            parent[pair] = parent[parent[pair]]
            pair = parent[pair]
        return pair

    for side in bitext.plain:
        first: dict[str, int] = {}
        for pair, sentence in enumerate(side):
            earlier = first.setdefault(sentence, pair)
            if earlier != pair:
                one, other = root(earlier), root(pair)
                parent[max(one, other)] = min(one, other)
    numbers: dict[int, int] = {}
    labels = [numbers.setdefault(root(pair), len(numbers)) for pair in range(len(bitext))]
    return torch.tensor(labels, dtype=torch.int64)


def split_by_component(
    bitext: Bitext, sizes: Mapping[str, int | None], *, generator: torch.Generator
) -> dict[str, Tensor]:
    """Split a bitext at random into parts of which no two share a source or a target sentence.

    ``sizes``: part -> pairs, filled one after another; the last may be None, all that is left.  Each part is
    given as sorted positions [n] int64.  Whole components are drawn in random order, and one that no longer
    fits its part is left for a later one.  Raises ValueError for negative sizes, more pairs than there are,
    and a size that no choice of the components left adds up to.
    """
    _check_sizes(sizes, len(bitext))
    members: dict[int, list[int]] = {}
    for pair, label in enumerate(components(bitext).tolist()):
        members.setdefault(label, []).append(pair)
    device = generator.device
    left = torch.randperm(len(members), generator=generator, device=device).tolist()
    parts = {}
    for name, size in sizes.items():
        if size is None:
            taken = set(left)
        else:
            lengths = [len(members[label]) for label in left]
            taken = {left[place] for place in _fill(lengths, size, name)}
        left = [label for label in left if label not in taken]
        pairs = sorted(pair for label in taken for pair in members[label])
        parts[name] = torch.tensor(pairs, dtype=torch.int64)
    return parts


def shared_sentences(first: Bitext, second: Bitext) -> Tensor:
    """Positions [n] int64 in ``first`` of the pairs whose source or target sentence ``second`` has too.

    Sides are compared each with its own (see ``same``): a source equal to a target of the other is no match.
    """
    sources, targets = map(frozenset, second.plain)
    sides = enumerate(zip(*first.plain, strict=True))
    pairs = [pair for pair, (source, target) in sides if source in sources or target in targets]
    return torch.tensor(pairs, dtype=torch.int64)


def without_shared(
    pairs: Bitext, *others: Bitext, reason: str = "it shares a sentence with a trusted pair"
) -> tuple[Bitext, LeftOut]:
    """The pairs that share no sentence with any other bitext, and those that do, left out for ``reason``."""
    shared = {pair for other in others for pair in shared_sentences(pairs, other).tolist()}
    kept = pairs.select([pair for pair in range(len(pairs)) if pair not in shared])
    return kept, left_out(pairs, sorted(shared), reason)


def shared_examples(first: Bitext, second: Bitext, shared: Tensor) -> str:
    """The first three of the pairs at ``shared`` in words: where each is, and the sentence in both."""
    sources, examples = frozenset(second.plain[0]), []
    for pair in shared[:3].tolist():
        side = first.source if first.plain[0][pair] in sources else first.target
        examples.append(f"{first.places[pair]}: {_shortened(side[pair])!r}")
    return ", ".join(examples) + (", ..." if len(shared) > len(examples) else "")


def require_disjoint(train: Bitext, meta: Bitext, *, names: tuple[str, str] = ("training", "meta")) -> None:
    """Raise ValueError where the first set shares a sentence with the second: how many, which first."""
    shared = shared_sentences(train, meta)
    if not len(shared):
        return
    raise ValueError(
        f"{len(shared)} pairs of the {names[0]} set share a sentence with the {names[1]} set "
        f"({shared_examples(train, meta, shared)}); remove them, or draw both with split_by_component"
    )


def _shortened(sentence: str, length: int = 60) -> str:
    return sentence if len(sentence) <= length else sentence[: length - 3] + "..."


def _check_sizes(sizes: Mapping[str, int | None], available: int) -> None:
    asked = 0
    for place, (name, size) in enumerate(sizes.items()):
        if size is None:
            if place != len(sizes) - 1:
                raise ValueError(f"part {name!r} asks for all that is left, but is not the last part")
        elif isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise ValueError(f"part {name!r} has the size {size!r}; sizes are whole numbers >= 0")
        else:
            asked += size
    if asked > available:
        wanted = ", ".join(f"{name} {size}" for name, size in sizes.items() if size is not None)
        raise ValueError(f"{wanted} are {asked} pairs, the bitext has {available}; ask for fewer")


def _fill(lengths: Sequence[int], size: int, name: str) -> list[int]:
    """Places in ``lengths`` that add up to ``size``: in the order given where that works out."""
    places, room = [], size
    for place, length in enumerate(lengths):
        if length <= room:
            places.append(place)
            room -= length
        if not room:
            return places
    if not room:
        return places
    counts = _subset(Counter(lengths), size)
    if counts is None:
        raise ValueError(
            f"no choice of the {len(lengths)} components left ({sum(lengths)} pairs, the largest of "
            f"{max(lengths, default=0)}) makes part {name!r} of {size} pairs; choose another size"
        )
    chosen = []
    for place, length in enumerate(lengths):
        if counts.get(length, 0):
            counts[length] -= 1
            chosen.append(place)
    return chosen


def _subset(available: Mapping[int, int], size: int) -> dict[int, int] | None:
    """How many of each length add up to ``size``, or None: subset sum, one bit for each sum up to size."""
    items, mask = [], (1 << (size + 1)) - 1
    reached = [1]
    for length, count in sorted(available.items(), reverse=True):
        group = 1
        while count:  # in groups of 1, 2, 4, ...: any number up to count is a sum of some of them
            group = min(group, count)
            items.append((length, group))
            reached.append((reached[-1] | reached[-1] << (length * group)) & mask)
            count -= group
            group *= 2
    if not reached[-1] >> size & 1:
        return None
    counts: dict[int, int] = {}
    for (length, group), before in zip(reversed(items), reversed(reached[:-1]), strict=True):
        if not before >> size & 1:
            counts[length] = counts.get(length, 0) + group
            size -= length * group
    return counts
