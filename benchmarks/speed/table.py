"""From timings to the table: medians, spreads and ratios to the plain step."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import median, quantiles

from benchmarks.speed.exactness import Deviation
from benchmarks.speed.measure import Timing

MIB = 2**20


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles around it."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Quartiles by linear interpolation, as numpy's; at least two values."""
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return Spread(middle, low, high)


@dataclass(frozen=True)
class Facts:
    """What is known of a variant beside its time; None where it was not measured."""

    extra_bytes: int | None = None
    """Peak memory above the state before the iteration."""
    flops: float | None = None
    """Of one inner step."""
    deviation: Deviation | None = None
    refused: str | None = None
    """Why there is no time."""
    waits: float | None = None
    """How often one inner step waits for the device."""


@dataclass(frozen=True)
class Cost:
    """A variant's time."""

    milliseconds: Spread
    ratio_of_medians: float
    """Median time over the plain step's median time."""
    ratio_in_round: Spread
    """Of the ratios to the same round's plain step: a machine that drifts moves both."""


@dataclass(frozen=True)
class Row:
    """A variant's line."""

    variant: str
    cost: Cost | None
    """None where it was refused."""
    facts: Facts
    plain_flops: float | None = None
    """Of the plain step."""

    @property
    def flops_ratio(self) -> float | None:
        """FLOPs in plain steps."""
        if self.facts.flops is None or not self.plain_flops:
            return None
        return self.facts.flops / self.plain_flops


def rows(
    timings: Sequence[Timing], names: Sequence[str], *, unit: str, facts: Mapping[str, Facts]
) -> list[Row]:
    """A row for each of ``names``; ``unit`` names the plain step."""
    seconds: dict[str, dict[int, float]] = {name: {} for name in names}
    for timing in timings:
        seconds[timing.variant][timing.round] = timing.seconds
    plain_flops = facts.get(unit, Facts()).flops
    return [
        Row(name, _cost(of_round, seconds[unit]), facts.get(name, Facts()), plain_flops)
        for name, of_round in seconds.items()
    ]


def _cost(of_round: Mapping[int, float], plain: Mapping[int, float]) -> Cost | None:
    if not of_round:
        return None
    return Cost(
        milliseconds=Spread.of([1000 * s for s in of_round.values()]),
        ratio_of_medians=median(of_round.values()) / median(plain.values()),
        ratio_in_round=Spread.of([s / plain[number] for number, s in of_round.items()]),
    )


HEADINGS = (
    "iteration",
    "ms, median [quartiles]",
    "plain steps, ratio of medians",
    "plain steps, median of rounds [quartiles]",
    "GFLOP",
    "FLOPs in plain steps",
    "extra peak memory, MiB",
    "deviation in float64",
    "deviation as timed",
    "waits for the device",
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as it is printed, under ``HEADINGS``."""
    facts = row.facts
    if row.cost is None:
        return (row.variant, facts.refused or "not measured", *["-"] * (len(HEADINGS) - 2))
    time, ratio, off = row.cost.milliseconds, row.cost.ratio_in_round, facts.deviation
    return (
        row.variant,
        f"{_short(time.median)} [{_short(time.low)}, {_short(time.high)}]",
        f"{row.cost.ratio_of_medians:.2f}",
        f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
        "-" if facts.flops is None else _short(facts.flops / 1e9),
        "-" if row.flops_ratio is None else f"{row.flops_ratio:.2f}",
        "-" if facts.extra_bytes is None else f"{facts.extra_bytes / MIB:.0f}",
        "-" if off is None or off.exact is None else f"{off.exact:.1e}",
        "-" if off is None else f"{off.timed:.1e}",
        "-" if facts.waits is None else f"{facts.waits:.3g}",
    )


BRIEF = ("iteration", "ms", "plain steps", "FLOPs", "MiB", "deviation")


def brief(row: Row) -> tuple[str, ...]:
    """A row as a narrow terminal shows it, under ``BRIEF``: medians, FLOPs in plain steps."""
    if row.cost is None:
        return (f"{row.variant}: {row.facts.refused}", *["-"] * (len(BRIEF) - 1))
    name, _, _, _, _, flops, extra, _, timed, _ = cells(row)
    time, ratio = row.cost.milliseconds.median, row.cost.ratio_in_round.median
    return (name, _short(time), f"{ratio:.2f}", flops, extra, timed)


def _short(value: float) -> str:
    """Three digits or more."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def to_markdown(table: Sequence[Row], caption: str, notes: Mapping[str, str] | None = None) -> str:
    """The table for people, with the caption that says what was measured and notes on variants."""
    lines = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *(cells(row) for row in table)]
    found = "".join(f"\n`{name}`: {note}\n" for name, note in (notes or {}).items())
    text = "\n".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |" for line in lines)
    return f"{text}\n\n{caption}\n{found}"


COLUMNS = (
    "variant",
    "ms_median",
    "ms_low",
    "ms_high",
    "ratio_of_medians",
    "ratio_median",
    "ratio_low",
    "ratio_high",
    "extra_bytes",
    "flops",
    "flops_ratio",
    "deviation_float64",
    "deviation_timed",
    "waits",
    "refused",
)


def to_csv(table: Sequence[Row]) -> str:
    """The table for programs, in full precision; what was not measured is empty."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(COLUMNS)
    for row in table:
        cost: Sequence[float | None] = [None] * 7
        if row.cost is not None:
            time, ratio = astuple(row.cost.milliseconds), astuple(row.cost.ratio_in_round)
            cost = (*time, row.cost.ratio_of_medians, *ratio)
        facts = row.facts
        off = (None, None) if facts.deviation is None else astuple(facts.deviation)
        write.writerow(
            (
                row.variant,
                *cost,
                facts.extra_bytes,
                facts.flops,
                row.flops_ratio,
                *off,
                facts.waits,
                facts.refused,
            )
        )
    return out.getvalue()
