"""From timings to the table: medians, spreads and ratios to the plain step."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import median, quantiles

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
class Row:
    """A variant's cost."""

    variant: str
    milliseconds: Spread
    ratio_of_medians: float
    """Median time over the plain step's median time."""
    ratio_in_round: Spread
    """Of the ratios to the same round's plain step: a machine that drifts moves both."""
    extra_bytes: int | None
    """Peak memory above the state before the iteration; None where it was not measured."""


def rows(
    timings: Sequence[Timing], names: Sequence[str], *, unit: str, extra: Mapping[str, int]
) -> list[Row]:
    """A row for each of ``names``; ``unit`` names the plain step, ``extra`` has bytes by name."""
    seconds: dict[str, dict[int, float]] = {name: {} for name in names}
    for timing in timings:
        seconds[timing.variant][timing.round] = timing.seconds
    plain = seconds[unit]
    return [
        Row(
            variant=name,
            milliseconds=Spread.of([1000 * s for s in of_round.values()]),
            ratio_of_medians=median(of_round.values()) / median(plain.values()),
            ratio_in_round=Spread.of([s / plain[number] for number, s in of_round.items()]),
            extra_bytes=extra.get(name),
        )
        for name, of_round in seconds.items()
    ]


HEADINGS = (
    "iteration",
    "ms, median [quartiles]",
    "plain steps, ratio of medians",
    "plain steps, median of rounds [quartiles]",
    "extra peak memory, MiB",
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as it is printed, under ``HEADINGS``."""
    time, ratio = row.milliseconds, row.ratio_in_round
    return (
        row.variant,
        f"{time.median:.0f} [{time.low:.0f}, {time.high:.0f}]",
        f"{row.ratio_of_medians:.2f}",
        f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
        "-" if row.extra_bytes is None else f"{row.extra_bytes / MIB:.0f}",
    )


def to_markdown(table: Sequence[Row], caption: str) -> str:
    """The table for people, with the caption that says what was measured."""
    lines = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *(cells(row) for row in table)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{caption}\n"


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
)


def to_csv(table: Sequence[Row]) -> str:
    """The table for programs, in full precision; extra_bytes is empty where it was not measured."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(COLUMNS)
    for row in table:
        time, ratio = astuple(row.milliseconds), astuple(row.ratio_in_round)
        write.writerow((row.variant, *time, row.ratio_of_medians, *ratio, row.extra_bytes))
    return out.getvalue()
