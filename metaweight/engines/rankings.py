"""What ``auto`` has measured for one student, to be taken up again by a run that goes on from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metaweight.engines.candidates import Choice, Key
from metaweight.engines.measured import Comparison, Cost


@dataclass(frozen=True)
class _Ranking:
    """Of one list of candidates."""

    costs: dict[Key, Cost]
    """The one to take first."""
    refused: dict[Key, str]
    rounds: int


class Rankings:
    """By what was to be tried: those that can, the best first."""

    def __init__(self) -> None:
        self._of: dict[tuple[Key, ...], _Ranking] = {}

    def __contains__(self, candidates: Sequence[Choice]) -> bool:
        return _keys(candidates) in self._of

    def add(self, candidates: Sequence[Choice], found: Comparison[Choice]) -> None:
        """Remember what was found of ``candidates``."""
        costs = {choice.key: cost for choice, cost in found.costs.items()}
        refused = {choice.key: reason for choice, reason in found.refused.items()}
        self._of[_keys(candidates)] = _Ranking(costs, refused, found.rounds)

    def drop(self, choice: Choice, reason: str) -> None:
        """From now on the next best counts."""
        for ranking in self._of.values():
            if ranking.costs.pop(choice.key, None) is not None:
                ranking.refused[choice.key] = reason

    def refused(self, candidates: Sequence[Choice]) -> dict[Choice, str]:
        """Why some of ``candidates`` were left out or given up."""
        known = self._of[_keys(candidates)].refused
        return {choice: known[choice.key] for choice in candidates if choice.key in known}

    def first(self, candidates: Sequence[Choice]) -> Choice | None:
        """The best of ``candidates``; None where none is left, or they were not measured."""
        ranking = self._of.get(_keys(candidates))
        best = next(iter(ranking.costs), None) if ranking is not None else None
        return next((choice for choice in candidates if choice.key == best), None)

    def why(self, candidates: Sequence[Choice]) -> str:
        """What the best of ``candidates`` takes and what the others do, for people."""
        ranking = self._of[_keys(candidates)]
        if not ranking.rounds:
            return "no other exact engine was left to be timed against"
        (_, cost), *others = ranking.costs.items()
        said = [_said(cost), *(f"{_name(key)} {_said(other)}" for key, other in others)]
        return f"{', '.join(said)} (of {ranking.rounds} rounds)"

    def state_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings; empty where nothing was measured."""
        measured = [
            {
                "candidates": [_plain(key) for key in keys],
                "costs": [[*_plain(key), cost.seconds, cost.memory] for key, cost in ranking.costs.items()],
                "refused": [[*_plain(key), reason] for key, reason in ranking.refused.items()],
                "rounds": ranking.rounds,
            }
            for keys, ranking in self._of.items()
        ]
        return {"measured": measured} if measured else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict()``; an empty one, as of a run that did not measure, forgets all."""
        self._of = {
            tuple(_key(*plain) for plain in one["candidates"]): _Ranking(
                {_key(*plain): Cost(seconds, memory) for *plain, seconds, memory in one["costs"]},
                {_key(*plain): reason for *plain, reason in one["refused"]},
                one["rounds"],
            )
            for one in state.get("measured", [])
        }


def _keys(candidates: Sequence[Choice]) -> tuple[Key, ...]:
    return tuple(choice.key for choice in candidates)


def _plain(key: Key) -> list[Any]:
    name, options = key
    return [name, dict(options)]


def _key(name: str, options: Mapping[str, str]) -> Key:
    return name, tuple(options.items())


def _name(key: Key) -> str:
    name, options = key
    return " ".join([name, *(f"{option}={value}" for option, value in options)])


def _said(cost: Cost) -> str:
    memory = "" if cost.memory is None else f" and {cost.memory / 1e6:.0f} MB"
    return f"{1e3 * cost.seconds:.3g} ms{memory}"
