"""choices.csv: what a comparison chose on the validation set."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Chosen:
    """What was chosen for one arm under one kind of noise, in words."""

    noise: str
    arm: str
    options: str
    score: str
    """On the validation set; "-" where it has none."""
    default_score: str
    tried: int
    scored: int
    """Of those tried; a run of the others failed, or its figure is not finite."""

    @property
    def without(self) -> str:
        """Behind the number tried: how many have no score; empty where all have one."""
        return f", {self.tried - self.scored} without a score" if self.scored < self.tried else ""


def read_choices(text: str) -> tuple[str, list[Chosen]]:
    """The figure and the chosen candidates of a choices.csv.  Raises ValueError where it is none."""
    header, *rows = csv.reader(io.StringIO(text))
    if [*header[:4], *header[5:]] != ["noise", "teacher", "candidate", "options", "chosen", "runs"]:
        raise ValueError(f"choices.csv has the columns {', '.join(header)}")
    tries: dict[tuple[str, str], list[list[str]]] = {}
    for row in rows:
        tries.setdefault((row[0], row[1]), []).append(row)
    found = []
    for (noise, arm), group in tries.items():
        scores = ["-" if row[4] == "" else f"{float(row[4]):.4g}" for row in group]
        best = next(place for place, row in enumerate(group) if row[5] == "1")
        options = _options_text(json.loads(group[best][3])) or "its defaults"
        scored = sum(row[4] != "" for row in group)
        found.append(Chosen(noise, arm, options, scores[best], scores[0], len(group), scored))
    return header[4], found


def _options_text(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
