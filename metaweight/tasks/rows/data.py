"""The data of a run of labelled rows: parts in one numbering, split, spoilt, encoded, served in batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from metaweight.core.digest import digest
from metaweight.data import Splits, derive
from metaweight.data.origins import LeftOut, Origins
from metaweight.data.rows import Rows, Spoilt, Targets, spoil
from metaweight.data.rows.loader import Inputs, RowsLoader, fitting_batch
from metaweight.data.rows.parts import Parts, left_out, same_columns
from metaweight.data.rows.spoil import other_labels
from metaweight.data.structured import OF_INPUTS
from metaweight.tasks.assembly import seed_of
from metaweight.tasks.config.rows import RowsConfig
from metaweight.tasks.probes import Probes, draw, plant
from metaweight.tasks.rows.split import split

if TYPE_CHECKING:
    import pandas as pd

SAID = {"train": "training", "meta": "trusted", "valid": "validation", "test": "test"}


class Encoder(Protocol):
    """From the user's rows to what a student is called with, as the training rows show them."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What it took the rows for, and what it left out of them."""
        ...

    def encode(self, rows: Rows) -> Inputs:
        """Training rows, or later ones.  Raises ValueError that names the place of what does not do."""
        ...


class Learnt(Protocol):
    """What a student is built by: what the training rows show of their targets and inputs."""

    @property
    def targets(self) -> Targets: ...

    @property
    def encoder(self) -> Encoder: ...


@dataclass(frozen=True, eq=False)
class PreparedRows:
    """The data of a run.  A position counts over training rows, then trusted, then validation rows: N."""

    parts: Parts
    frame: pd.DataFrame
    """[N], what is learnt from, as the user has it."""
    origins: Origins
    """[N]."""
    targets: Targets
    given: Tensor
    """[N, ...], the targets as the student gets them: wrong ones among the training rows'."""
    right: Tensor
    """[N, ...], before noise was put in."""
    splits: Splits
    spoilt: Spoilt | None
    """Of the training rows without probes; None where it is not known which are wrong."""
    probes: Probes | None
    """Trusted rows among the training rows, at their end; None: none were planted."""
    encoder: Encoder
    inputs: Inputs
    """[N]."""
    test: tuple[Inputs, Tensor] | None
    """Rows to measure on, with their targets."""
    left_out: LeftOut
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name of the data."""
        return self.parts.name

    @property
    def source(self) -> str:
        """How the data were read and split."""
        return "; ".join(self.notes)

    @property
    def own(self) -> Tensor:
        """Positions of the training rows without probes."""
        train = self.splits.train
        return train if self.probes is None else train[: len(train) - len(self.probes.wrong)]

    @property
    def samples(self) -> int:
        """N."""
        return len(self.frame)

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Part of the data -> digest of what the run makes of it, in its order."""
        prints = _prints(self.frame)
        own = {"training": self.splits.train, "trusted": self.splits.meta, "validation": self.splits.valid}
        parts = {f"{name} rows": digest(prints[at], self.given[at]) for name, at in own.items()}
        if self.parts.test is not None and self.test is not None:
            parts["test rows"] = digest(_prints(self.parts.test.frame), self.test[1])
        return {**parts, "classes": digest(self.targets.classes)}


def no_points(encoder: Encoder, inputs: Inputs) -> Tensor:
    """Raises ValueError: rows are no points."""
    raise ValueError(
        f"noise that looks at the rows ({', '.join(OF_INPUTS)}) is one of tables, texts and images alone"
    )


def prepare(
    config: RowsConfig,
    parts: Parts,
    targets: Targets,
    encode: Callable[[Rows], Encoder],
    *,
    points: Callable[[Encoder, Inputs], Tensor] = no_points,
    ignore: Sequence[str] = (),
) -> PreparedRows:
    """Split, encode and spoil ``parts``; ``encode`` learns an encoder from the training rows alone.

    ``points``: rows [N, d] as noise that looks at them sees them.  ``ignore``: columns that are not learnt
    from, beside the label.  Raises ValueError, with the place, for what does not do.
    """
    for name in ignore:
        parts.train.column(name)
    learnt = [name for name in parts.train.frame.columns if name not in (parts.label, *ignore)]
    if not learnt:
        raise ValueError(
            f"{parts.train.file}: beside the label {parts.label!r} there is no column to learn from"
        )
    pooled = {part: rows for part in ("train", "meta", "valid") if (rows := getattr(parts, part)) is not None}
    rows = _joined([same_columns(part, learnt) for part in pooled.values()])
    right = torch.cat([_read(parts, targets, part) for part in pooled])
    chosen = split(config, parts, targets, right, {part: len(rows) for part, rows in pooled.items()})
    train = chosen.splits.train
    encoder = encode(_select(rows, train))
    inputs = encoder.encode(rows)
    noise = spoil(
        targets,
        right[train],
        config.noise,
        rate=config.noise_rate,
        generator=derive(config.seed, "noise"),
        inputs=lambda: points(encoder, inputs)[train],
        human=None if parts.human is None else _human(parts, targets)[train],
    )
    given = right.clone()
    given[train] = noise.targets
    splits, planted = chosen.splits, None
    if config.probes:
        splits, given, planted = _planted(config, parts, targets, splits, given)
    notes = (*parts.notes, targets.note, *encoder.notes, *chosen.notes)
    gone = parts.left_out
    for reason, positions in chosen.left.items():
        gone = gone.join(left_out(_select(rows, positions), [reason] * len(positions)))
    test = None
    if parts.test is not None:
        test = encoder.encode(same_columns(parts.test, learnt)), _read(parts, targets, "test")
    return PreparedRows(
        parts,
        rows.frame,
        rows.origins,
        targets,
        given,
        right,
        splits,
        noise if config.noise != "none" or parts.clean else None,
        planted,
        encoder,
        inputs,
        test,
        gone,
        notes if planted is None else (*notes, planted.note),
    )


