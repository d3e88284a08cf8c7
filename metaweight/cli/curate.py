"""``metaweight curate``: the rows of a new file that a finished run gives the highest weights."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional

from metaweight.cli.rate import rated_rows
from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.csv_text import csv_text
from metaweight.data.own_images.sources import SAVED
from metaweight.data.tables.excerpt import excerpt, require_like
from metaweight.tasks.rating import New, Rated
from metaweight.tasks.rating.choice import chosen, count_of
from metaweight.tasks.translation.own_text import paths_of

NAMED = 10
"""Classes that are named."""


@dataclass(frozen=True, kw_only=True)
class Curate:
    """New rows and a finished run; a call writes the rows of the highest weights, as their file has them."""

    new: Annotated[str, Positional]
    """Rows of the kind that the run was trained on, with their labels, as `metaweight rate` takes them."""
    rater: str
    """Folder of a finished run of `metaweight train`."""
    keep: float
    """Share of the rows that is kept, above 0 and at most 1."""
    out: str
    """File of the kept rows, in the format, columns and order of NEW (of two files A,B two again; of a folder
    of pictures a .csv of paths and labels); must not exist."""
    sample: bool = False
    """Draw rows with probabilities in proportion to their weights, none twice, in place of the highest."""
    seed: int = 0
    """Seeds which ones --sample draws."""
    per_class: bool = True
    """Keep the share in each class, where a row has one, so that none vanishes: weights of one class may lie
    below those of another. --no-per-class: of all rows alike; a class that vanishes is said."""
    batch_size: int | None = None
    """Rows that go through the student at once; weights do not depend on it. Default: as many as fit."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; default: the run's."""
    threads: int | None = None
    """CPU threads; default: torch's choice."""

    def __call__(self) -> None:
        count_of(self.keep, 1)
        places, outs = sources(self.new, self.out)
        rated = rated_rows(
            self.new, self.rater, batch_size=self.batch_size, device=self.device, threads=self.threads
        )
        new = rated.new
        generator = torch.Generator().manual_seed(self.seed) if self.sample else None
        classes = new.classes if self.per_class else None
        weights = rated.weights[new.places]
        own = chosen(weights, self.keep, classes=classes, generator=generator)
        write_rows(rated, set(new.places[own].tolist()), places, outs)
        console = Terminal()
        console.print(f"{said(new, own.tolist())}: {', '.join(map(str, outs))}", soft_wrap=True)
        if lost := vanished(new, own.tolist()):
            console.print(
                f"no row of class {', '.join(map(repr, lost))} is kept: without --no-per-class the share is "
                "kept in each",
                soft_wrap=True,
            )


def sources(new: str, out: str) -> tuple[list[str], list[Path]]:
    """The files of ``new`` (of a folder itself) and of ``out``.

    Raises ValueError where they are not of one kind, FileExistsError where one of ``out`` exists.
    """
    place = Path(new).expanduser()
    if new.startswith("hf:") or any((place / name).is_file() for name in SAVED):
        raise ValueError(f"{new} is no file that kept rows could be written like: save it as a .parquet")
    if "idx3" in place.name or "idx1" in place.name:
        raise ValueError(f"{new}: IDX files are not written: give its pictures as a folder, or as a table")
    places = [new] if place.exists() else list(paths_of(new))
    outs = [out] if len(places) == 1 else list(paths_of(out))
    if len(outs) != len(places):
        raise ValueError(f"{new} is two files, so --out is two as well: --out A,B")
    for source, own in zip(places, outs, strict=True):
        if not place.is_dir():
            require_like(source, own)
        elif Path(own).suffix.lower() != ".csv":
            raise ValueError(f"{own}: of a folder paths and labels are written: choose a name ending in .csv")
        if os.path.lexists(own):
            raise FileExistsError(f"{own} exists: choose another file with --out")
    return places, [Path(own) for own in outs]


def write_rows(rated: Rated, kept: Collection[int], places: Sequence[str], outs: Sequence[Path]) -> None:
    """Write the rows at ``kept``, positions among all, of each of ``places`` into that of ``outs``.

    Raises ValueError for a file whose cells are paths that would begin at another folder.
    """
    new = rated.new
    texts = []
    for place, out in zip(places, outs, strict=True):
        if new.paths and out.parent.resolve() != Path(place).expanduser().parent.resolve():
            raise ValueError(f"{out}: paths in {place} begin at its folder: choose --out in that folder")
        if not Path(place).expanduser().is_dir():
            texts.append(excerpt(place, new.origins.row.tolist(), kept, comments=new.by_token is not None))
            continue
        assert new.given is not None
        files = [new.origins[position].file for position in sorted(kept)]
        labels = [new.given[position] for position in sorted(kept)]
        paths = [os.path.relpath(Path(file).expanduser(), out.parent) for file in files]
        texts.append(csv_text(("image", "label"), zip(paths, labels, strict=True)).encode())
    with ExitStack() as stack:
        for out, text in zip(outs, texts, strict=True):
            stack.enter_context(whole_file(out)).write(text)


def said(new: New, own: Sequence[int]) -> str:
    """How many rows are kept at the positions ``own`` among those that were weighed, of each class too."""
    whole = len(new.places)
    text = f"kept {len(own):,} of {whole:,} rows ({len(own) / whole:.1%})"
    if new.classes is None or new.given is None:
        return text
    names = [new.given[place] for place in new.places.tolist()]
    there, left = Counter(names), Counter(names[place] for place in own)
    first = [f"{name} {left[name]:,} of {there[name]:,}" for name in sorted(there)[:NAMED]]
    more = f" and {len(there) - NAMED} classes more" if len(there) > NAMED else ""
    return f"{text}: {', '.join(first)}{more}"


def vanished(new: New, own: Sequence[int]) -> list[str]:
    """Classes of which no row is kept."""
    if new.classes is None or new.given is None:
        return []
    names = [new.given[place] for place in new.places.tolist()]
    return sorted(set(names) - {names[place] for place in own})
