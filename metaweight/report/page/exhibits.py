"""What a sample looks like: its picture or its sentences, read again from the run's data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from metaweight.core.csv_columns import read_columns
from metaweight.core.registry import Registry
from metaweight.data.origins import COLUMNS
from metaweight.report.html import png_uri
from metaweight.report.page.study import ReadRun
from metaweight.tasks import tasks
from metaweight.tasks.config import with_options

LARGEST = 96
"""Pixels of a picture's longer side on a card; larger ones are made smaller."""
THUMBNAIL = 48
"""The same in a table."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError)
"""What data that cannot be had raise."""


class Placed(Protocol):
    """A sample that can be found again."""

    @property
    def index(self) -> int:
        """Position in the data set."""

    @property
    def row(self) -> int:
        """By which its exhibit is asked for."""

    @property
    def clean(self) -> int | None:
        """Its right label, where known."""


@dataclass(frozen=True)
class Sample:
    """What is needed of a sample to show it."""

    index: int
    row: int
    clean: int | None


@dataclass(frozen=True)
class Exhibit:
    """One sample."""

    picture: str = ""
    """A data URI, or empty."""
    source: str = ""
    target: str = ""
    kind: str = ""
    """What is wrong with a sentence pair, where something is."""


@dataclass(frozen=True)
class Exhibits:
    """Of one run's samples, by their row."""

    samples: Mapping[int, Exhibit] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    """Names of the labels; empty where they have none."""
    note: str = ""
    """Why there is nothing to see."""


Show = Callable[[ReadRun, Sequence[Placed], int], Exhibits]
shows: Registry[Show] = Registry("task")
"""Task -> how its samples are shown; a task without one shows none."""


def exhibits(run: ReadRun, samples: Sequence[Placed], *, largest: int = LARGEST) -> Exhibits:
    """How ``samples`` of ``run`` look, pictures of at most ``largest`` pixels; where the data cannot be had,
    a note says so."""
    task = run.config.task
    return shows[task](run, samples, largest) if task in shows else Exhibits()


@shows.register("image")
def _pictures(run: ReadRun, samples: Sequence[Placed], largest: int) -> Exhibits:
    try:
        images = _images(run)
    except UNREADABLE as error:
        text = error.args[0] if error.args else type(error).__name__
        return Exhibits(note=f"No pictures: the data of this run cannot be read here ({text})")
    positions = range(len(images.train_labels))
    same = all(
        sample.index in positions and sample.clean in (None, int(images.train_labels[sample.index]))
        for sample in samples
    )
    if not same:
        return Exhibits(note="No pictures: the data found here is not what this run was trained on.")
    pictures = {s.row: Exhibit(picture_uri(images.train_images[s.index], largest)) for s in samples}
    return Exhibits(pictures, tuple(images.classes))


def _images(run: ReadRun) -> Any:
    # an index is a position in the data set, whatever is spoilt; some kinds of noise take seconds
    return tasks["image"].prepare(with_options(run.config, {"noise": "none"})).images


def pictures_of(run: ReadRun, of: str, positions: Sequence[int], largest: int = LARGEST) -> list[str]:
    """Data URIs of pictures at ``positions`` of the test set where ``of`` says "test rows", else of the set
    that is trained on; empty texts of another task, or where the data cannot be read."""
    none = [""] * len(positions)
    if run.config.task != "image":
        return none
    try:
        images = _images(run)
    except UNREADABLE:
        return none
    pictures = images.test_images if of == "test rows" else images.train_images
    if any(not 0 <= at < len(pictures) for at in positions):
        return none
    return [picture_uri(pictures[at], largest) for at in positions]


def picture_uri(image: Tensor, largest: int = LARGEST) -> str:
    """[C, H, W] uint8 with 1 or 3 channels -> the data URI of a PNG of at most ``largest`` pixels a side."""
    pixels = image[0] if len(image) == 1 else image[:3].permute(1, 2, 0)
    return png_uri(pixels.contiguous().cpu().numpy(), largest)


@shows.register("translation")
def _sentences(run: ReadRun, samples: Sequence[Placed], largest: int) -> Exhibits:
    path = run.folder / "pairs.csv"
    if not path.is_file():
        return Exhibits(note="No sentences: pairs.csv is not in the run's folder.")
    try:
        table = read_columns(path, apart=(*COLUMNS, "mean_weight"))
        sentences = _of_samples(table, samples) if table else {}
    except (OSError, ValueError, KeyError) as error:
        return Exhibits(note=f"No sentences: pairs.csv cannot be read ({error}).")
    return Exhibits(sentences)


def _of_samples(table: Mapping[str, Any], samples: Sequence[Placed]) -> dict[int, Exhibit]:
    """By row, of those that are in the table.  Raises KeyError for a column that it lacks."""
    import pyarrow
    from pyarrow import compute

    asked = pyarrow.array([sample.index for sample in samples], pyarrow.int64())
    places = compute.index_in(asked, value_set=table["index"].cast(asked.type))
    columns = (table[name].take(places).to_pylist() for name in ("source", "target", "kind"))
    return {
        sample.row: Exhibit(source=source, target=target, kind=kind)
        for sample, source, target, kind in zip(samples, *columns, strict=True)
        if source is not None
    }
