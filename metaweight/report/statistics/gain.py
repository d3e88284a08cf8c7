"""What one run gains over plain training on the same rows with the same seed."""

from __future__ import annotations

from dataclasses import dataclass

from metaweight.tasks.figures import Column, Compared, Presentation
from metaweight.tasks.outcome import RunResult

AUTO = "auto"
"""The teacher that chooses one of the others."""


@dataclass(frozen=True)
class Gain:
    """The main figure of a run and of the plain one beside it, None where it is not known."""

    arm: str
    """The run's."""
    teacher: str
    """The one that ``auto`` chose, behind its name; else the arm."""
    reached: float | None
    plain: float | None
    column: Column
    compared: Compared

    @property
    def difference(self) -> float | None:
        """More of the figure than plain training has."""
        return None if self.reached is None or self.plain is None else self.reached - self.plain

    @property
    def sentences(self) -> tuple[str, ...]:
        """How much, on which rows, and how far one seed can be trusted."""
        difference, digits = self.difference, self.column.digits
        if difference is None or self.reached is None:
            return (
                f"Whether {self.teacher} is better than plain training cannot be said: one of the two has no "
                f"figure for {self.column.heading}, so it diverged, or nothing could be measured.",
            )
        how = f"{abs(difference):.{digits}f} {self.compared.unit} {'more' if difference > 0 else 'less'}"
        how = how if round(difference, digits) else "no difference"
        reached = self.column.said(self.reached)
        return (
            f"With {self.teacher} the student reaches {reached}, with plain training on the same rows "
            f"{self.plain:.{digits}f}: {how}.",
            f"That is one seed of each: metaweight compare with the same data and --arms uniform {self.arm} "
            "trains three.",
        )


def gain_of(run: RunResult, plain: RunResult, presentation: Presentation) -> Gain:
    """By the figure that arms are compared by: of test samples, or else of validation samples."""
    results = (run.with_validation(), plain.with_validation())
    shown = presentation.measured(results)
    column, compared = shown.columns[0], shown.compared[0]
    reached, beside = (one.figures.get(column.figure) for one in results)
    chosen = run.details.get("teacher", run.arm) if run.arm == AUTO else run.arm
    named = run.arm if chosen == run.arm else f"{run.arm} ({chosen})"
    return Gain(run.arm, named, reached, beside, column, compared)
