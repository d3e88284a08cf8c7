"""How a run of images reads pictures that come after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from metaweight.core.contracts import Batch
from metaweight.data import ImageLoader
from metaweight.data.own_images import Wanted
from metaweight.data.own_images.later import LaterImages, load_later
from metaweight.data.tables import is_table
from metaweight.models import build_model, default_taps
from metaweight.student.losses import build_loss
from metaweight.student.student import Student
from metaweight.tasks.assembly import execution
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.image.data import PreparedImages
from metaweight.tasks.rating.new import New, Said
from metaweight.training.evaluation import class_probabilities

AT_ONCE = 1000
"""Pictures of a batch that is not trained on."""


@dataclass(frozen=True)
class ImageReader:
    """What a run knows of its pictures."""

    config: ImageConfig
    name: str
    """Of the data."""
    classes: tuple[str, ...]
    channels: int
    size: int
    """Pixels of a side."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label: str | None
    """Column of the labels, where the training pictures came out of a table."""

    @classmethod
    def of(cls, config: ImageConfig, reading: Mapping[str, Any]) -> ImageReader:
        """Of what ``reading`` gave."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in reading.items()
        }
        return cls(config, **plain)

    def student(self) -> Student:
        """A student like that of the run, untrained."""
        config = self.config
        module = build_model(
            config.model,
            classes=len(self.classes),
            channels=self.channels,
            size=self.size,
            **config.model_options,
        ).to(config.device)
        loss = build_loss(config.loss, **config.loss_options)
        return Student(
            module, loss, taps=config.taps or default_taps(config.model), execution=execution(config)
        )

    def read(self, place: str) -> New:
        """See ``Reader.read``."""
        found = load_later(
            place,
            self.classes,
            channels=self.channels,
            size=self.size,
            ground=self.config.picture_ground,
            wanted=Wanted(label=self.label, picture=self.config.picture),
            train=self.name,
        )

        def batches(size: int | None) -> Iterable[Batch]:
            return self._loader(found, size or AT_ONCE).epoch(0)

        def says(student: Student) -> Said:
            _, shares = class_probabilities(student, batches(None))
            share, most = shares.float().cpu().max(dim=-1)
            return Said([self.classes[code] for code in most.tolist()], share.double().tolist())

        return New(
            found.origins,
            found.columns,
            found.places,
            found.left_out,
            batches,
            found.given,
            classes=found.labels.tolist(),
            notes=found.notes,
            says=says,
            paths=is_table(place),
        )

    def _loader(self, found: LaterImages, size: int) -> ImageLoader:
        return ImageLoader(
            found.images,
            found.labels,
            torch.arange(len(found.labels)),
            batch_size=size,
            mean=self.mean,
            std=self.std,
            shuffle=False,
            device=torch.device(self.config.device),
        )


def reading(prepared: PreparedImages) -> dict[str, Any]:
    """What ``ImageReader`` is made of, as JSON holds it."""
    images = prepared.images
    _, channels, size, _ = images.train_images.shape
    return {
        "name": images.name,
        "classes": list(images.classes),
        "channels": channels,
        "size": size,
        "mean": list(images.mean),
        "std": list(images.std),
        "label": images.label or None,
    }
