"""What is compared: plain training, weights that know nothing or everything, and teachers."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

import metaweight as mw
from benchmarks.lm.texts import Texts
from metaweight.core.weights import auroc

FIXED = ("plain", "random", "oracle")
BYTES = 256


class Given(mw.Teacher):
    """One weight a row, as it is told."""

    sees, learns = "nothing", False

    def __init__(self, spec: mw.StateSpec, weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weights", torch.ones(spec.samples or 0) if weights is None else weights)

    def forward(self, state: mw.StudentState) -> Tensor:
        """[U]."""
        weights: Tensor = self.weights[state.index]
        return weights.to(state.loss.dtype)


@dataclass(frozen=True)
class Training:
    """How each arm is trained."""

    epochs: int
    batch: int
    lr: float
    teacher_lr: float
    width: int
    layers: int


@dataclass(frozen=True)
class Result:
    """One run."""

    junk: str
    arm: str
    seed: int
    bits: float
    """Per byte, on clean text that nobody trained on."""
    auroc: float | None
    """Of the mean weights, clean above junk; None where all are equal."""
    seconds: float
    """Of training."""


def model(training: Training, length: int, seed: int) -> Any:
    """A small Llama of bytes with random weights."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": training.width, "intermediate_size": 3 * training.width}
    depth = {"num_hidden_layers": training.layers, "num_attention_heads": 4}
    ends = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=BYTES, max_position_embeddings=length, **sizes, **depth, **ends)
    )


def trained(arm: str, junk: str, texts: Texts, training: Training, seed: int, folder: Path) -> Result:
    """Train one arm and measure it."""
    student = model(training, texts.train.shape[1], seed)
    args = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch,
        learning_rate=training.lr,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        seed=seed,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        save_strategy="no",
    )
    trainer = mw.huggingface.ReweightingTrainer(
        student,
        args,
        train_dataset=rows_of(texts.train),
        trusted_dataset=None if arm in FIXED else rows_of(texts.trusted),
        teacher=teacher_of(arm, texts.junk, seed),
        teacher_learning_rate=training.teacher_lr,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    weights = torch.from_numpy(trainer.weights()["mean_weight"].to_numpy())
    found = None if bool((weights == weights[0]).all()) else auroc(weights, texts.junk)
    return Result(junk, arm, seed, bits_per_byte(student, texts.test, training.batch), found, seconds)


def teacher_of(arm: str, junk: Tensor, seed: int) -> Any:
    """The teacher of an arm: by its name, or the weights that it is given."""
    if arm == "plain":
        return "uniform"
    if arm not in FIXED:
        return arm
    drawn = 2 * torch.rand(len(junk), generator=torch.Generator().manual_seed(seed))
    weights = drawn if arm == "random" else (~junk).float()
    return Given(mw.StateSpec({}, BYTES), weights)


def rows_of(windows: Tensor) -> list[dict[str, list[int]]]:
    """Windows [n, T] as a Trainer takes them."""
    return [{"input_ids": row, "labels": row} for row in windows.tolist()]


@torch.no_grad()
def bits_per_byte(student: Any, windows: Tensor, batch: int) -> float:
    """Cross-entropy of each byte given those before it in its window [n, T]."""
    student.eval()
    sums = [float(student(input_ids=part, labels=part).loss) * len(part) for part in windows.split(batch)]
    return math.fsum(sums) / len(windows) / math.log(2)
