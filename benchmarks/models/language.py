"""Six text models and a ViT of Hugging Face transformers, two of them with PEFT's LoRA too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models import shapes
from benchmarks.models.shapes import CLASSES, PADDING, Build, Shape
from benchmarks.models.zoo import Load, Model, Size, adamw
from metaweight.student.losses import TokenCrossEntropy, cross_entropy

WORDS = 99


def _shape(width: int, length: int, image: int) -> Shape:
    return Shape(
        width=width,
        length=length,
        words=WORDS,
        image=image,
        heads=2,
        key_value_heads=1,
        feedforward=2 * width,
    )


SHAPES: Mapping[Size, Shape] = {"tiny": _shape(16, 6, 8), "small": _shape(128, 32, 32)}
MODELS: dict[str, Load] = {}
Inputs = tuple[dict[str, Tensor], Tensor]


def words(size: Size, units: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random sentences of different lengths, padded behind, and which positions are real, both [U, T]."""
    length = SHAPES[size].length
    lengths = torch.randint(length // 2, length + 1, (units, 1), generator=generator)
    real = torch.arange(length) < lengths
    return torch.randint(3, WORDS, (units, length), generator=generator) * real, real


def classified(size: Size, units: int, generator: torch.Generator) -> Inputs:
    """Sentences, each with a class."""
    ids, real = words(size, units, generator)
    labels = torch.randint(CLASSES, (units,), generator=generator)
    return {"input_ids": ids, "attention_mask": real.long()}, labels


def continued(size: Size, units: int, generator: torch.Generator) -> Inputs:
    """Sentences; the target of each word is the next one."""
    ids, real = words(size, units, generator)
    after = torch.cat([ids[:, 1:], ids.new_full((units, 1), PADDING)], dim=1)
    return {"input_ids": ids, "attention_mask": real.long()}, after


def translated(size: Size, units: int, generator: torch.Generator) -> Inputs:
    """Pairs of sentences; the decoder reads the target one word behind."""
    ids, real = words(size, units, generator)
    target, _ = words(size, units, generator)
    behind = torch.cat([ids.new_full((units, 1), 1), target[:, :-1]], dim=1)
    return {"input_ids": ids, "attention_mask": real.long(), "decoder_input_ids": behind}, target


def pictures(size: Size, units: int, generator: torch.Generator) -> Inputs:
    """Random pictures with classes."""
    pixels = torch.randn(units, 3, SHAPES[size].image, SHAPES[size].image, generator=generator)
    return {"pixel_values": pixels}, torch.randint(CLASSES, (units,), generator=generator)


SENTENCES = TokenCrossEntropy(PADDING)


def _file(
    name: str,
    build: Build,
    inputs: Callable[[Size, int, torch.Generator], Inputs],
    loss: Any,
    described: str,
) -> None:
    def load() -> Model:
        import transformers

        def sized(size: Size) -> nn.Module:
            return build(transformers, SHAPES[size])

        return Model("transformers", sized, inputs, loss, adamw, described)

    MODELS[name] = load


_file("gpt-2", shapes.gpt2, continued, SENTENCES, "GPT2LMHeadModel, a unit is a sentence")
_file("llama", shapes.llama, continued, SENTENCES, "LlamaForCausalLM, a unit is a sentence")
_file("qwen3", shapes.qwen3, continued, SENTENCES, "Qwen3ForCausalLM, a unit is a sentence")
_file("bert", shapes.bert, classified, cross_entropy, "BertForSequenceClassification")
_file("vit", shapes.vit, pictures, cross_entropy, "ViTForImageClassification")
_file("marian", shapes.marian, translated, SENTENCES, "MarianMTModel, a unit is a sentence pair")
_file("t5", shapes.t5, translated, SENTENCES, "T5ForConditionalGeneration, a unit is a sentence pair")


def _with_lora(name: str, base: Build, inputs: Any, loss: Any, parts: list[str]) -> None:
    def load() -> Model:
        import peft
        import transformers

        def build(size: Size) -> nn.Module:
            # its second factors start at zero; a slope through the first ones wants them moved
            config = peft.LoraConfig(r=2, target_modules=parts, init_lora_weights=False)
            return peft.get_peft_model(base(transformers, SHAPES[size]), config)

        return Model("peft", build, inputs, loss, adamw, f"LoRA of rank 2 on {' and '.join(parts)}")

    MODELS[f"{name}-lora"] = load


_with_lora("gpt-2", shapes.gpt2, continued, SENTENCES, ["c_attn"])
_with_lora("llama", shapes.llama, continued, SENTENCES, ["q_proj", "v_proj"])
