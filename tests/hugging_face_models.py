"""Tiny random models of Hugging Face's, rows for them, and each one's loss per unit written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaweight as mw

Row = dict[str, Any]
WORDS = 19


def text(count: int, seed: int, label: str = "words") -> list[Row]:
    """Rows of 4 to 7 words, padded to 7; ``label``: the words themselves, two thirds of them, or a class."""
    draw, rows = torch.Generator().manual_seed(seed), []
    for _ in range(count):
        length = int(torch.randint(4, 8, (1,), generator=draw))
        ids = torch.randint(2, WORDS, (length,), generator=draw).tolist()
        labels: Any = [-100] * (length // 3) + ids[length // 3 :] + [-100] * (7 - length)
        if label == "class":
            labels = int(torch.randint(3, (1,), generator=draw))
        padded, mask = ids + [0] * (7 - length), [1] * length + [0] * (7 - length)
        rows.append({"input_ids": padded, "attention_mask": mask, "labels": labels, "note": "unused"})
    return rows


def class_losses(outputs: Any, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.logits, targets, reduction="none")


def sequence_losses(outputs: Any, targets: Tensor) -> Tensor:
    """Sums over each row's real tokens, so scaled that their mean is that over all tokens."""
    real = targets != -100
    each = F.cross_entropy(outputs.logits.transpose(1, 2), targets.clamp_min(0), reduction="none")
    return (each * real).sum(dim=1) * len(targets) / real.sum()


@dataclass(frozen=True)
class Case:
    """A model, its rows, and what it is to be trained on."""

    build: Callable[[Any], nn.Module]
    label: str
    losses: Callable[[Any, Tensor], Tensor]
    causal: bool = False
    two_sided: bool = False

    def model(self, transformers: Any, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.build(transformers).double()

    def batch(self, model: Any, rows: list[Row], index: list[int]) -> mw.Batch:
        """Rows as the model takes them, and what position t is to predict."""
        names = ("input_ids", "attention_mask", "labels")
        ids, mask, labels = (torch.tensor([rows[i][name] for i in index]) for name in names)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.two_sided:
            inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels)
        if self.causal:
            labels = torch.cat([labels[:, 1:], torch.full((len(labels), 1), -100)], dim=1)
        return mw.Batch(inputs, labels, torch.tensor(index))


def gpt2(transformers: Any, dropout: float = 0.0) -> Any:
    sizes = {"n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}
    shares = {name: dropout for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop")}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=WORDS, **sizes, **shares, **ends))


def llama(transformers: Any) -> Any:
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=WORDS, **sizes, **ends))


def lora(transformers: Any) -> Any:
    peft = pytest.importorskip("peft")
    chosen = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return peft.get_peft_model(llama(transformers), chosen)


def bert(transformers: Any, num_labels: int = 3) -> Any:
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    still = {"max_position_embeddings": 8, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(vocab_size=WORDS, num_labels=num_labels, **sizes, **still)
    return transformers.BertForSequenceClassification(config)


def t5(transformers: Any) -> Any:
    config = transformers.T5Config(
        vocab_size=WORDS,
        d_model=8,
        d_kv=4,
        d_ff=12,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


def marian(transformers: Any) -> Any:
    heads = {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    layers = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in LAYERS.items()}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "forced_eos_token_id": None}
    config = transformers.MarianConfig(
        vocab_size=WORDS, d_model=8, max_position_embeddings=8, dropout=0.0, **heads, **layers, **ends
    )
    return transformers.MarianMTModel(config)


LAYERS = {"layers": 1, "ffn_dim": 12}
CASES = {
    "gpt2": Case(gpt2, "words", sequence_losses, causal=True),
    "lora": Case(lora, "words", sequence_losses, causal=True),
    "bert": Case(bert, "class", class_losses),
    "t5": Case(t5, "words", sequence_losses, two_sided=True),
    "marian": Case(marian, "words", sequence_losses, two_sided=True),
}


def arguments(transformers: Any, folder: Path, *, kind: str = "TrainingArguments", **chosen: Any) -> Any:
    """Of a quiet Trainer on the CPU."""
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    sizes = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "learning_rate": 0.02}
    given = {**quiet, **sizes, "logging_steps": 1, "optim": "adamw_torch", **chosen}
    return getattr(transformers, kind)(output_dir=str(folder), **given)
