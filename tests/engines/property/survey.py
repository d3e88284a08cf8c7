"""What many cases came to: a table of parts and engines, and the faults, each kind once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from engines.property.cases import Case
from engines.property.truth import right_for
from engines.property.verdicts import ENGINES, Verdict, verdicts


def judged(case: Case) -> list[Verdict] | None:
    """The verdicts of all engines on ``case``; None where differences cannot tell what is right."""
    live = case.live()
    right = right_for(case, live)
    return list(verdicts(case, live, right)) if right.sure else None


@dataclass
class Survey:
    """Counts by part and engine, and every fault."""

    counts: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    faults: list[tuple[Case, Verdict]] = field(default_factory=list)
    cases: int = 0

    def add(self, case: Case, found: Iterable[Verdict]) -> None:
        """Count what the engines made of ``case``."""
        self.cases += 1
        for verdict in found:
            kind = "fault" if verdict.fault else verdict.kind
            for name in case.names:
                self.counts[name][verdict.engine][kind] += 1
            if verdict.fault:
                self.faults.append((case, verdict))

    def unanswered(self) -> set[str]:
        """Parts on which no engine was right, ever: the comparison has shown nothing there."""
        return {
            name for name, engines in self.counts.items() if not any(c["right"] for c in engines.values())
        }

    def table(self) -> str:
        """A line for each part: of every engine right / refused, and its faults where there are any."""
        names = sorted(self.counts)
        wide = max(map(len, names), default=0)
        lines = [" " * wide + "".join(f"{engine:>14}" for engine in ENGINES)]
        for name in names:
            cells = [self.counts[name][engine] for engine in ENGINES]
            shown = (f"{c['right']}/{c['refused']}" + f" !{c['fault']}" * bool(c["fault"]) for c in cells)
            lines.append(f"{name:<{wide}}" + "".join(f"{cell:>14}" for cell in shown))
        return "\n".join([f"{self.cases} cases: right/refused, ! faults", *lines])

    def report(self, most: int = 40) -> str:
        """The faults, the smallest students first."""
        ordered = sorted(self.faults, key=lambda fault: (len(fault[0].names), fault[0].names))
        shown = [f"{verdict} of {case}" for case, verdict in ordered[:most]]
        return "\n".join([f"{len(self.faults)} answers are neither right nor refused", *shown])