def _planted(
    config: RowsConfig, parts: Parts, targets: Targets, splits: Splits, given: Tensor
) -> tuple[Splits, Tensor, Probes]:
    """With probes.  Raises ValueError where nobody says that trusted rows are right."""
    if not parts.clean and parts.meta is None:
        raise ValueError(
            f"{parts.train.file}: probes are rows that are surely right, and nobody has checked those that "
            "meta_from_train draws: name trusted rows, or leave out probes"
        )
    if targets.kind == "tokens":
        generator = derive(config.seed, "probes")
        probes = draw(splits, config.probes, generator=generator)
        chosen = torch.zeros(len(given), dtype=torch.bool)
        chosen[probes.positions[probes.wrong]] = True
        spoilt = other_labels(given, chosen, len(targets.classes), generator)
        return probes.moved(splits), spoilt, probes
    values = given.long() if targets.kind == "one-logit" else given
    splits, values, probes = plant(splits, values, config.probes, generator=derive(config.seed, "probes"))
    return splits, values.to(given.dtype), probes


def _read(parts: Parts, targets: Targets, part: str) -> Tensor:
    rows = getattr(parts, part)
    return targets.encode(parts.cells(rows), rows.origins, SAID[part])


def _human(parts: Parts, targets: Targets) -> Tensor:
    assert parts.human is not None
    return targets.encode(parts.human, parts.train.origins, "human")


def loader(
    config: RowsConfig,
    prepared: PreparedRows,
    part: str,
    *,
    training: bool,
    positions: Tensor | None = None,
) -> RowsLoader:
    """Batches of one part, ``train``, ``meta``, ``valid`` or ``test``; shuffled where ``training``.

    ``positions`` [n]: these rows instead of the part's own.
    """
    inputs, targets = prepared.inputs, prepared.given
    if part == "test":
        assert prepared.test is not None
        inputs, targets = prepared.test
        positions = torch.arange(len(targets))
    elif positions is None:
        positions = getattr(prepared.splits, part)
    assert positions is not None
    own = config.meta_batch_size if part == "meta" else config.batch_size or fitting_batch(len(positions))
    return RowsLoader(
        inputs,
        targets,
        positions,
        batch_size=own if training else inputs.at_once,
        shuffle=training,
        seed=seed_of(config.seed, part),
        device=torch.device(config.device),
    )


def _joined(parts: Sequence[Rows]) -> Rows:
    import pandas as pd

    first, *others = parts
    if not others:
        return first
    origins = functools.reduce(Origins.join, (part.origins for part in parts))
    # text of one column in one form: joined with Python's strings, pyarrow's would become such
    own = {name: kind for name, kind in first.frame.dtypes.items() if isinstance(kind, pd.ArrowDtype)}
    frames = [part.frame.astype(own) for part in parts]
    return Rows(pd.concat(frames, ignore_index=True), origins, first.file)


def _select(rows: Rows, positions: Tensor) -> Rows:
    frame = rows.frame.iloc[positions.numpy()].reset_index(drop=True)
    return Rows(frame, rows.origins.select(positions), rows.file)


def _prints(frame: pd.DataFrame) -> Tensor:
    """A number for the cells of each row: [n] int64, the same in every process."""
    import pandas as pd

    prints = np.zeros(len(frame), dtype=np.uint64)
    for name in frame.columns:
        text = isinstance(frame[name].dtype, pd.ArrowDtype)
        cells = frame[name].to_numpy()
        if cells.dtype == object and not text and not all(type(cell) is str for cell in cells):
            cells = np.array([repr(cell) for cell in cells], dtype=object)
        own = pd.util.hash_array(cells, categorize=False)
        prints = prints * np.uint64(1_000_003) ^ own  # the place of a column counts
    return torch.from_numpy(prints.view(np.int64))
