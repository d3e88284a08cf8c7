"""Image classification with wrong labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.weights import auroc
from metaweight.data.epochs import Epochs
from metaweight.models import checked_model_options
from metaweight.reweighter import Reweighter
from metaweight.student.losses import build_loss
from metaweight.tasks.assembly import Assembled, build_reweighter, seed_of, trains_on_meta
from metaweight.tasks.base import Evaluation, Sources
from metaweight.tasks.class_names import keep_classes
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.cost import COST
from metaweight.tasks.figures import Column, Compared, Curve, Headline, Presentation
from metaweight.tasks.image import data as image_data
from metaweight.tasks.image.data import PreparedImages, loader
from metaweight.tasks.image.notes import notes
from metaweight.tasks.image.parts import check_trusted
from metaweight.tasks.image.rating import ImageReader, reading
from metaweight.tasks.outcome import Outcome
from metaweight.tasks.pool import Pool
from metaweight.tasks.rows.results import write_columns
from metaweight.training.evaluation import class_probabilities
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights


class ImageTask:
    """A classifier of images; test accuracy, and how well the weights find the flipped labels.

    Figures: ``accuracy`` in percent on the clean test set at the last epoch (or at the one whose student a
    remedy hands out), ``accuracy_at_best`` at the epoch that was best on the validation set, NaN without
    one, both NaN without a test set; ``auroc`` of the mean weight for finding the flipped samples, NaN where
    nothing or everything is flipped; ``realised_noise``; both NaN where it is not known which labels are
    wrong; ``seconds``; ``weight_mean`` over all samples and the epochs after the warm-up: away from 1, the
    teacher also sets the learning rate, but for trusted samples that are trained on and have their share;
    ``meta_noise``, the realised rate in the trusted labels, where they were spoilt.
    """

    config = ImageConfig
    presentation = Presentation(
        columns=(
            Column("accuracy, %", "accuracy", digits=1, best="highest", reached="{:.1f} % {part} accuracy"),
            Column("AUROC of the weights", "auroc", digits=2, best="highest"),
            Column("training, s", "seconds", digits=0, spread=False),
            COST,
        ),
        compared=(
            Compared("accuracy", "last epoch", "points of accuracy"),
            Compared("accuracy_at_best", "best on validation", "points of accuracy"),
        ),
        curve=Curve("test_accuracy", "Test accuracy", "test accuracy, %"),
        counted="images",
        watched=Headline("valid", "valid_accuracy", "{:.1f} %"),
        headlines=(
            Headline(
                "test accuracy, {when}",
                "accuracy",
                "{:.2f} %",
                unknown=("test accuracy", "not known: there is no test set (--test)"),
            ),
            Headline("test accuracy, best epoch on validation", "accuracy_at_best", "{:.2f} %"),
            Headline(
                "wrong labels put into the training set",
                "realised_noise",
                "{:.1%}",
                unknown=("wrong labels in the training set", "not known"),
            ),
            Headline("wrong labels in the meta set", "meta_noise", "{:.1%}"),
            Headline("AUROC of the weights for finding them", "auroc"),
            Headline("mean weight", "weight_mean", "{:.2f}"),
        ),
        notes=notes,
    )
    noises = ("uniform@0.4", "cluster@0.8")

    def check(self, config: ImageConfig) -> None:
        build_loss(config.loss, **config.loss_options)
        checked_model_options(config.model, config.model_options)
        image_data.check(config)
        check_trusted(config)

    def prepare(self, config: ImageConfig) -> PreparedImages:
        return image_data.prepare(config)

    def keep(self, prepared: PreparedImages, folder: RunFolder) -> None:
        keep_classes(prepared.images.classes, folder)

    def build(self, config: ImageConfig, prepared: PreparedImages) -> Reweighter:
        torch.manual_seed(seed_of(config.seed, "initial"))
        images = prepared.images
        student = ImageReader.of(config, reading(prepared)).student()
        counts = torch.bincount(prepared.labels[prepared.splits.train], minlength=len(images.classes))
        probe = loader(config, prepared, "meta", batch_size=2, training=False).batch(0, 0)
        return build_reweighter(
            config, student, student.spec(probe, class_counts=counts.tolist(), samples=prepared.samples)
        )

    def sources(self, config: ImageConfig, prepared: PreparedImages) -> Sources:
        own = prepared.splits.trained(with_meta=trains_on_meta(config))
        return Sources(
            loader(config, prepared, "train", batch_size=config.batch_size, training=True, positions=own),
            loader(config, prepared, "meta", batch_size=config.meta_batch_size, training=True),
        )

    def pool(self, config: ImageConfig, prepared: PreparedImages) -> Pool:
        splits, noise = prepared.splits, prepared.noise
        classes = len(prepared.images.classes)
        flipped, nominal = (None, None) if noise is None else (noise.flipped, noise.nominal)
        return Pool(prepared.own, splits.meta, flipped, nominal, prepared.labels, classes)

    def batches(
        self, config: ImageConfig, prepared: PreparedImages, positions: Tensor, *, training: bool
    ) -> Epochs:
        size = min(config.batch_size, len(positions)) if training else 1000
        return loader(config, prepared, "train", batch_size=size, training=training, positions=positions)

    def evaluation(self, config: ImageConfig, prepared: PreparedImages) -> Evaluation:
        sizes = {"valid": len(prepared.splits.valid), "test": len(prepared.images.test_labels)}
        return Evaluation(
            {
                split: loader(config, prepared, split, batch_size=1000, training=False)
                for split, size in sizes.items()
                if size
            }
        )

    def reading(self, config: ImageConfig, prepared: PreparedImages) -> Mapping[str, Any]:
        return reading(prepared)

    def reader(self, config: ImageConfig, reading: Mapping[str, Any], folder: Path) -> ImageReader:
        return ImageReader.of(config, reading)

    def conclude(
        self, config: ImageConfig, prepared: PreparedImages, trained: Assembled, folder: RunFolder | None
    ) -> Outcome:
        noise = prepared.noise
        fates = None if folder is None else _saved(config, prepared, trained, folder).fates()
        weights = trained.weights.mean_weight()[prepared.own]
        finite = weights.isfinite()
        history = trained.trainer.history
        last = trained.row
        best = next((row for row in history.epochs if row["epoch"] == history.best_epoch), {})
        return trained.outcome(
            {
                "accuracy": last.get("test_accuracy", math.nan),
                "auroc": math.nan if noise is None else auroc(weights[finite], noise.flipped[finite]),
                "accuracy_at_best": best.get("test_accuracy", math.nan),
                "realised_noise": math.nan if noise is None else noise.realised,
                "seconds": trained.trainer.seconds,
                "weight_mean": float(weights[finite].mean()),
            }
            | ({} if prepared.meta_noise is None else {"meta_noise": prepared.meta_noise.realised}),
            {} if prepared.images.clean else {"own_labels": "not known to be right"},
            fates=fates,
        )


def _saved(
    config: ImageConfig, prepared: PreparedImages, trained: Assembled, folder: RunFolder
) -> SampleWeights:
    """Weights by image, written into ``folder``, probes among them; and ``rows.csv`` of a table's images."""
    index, noise, probes = prepared.splits.train, prepared.noise, prepared.probes
    clean, flipped = None, None
    if noise is not None:
        clean = prepared.images.train_labels[index]
        flipped = noise.flipped if probes is None else torch.cat([noise.flipped, probes.wrong])
    # in the order of the split, as nothing is shuffled
    in_order = loader(config, prepared, "train", batch_size=1000, training=False)
    _, says = class_probabilities(trained.trainer.reweighter.student, in_order)
    samples = folder.save_weights(
        index=index,
        given=prepared.labels[index],
        clean=clean,
        flipped=flipped,
        weights=trained.weights.weights[:, index],
        loss=trained.weights.loss[:, index],
        probabilities=says.float().cpu(),
        probe=None if probes is None else probes.marks(index),
        warmup=trained.weights.warmup,
        origins=prepared.origins.select(index),
        classes=prepared.images.classes,
    )
    images = prepared.images
    if images.label:
        own = samples.own
        places = own.index.tolist()
        columns = [[_cell(cells[at]) for at in places] for cells in images.columns.values()]
        given = [images.classes[label] for label in prepared.labels[own.index].tolist()]
        write_columns([*images.columns, images.label], [*columns, given], own, folder)
    return samples


def _cell(value: object) -> object:
    """As the user has it; empty where nothing is."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else value
