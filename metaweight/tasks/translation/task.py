"""Translation with bad sentence pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.core.contracts import Batch
from metaweight.core.weights import auroc
from metaweight.data.epochs import Epochs
from metaweight.data.noise import check_rate
from metaweight.data.text.noise import parse_mix
from metaweight.data.text.vocabulary import Vocabularies
from metaweight.models.transformer import Transformer
from metaweight.models.translators import checked_translator_options
from metaweight.reweighter import Reweighter
from metaweight.student.student import Student
from metaweight.tasks.assembly import Assembled, build_reweighter, seed_of, trains_on_meta
from metaweight.tasks.base import Evaluation, Sources
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.cost import COST
from metaweight.tasks.figures import Column, Compared, Curve, Headline, Presentation
from metaweight.tasks.outcome import Outcome
from metaweight.tasks.pool import Pool
from metaweight.tasks.translation import data as text_data
from metaweight.tasks.translation.bleu import score
from metaweight.tasks.translation.data import PreparedText, loader
from metaweight.tasks.translation.decoding import one_line, translate
from metaweight.tasks.translation.notes import notes, signatures
from metaweight.tasks.translation.pairs import PAIRS, write_pairs
from metaweight.tasks.translation.rating import PairsReader, build_student
from metaweight.tasks.translation.tokenizers import Tokenizer, bleu_with, tokenizer_of
from metaweight.training.evaluation import of_each
from metaweight.training.run_folder import RunFolder

TRANSLATED = (
    "{scores[sentences]:,} sentences, {scores[hypothesis_length]:,} tokens "
    "for {scores[reference_length]:,} of the references"
)


class TranslationTask:
    """A Transformer on sentence pairs; BLEU and chrF of the test set, and what the weights find.

    Figures: ``bleu`` and ``chrf`` of the test set at the last epoch, in percent; ``bleu_greedy``, the same
    with a beam of 1 (a wide beam repairs a part of what bad pairs do); ``auroc`` of the mean weight for
    finding the bad pairs, and ``auroc_KIND`` of one kind against the good pairs, NaN where there are none;
    ``valid_loss`` per token at the last epoch; ``realised_noise``; ``seconds``; ``weight_mean``.  ``auroc``
    and ``realised_noise`` are NaN where it is not known which pairs are bad.
    """

    config = TranslationConfig
    presentation = Presentation(
        columns=(
            Column("BLEU", "bleu", digits=1, best="highest", reached="{:.1f} BLEU"),
            Column("BLEU, greedy", "bleu_greedy", digits=1, best="highest"),
            Column("chrF", "chrf", digits=1, best="highest"),
            Column("AUROC of the weights", "auroc", digits=2, best="highest"),
            COST,
        ),
        compared=(Compared("bleu", "BLEU, last epoch", "BLEU"),),
        curve=Curve("valid_loss", "Validation loss", "loss per token on clean pairs, nats"),
        counted="tokens",
        watched=Headline("valid loss", "valid_loss"),
        headlines=(
            Headline("BLEU, {when}", "bleu", "{:.1f}  {scores[bleu_signature]}"),
            Headline("BLEU's tokenizer", "bleu", "{scores[tokenizer]}"),
            Headline("chrF, {when}", "chrf", "{:.1f}  {scores[chrf_signature]}"),
            Headline("BLEU with a beam of 1", "bleu_greedy", "{:.1f}  {scores[bleu_signature]}"),
            Headline("translated", "bleu", TRANSLATED),
            Headline(
                "bad pairs put into the training set",
                "realised_noise",
                "{:.1%}",
                unknown=("bad pairs in the training set", "not known"),
            ),
            Headline("AUROC of the weights for finding them", "auroc*"),
            Headline("mean weight", "weight_mean", "{:.2f}"),
        ),
        signatures=signatures,
        notes=notes,
        always_tested=True,
    )
    noises = ("mixed@0.4",)

    def check(self, config: TranslationConfig) -> None:
        checked_translator_options(config.model, config.model_options)
        parse_mix(config.noise)
        tokenizer_of((), asked=config.tokenize)
        check_rate(config.noise_rate)
        text_data.check_trusted(config)

    def prepare(self, config: TranslationConfig) -> PreparedText:
        prepared = text_data.prepare(config)
        bleu_with(_tokenizer(config, prepared).name)  # what it lacks is said before the training
        return prepared

    def keep(self, prepared: PreparedText, folder: RunFolder) -> None:
        prepared.vocabularies.save(folder.path)

    def build(self, config: TranslationConfig, prepared: PreparedText) -> Reweighter:
        torch.manual_seed(seed_of(config.seed, "initial"))
        student = build_student(config, prepared.vocabularies)
        counts = prepared.token_counts() if config.unit == "token" else None
        probe = loader(config, prepared, "meta").batch(0, 0)
        spec = student.spec(probe, class_counts=counts, samples=prepared.samples)
        return build_reweighter(config, student, spec)

    def sources(self, config: TranslationConfig, prepared: PreparedText) -> Sources:
        train = loader(config, prepared, "train")  # with both it is still the one to refuse training pairs
        if trains_on_meta(config):
            train = text_data.joined_loader(config, prepared)
        return Sources(train, loader(config, prepared, "meta"))

    def pool(self, config: TranslationConfig, prepared: PreparedText) -> Pool:
        return text_data.pool(config, prepared)

    def batches(
        self, config: TranslationConfig, prepared: PreparedText, positions: Tensor, *, training: bool
    ) -> Epochs:
        return text_data.pool_loader(config, prepared, positions, training=training)

    def evaluation(self, config: TranslationConfig, prepared: PreparedText) -> Evaluation:
        held = {"valid": loader(config, prepared, "valid")} if len(prepared.text.valid) else {}
        return Evaluation(held, loss_per_token, "valid_loss", higher_is_better=False)

    def cells(self, prepared: PreparedText, of: str, positions: Sequence[int]) -> list[dict[str, str]]:
        """See ``InColumns``."""
        pairs, first = prepared.pairs(of), len(prepared.text.train) if of == "meta" else 0
        return [{"source": pairs.source[at - first], "target": pairs.target[at - first]} for at in positions]

    def reading(self, config: TranslationConfig, prepared: PreparedText) -> Mapping[str, Any]:
        return {"languages": list(prepared.text.languages)}

    def reader(self, config: TranslationConfig, reading: Mapping[str, Any], folder: Path) -> PairsReader:
        source, target = reading["languages"]
        config = replace(config, languages=(source, target))
        return PairsReader(config, Vocabularies.load(folder))

    def conclude(
        self, config: TranslationConfig, prepared: PreparedText, trained: Assembled, folder: RunFolder | None
    ) -> Outcome:
        student, test = trained.trainer.reweighter.student, prepared.text.test
        hypotheses = _translations(config, prepared, student, beam=config.beam)
        references = [one_line(sentence) for sentence in test.target]
        tokenizer = _tokenizer(config, prepared)
        scores = score(hypotheses, references, tokenize=tokenizer.name)
        greedy = scores
        if config.beam > 1:
            plain = _translations(config, prepared, student, beam=1)
            greedy = score(plain, references, tokenize=tokenizer.name)
        truth = text_data.knows_bad_pairs(config, prepared)
        if folder is not None:
            texts = {"hypothesis.txt": hypotheses, "reference.txt": references}
            _save(folder, prepared, trained, texts, known=truth)
        # a remedy may have trained on trusted pairs too, whose positions come behind
        weights, noisy = trained.weights.mean_weight()[: prepared.own], prepared.noisy
        kind, flipped = noisy.kind[: prepared.own], noisy.flipped[: prepared.own]
        finite = weights.isfinite()
        figures = {
            "bleu": scores.bleu,
            "chrf": scores.chrf,
            "bleu_greedy": greedy.bleu,
            "auroc": auroc(weights[finite], flipped[finite]) if truth else math.nan,
        }
        for number, name in enumerate(noisy.kinds, start=1):
            some = finite & ((kind == 0) | (kind == number))
            figures[f"auroc_{name}"] = auroc(weights[some], flipped[some])
        figures |= {
            "valid_loss": trained.row.get("valid_loss", math.nan),
            "realised_noise": noisy.realised if truth else math.nan,
            "seconds": trained.trainer.seconds,
            "weight_mean": float(weights[finite].mean()),
        }
        return trained.outcome(figures, {"scores": asdict(scores) | {"tokenizer": str(tokenizer)}})


def _tokenizer(config: TranslationConfig, prepared: PreparedText) -> Tokenizer:
    text = prepared.text
    return tokenizer_of(text.test.target, language=text.languages[1], asked=config.tokenize)


def _translations(
    config: TranslationConfig, prepared: PreparedText, student: Student, *, beam: int
) -> list[str]:
    """The test set's best translations, line by line as the files have them: scoring those gives the same.

    Each process translates its share.
    """
    assert isinstance(student.module, Transformer)
    translations = translate(
        student.module,
        prepared.vocabularies,
        prepared.text.test.source,
        beam=beam,
        length_penalty=config.length_penalty,
        max_source=text_data.MAX_PIECES,
        processes=student.processes,
    )
    return [one_line(best[0][0]) for best in translations]


def loss_per_token(student: Student, batches: Iterable[Batch]) -> dict[str, float]:
    """Mean loss per real token in nats, label smoothing included; leaves the student as it was."""

    def found(batch: Batch) -> tuple[float, float]:
        with torch.no_grad():
            units = student(batch, taps=False).units
        size = float(units.size.sum())
        return float(units.loss.mean()) * size, size

    total, tokens = map(sum, zip(*of_each(student, batches, found), strict=True))
    return {"loss": total / tokens}


def _save(
    folder: RunFolder,
    prepared: PreparedText,
    trained: Assembled,
    texts: Mapping[str, Sequence[str]],
    *,
    known: bool,
) -> None:
    """Weights by pair (``weights.npz`` and ``.csv``, ``pairs.csv``), and each of ``texts`` line by line.

    ``known``: whether it is known which pairs are bad.
    """
    noisy, weights, probes = prepared.noisy, trained.weights, prepared.probes
    index = torch.arange(len(prepared.text.train))
    folder.save_weights(
        index=index,
        weights=weights.weights[:, index],
        loss=weights.loss[:, index],
        flipped=noisy.flipped if known else None,
        probe=None if probes is None else probes.marks(index),
        warmup=weights.warmup,
        origins=prepared.origins,
    )
    write_pairs(folder.path / PAIRS, noisy, prepared.origins, weights.mean_weight(), prepared.own)
    for name, lines in texts.items():
        with whole_file(folder.path / name) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
