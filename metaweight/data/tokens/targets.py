"""Labels of tokens as targets [N, T], and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.origins import Origins
from metaweight.data.rows import Targets
from metaweight.data.rows.loader import IGNORED

OUTSIDE = "O"
"""The label of what is part of nothing."""


@dataclass(frozen=True, eq=False)
class TokenTargets(Targets):
    """The labels that the training sentences show."""

    width: int = 0
    """T, tokens of the longest sentence of all parts."""

    def encode(self, cells: Sequence[Any], origins: Origins, part: str) -> Tensor:
        """int64 [n, T], right-padded with ``IGNORED``.

        Raises ValueError, with the place, for a label that the training sentences lack.
        """
        codes = {name: code for code, name in enumerate(self.classes)}
        found = torch.full((len(cells), self.width), IGNORED)
        for place, labels in enumerate(cells):
            strange = next((at for at, label in enumerate(labels) if label not in codes), None)
            if strange is not None:
                raise ValueError(
                    f"{origins[place]}: token {strange + 1} of this {part} sentence has the label "
                    f"{labels[strange]!r}, which no training token has: mend it, or take the sentence out."
                    f"{did_you_mean(labels[strange], codes)}"
                )
            found[place, : len(labels)] = torch.tensor([codes[label] for label in labels])
        return found

    def shown(self, values: Tensor) -> list[str]:
        """The labels of each sentence, with spaces between."""
        names = self.classes
        return [" ".join(names[code] for code in row if code != IGNORED) for row in values.tolist()]


def read_labels(cells: Sequence[Any], name: str, file: str, *, width: int) -> TokenTargets:
    """What the training sentences' labels are; no sentence of any part has more tokens than ``width``.

    Raises ValueError where there are no two labels.
    """
    labels = {label for row in cells for label in row}
    names = (*([OUTSIDE] if OUTSIDE in labels else []), *sorted(labels - {OUTSIDE}))
    if len(names) < 2:
        raise ValueError(
            f"{file}: every token has the label {names[0]!r} in {name!r}: a tagger needs 2 or more. Is it "
            "the column of labels (--label)?"
        )
    shown = ", ".join(map(repr, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    note = f"{name!r} has {len(names)} labels: {shown}"
    if OUTSIDE not in labels:
        note += f"; none is {OUTSIDE!r}, so all tokens count in F1"
    return TokenTargets("tokens", names, note=note, width=width)
