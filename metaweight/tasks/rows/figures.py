"""How people see what runs of labelled rows gave, whatever a row is."""

from __future__ import annotations

from metaweight.tasks.cost import COST
from metaweight.tasks.figures import Column, Compared, Curve, Headline, Presentation

PRESENTATION = Presentation(
    columns=(
        Column("accuracy, %", "accuracy", digits=1, best="highest", reached="{:.1f} % {part} accuracy"),
        Column("R²", "r2", digits=3, best="highest", reached="an R² of {:.3f} on the {part} rows"),
        Column(
            "F1 of the labels, %",
            "f1",
            digits=1,
            best="highest",
            reached="an F1 of {:.1f} % on the {part} rows",
        ),
        Column("AUROC of the weights", "auroc", digits=2, best="highest"),
        Column("training, s", "seconds", digits=0, spread=False),
        COST,
    ),
    compared=(
        Compared("accuracy", "last epoch", "points of accuracy"),
        Compared("r2", "R², last epoch", "of R²", digits=3),
        Compared("f1", "F1, last epoch", "points of F1"),
    ),
    curve=Curve("train_loss", "Training loss", "loss of the training rows"),
    counted="rows",
    watched=Headline("valid", "valid_accuracy", "{:.1f} %"),
    headlines=(
        Headline("teacher", "weight_mean", "{teacher}"),
        Headline("test accuracy, {when}", "accuracy", "{:.2f} %"),
        Headline("R² on the test rows, {when}", "r2", "{:.3f}"),
        Headline("root mean squared error, in the unit of the targets", "rmse", "{:.4g}"),
        Headline("F1 of the labels on the test rows, {when}", "f1", "{:.2f} %"),
        Headline("accuracy on the validation rows", "valid_accuracy", "{:.2f} %"),
        Headline("R² on the validation rows", "valid_r2", "{:.3f}"),
        Headline(
            "wrong targets put into the training rows",
            "realised_noise",
            "{:.1%}",
            unknown=("wrong labels among the training rows", "not known"),
        ),
        Headline("AUROC of the weights for finding them", "auroc"),
        Headline("mean weight", "weight_mean", "{:.2f}"),
    ),
)
