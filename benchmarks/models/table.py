"""From what was found about each model to the table of engines and models."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.models.answers import Answer
from benchmarks.models.cost import SCHEDULES
from benchmarks.speed.measure import Timing
from benchmarks.speed.table import Spread, rows
from benchmarks.speed.variants import PLAIN, Variant


@dataclass(frozen=True)
class Found:
    """About one model."""

    name: str
    described: str
    parameters: int
    """Trainable ones of the model that is timed."""
    doubt: float
    """Of the central differences."""
    answers: Mapping[str, Answer]
    """Engine -> answer in float64."""
    timings: Sequence[Timing]
    refused: Mapping[str, str]
    """Variant -> why it has no time."""

    def ratios(self, engine: str) -> dict[str, Spread | None]:
        """Schedule -> plain steps, by the median over rounds; None where it was not timed."""
        variants = {schedule: Variant(engine=engine, schedule=schedule).name for schedule in SCHEDULES}
        names = [PLAIN.name, *variants.values()]
        here = [timing for timing in self.timings if timing.variant in names]
        costs = {row.variant: row.cost for row in rows(here, names, unit=PLAIN.name, facts={})}
        return {s: cost.ratio_in_round if (cost := costs[name]) else None for s, name in variants.items()}

    @property
    def plain_milliseconds(self) -> float | None:
        """Of a plain step, the median."""
        times = [1000 * t.seconds for t in self.timings if t.variant == PLAIN.name]
        return Spread.of(times).median if times else None


def to_markdown(found: Sequence[Found], engines: Sequence[str], caption: str) -> str:
    """Engines against models, and below why an engine refused, failed or was wrong."""
    notes: dict[str, int] = {}
    lines: list[Sequence[str]] = [
        ("model", "plain step, ms", *engines),
        ("---", "---:", *["---"] * len(engines)),
    ]
    for one in found:
        plain = one.plain_milliseconds
        cells = [_cell(one, engine, notes) for engine in engines]
        lines.append((f"{one.name} ({one.described})", "-" if plain is None else f"{plain:.1f}", *cells))
    table = "\n".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |" for line in lines)
    doubts = max((one.doubt for one in found), default=0.0)
    below = "".join(f"\n{number}. {note}" for note, number in notes.items())
    sure = f"Central differences of two step lengths differ by {doubts:.0e} at most."
    return f"{table}\n\n{caption} {sure}\n{below}\n"


def _cell(one: Found, engine: str, notes: dict[str, int]) -> str:
    answer = one.answers[engine]
    if answer.kind in ("refused", "fails"):
        return f"{answer.kind} {_note(f'{engine}: {answer.words}', notes)}"
    took = f" ({answer.words})" if answer.words else ""
    ratios, words = one.ratios(engine), []
    for schedule, spread in ratios.items():
        why = one.refused.get(Variant(engine=engine, schedule=schedule).name)
        if spread is not None:
            words.append(f"{spread.median:.2f}")
        elif why is not None:
            words.append(f"refused {_note(f'{engine}, {schedule}, float32: {why}', notes)}")
        else:
            words.append("-")
    return f"{answer.kind} {answer.error:.0e}{took}: {' / '.join(words)}"


def _note(text: str, notes: dict[str, int]) -> str:
    """The number of a note; the same words have the same one."""
    return f"[{notes.setdefault(text, len(notes) + 1)}]"


COLUMNS = ("model", "engine", "answer", "error", "words", *(f"{s}_plain_steps" for s in SCHEDULES))


def to_csv(found: Sequence[Found], engines: Sequence[str]) -> str:
    """A line for each engine and model; what was not measured is empty."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(COLUMNS)
    for one in found:
        for engine in engines:
            answer, ratios = one.answers[engine], one.ratios(engine)
            costs = [None if spread is None else spread.median for spread in ratios.values()]
            write.writerow((one.name, engine, answer.kind, answer.error, answer.words, *costs))
    return out.getvalue()


def rounds_csv(found: Sequence[Found]) -> str:
    """Every timing."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(("model", "round", "variant", "position", "seconds"))
    for one in found:
        write.writerows((one.name, t.round, t.variant, t.position, t.seconds) for t in one.timings)
    return out.getvalue()
