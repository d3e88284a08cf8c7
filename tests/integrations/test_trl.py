"""Trainers that stand on Hugging Face's: TRL's SFTTrainer, which prepares its rows itself, Seq2SeqTrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hugging_face_models import CASES, WORDS, arguments, llama, text

import metaweight as mw

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*will be removed in v6:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({str(number): number for number in range(WORDS)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="0", eos_token="1", unk_token="0"
    )


def prompts(count: int, seed: int) -> Any:
    """Rows of words as text, two to prompt with; row 2 is a prompt alone that fills 12 tokens."""
    from datasets import Dataset

    rows = []
    for row in text(count, seed):
        words = [str(number) for number in row["input_ids"] if number]
        rows.append({"prompt": " ".join(words[:2]), "completion": " " + " ".join(words[2:])})
    rows[2]["prompt"] = " ".join(["5"] * 12)
    return Dataset.from_list(rows)


def supervised(folder: Path, **options: Any) -> Any:
    trl = pytest.importorskip("trl")
    sizes = {"per_device_train_batch_size": 4, "num_train_epochs": 1, "learning_rate": 0.02, "max_length": 12}
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "bf16": False}
    still = {"gradient_checkpointing": False, "logging_steps": 1}
    args = trl.SFTConfig(str(folder), **sizes, **quiet, **still, **options.pop("config", {}))
    torch.manual_seed(0)
    return mw.huggingface.reweighting(trl.SFTTrainer)(
        llama(transformers),
        args,
        train_dataset=prompts(8, 1),
        processing_class=tokenizer(),
        engine="double",
        **options,
    )


def test_rows_that_a_trainer_drops_and_shuffles_keep_their_numbers(tmp_path: Path) -> None:
    rows = prompts(5, 2)
    trainer = supervised(tmp_path, trusted_dataset=rows, eval_dataset=rows, config={"shuffle_dataset": True})
    trainer.train()
    found = trainer.weights()
    assert found.index[found["mean_weight"].isna()].tolist() == [2]
    suspects = trainer.suspects()
    assert set(suspects["index"]) == set(range(8)) - {2}
    given = prompts(8, 1)
    assert suspects["completion"].tolist() == [given[at]["completion"] for at in suspects["index"].tolist()]
    assert len(trainer.weighing.trusted.dataset) == 4
    assert trainer.evaluate()["eval_loss"] > 0


def test_packed_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"packs several rows into one.*packing=False"):
        supervised(tmp_path, trusted_dataset=prompts(5, 2), config={"packing": True})


def test_seq2seq_trainer(tmp_path: Path) -> None:
    case = CASES["t5"]
    args = arguments(transformers, tmp_path, kind="Seq2SeqTrainingArguments", num_train_epochs=1)
    trainer = mw.huggingface.reweighting(transformers.Seq2SeqTrainer)(
        case.model(transformers), args, train_dataset=text(6, 1), trusted_dataset=text(4, 2), engine="double"
    )
    trainer.train()
    teacher = trainer.weighing.reweighter.teacher
    assert trainer.weighing.reweighter.student.taps == ("encoder.block.0", "decoder.block.0")
    assert type(teacher).__name__ == "Memory"
    assert len(teacher.trusted) == 4
    assert trainer.weights()["mean_weight"].notna().all()
    assert mw.huggingface.reweighting(transformers.Seq2SeqTrainer) is type(trainer)
