"""Six text models and a ViT of Hugging Face transformers, two of them with PEFT's LoRA too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models.zoo import Load, Model, Size, adamw
from metaweight.student.losses import TokenCrossEntropy, cross_entropy

PADDING, WORDS, CLASSES = 0, 99, 10
WIDTH = {"tiny": 16, "small": 128}
LENGTH = {"tiny": 6, "small": 32}
IMAGE = {"tiny": 8, "small": 32}
LAYERS, HEADS = 2, 2

MODELS: dict[str, Load] = {}
Inputs = tuple[dict[str, Tensor], Tensor]


def words(size: Size, units: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random sentences of different lengths, padded behind, and which positions are real, both [U, T]."""
    length = LENGTH[size]
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
    pixels = torch.randn(units, 3, IMAGE[size], IMAGE[size], generator=generator)
    return {"pixel_values": pixels}, torch.randint(CLASSES, (units,), generator=generator)


SENTENCES = TokenCrossEntropy(PADDING)


def _file(
    name: str, inputs: Callable[[Size, int, torch.Generator], Inputs], loss: Any, described: str
) -> Callable[[Callable[[Any, Size], nn.Module]], Callable[[Any, Size], nn.Module]]:
    """Decorator that files a function (transformers, size) -> module."""

    def file(build: Callable[[Any, Size], nn.Module]) -> Callable[[Any, Size], nn.Module]:
        def load() -> Model:
            import transformers

            return Model(
                "transformers", lambda size: build(transformers, size), inputs, loss, adamw, described
            )

        MODELS[name] = load
        return build

    return file


@_file("gpt-2", continued, SENTENCES, "GPT2LMHeadModel, a unit is a sentence")
def gpt2(library: Any, size: Size) -> nn.Module:
    """Learnt positions, Conv1D layers, the head tied to the embedding."""
    return library.GPT2LMHeadModel(
        library.GPT2Config(
            vocab_size=WORDS,
            n_positions=LENGTH[size],
            n_embd=WIDTH[size],
            n_layer=LAYERS,
            n_head=HEADS,
            use_cache=False,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def _decoder(size: Size) -> dict[str, Any]:
    return {
        "vocab_size": WORDS,
        "hidden_size": WIDTH[size],
        "intermediate_size": 2 * WIDTH[size],
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": LENGTH[size],
        "use_cache": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": PADDING,
    }


@_file("llama", continued, SENTENCES, "LlamaForCausalLM, a unit is a sentence")
def llama(library: Any, size: Size) -> nn.Module:
    """Rotary positions, RMSNorm, gated layers."""
    return library.LlamaForCausalLM(library.LlamaConfig(**_decoder(size), num_key_value_heads=1))


@_file("qwen3", continued, SENTENCES, "Qwen3ForCausalLM, a unit is a sentence")
def qwen3(library: Any, size: Size) -> nn.Module:
    """As Llama, with norms of queries and keys."""
    config = library.Qwen3Config(**_decoder(size), num_key_value_heads=1, head_dim=WIDTH[size] // HEADS)
    return library.Qwen3ForCausalLM(config)


@_file("bert", classified, cross_entropy, "BertForSequenceClassification")
def bert(library: Any, size: Size) -> nn.Module:
    """Learnt positions, LayerNorm after each part, dropout."""
    return library.BertForSequenceClassification(
        library.BertConfig(
            vocab_size=WORDS,
            hidden_size=WIDTH[size],
            intermediate_size=2 * WIDTH[size],
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=LENGTH[size],
            num_labels=CLASSES,
        )
    )


@_file("vit", pictures, cross_entropy, "ViTForImageClassification")
def vit(library: Any, size: Size) -> nn.Module:
    """Patches, a class token, learnt positions."""
    return library.ViTForImageClassification(
        library.ViTConfig(
            image_size=IMAGE[size],
            patch_size=4,
            hidden_size=WIDTH[size],
            intermediate_size=2 * WIDTH[size],
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_labels=CLASSES,
        )
    )


@_file("marian", translated, SENTENCES, "MarianMTModel, a unit is a sentence pair")
def marian(library: Any, size: Size) -> nn.Module:
    """Fixed positions, one embedding for both languages and the head."""
    width = WIDTH[size]
    return library.MarianMTModel(
        library.MarianConfig(
            vocab_size=WORDS,
            d_model=width,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=2 * width,
            decoder_ffn_dim=2 * width,
            max_position_embeddings=LENGTH[size],
            pad_token_id=PADDING,
            eos_token_id=2,
            decoder_start_token_id=1,
            forced_eos_token_id=None,
            use_cache=False,
            activation_function="swish",
        )
    )


@_file("t5", translated, SENTENCES, "T5ForConditionalGeneration, a unit is a sentence pair")
def t5(library: Any, size: Size) -> nn.Module:
    """Relative positions in the first layer, gated GELU (a ReLU's kinks would blur central differences)."""
    return library.T5ForConditionalGeneration(
        library.T5Config(
            vocab_size=WORDS,
            d_model=WIDTH[size],
            d_kv=WIDTH[size] // HEADS,
            d_ff=2 * WIDTH[size],
            num_layers=LAYERS,
            num_heads=HEADS,
            feed_forward_proj="gated-gelu",
            pad_token_id=PADDING,
            eos_token_id=2,
            decoder_start_token_id=1,
            use_cache=False,
        )
    )


def _with_lora(
    name: str, base: Callable[[Any, Size], nn.Module], inputs: Any, loss: Any, parts: list[str]
) -> None:
    def load() -> Model:
        import peft
        import transformers

        def build(size: Size) -> nn.Module:
            # its second factors start at zero; a slope through the first ones wants them moved
            config = peft.LoraConfig(r=2, target_modules=parts, init_lora_weights=False)
            return peft.get_peft_model(base(transformers, size), config)

        return Model("peft", build, inputs, loss, adamw, f"LoRA of rank 2 on {' and '.join(parts)}")

    MODELS[f"{name}-lora"] = load


_with_lora("gpt-2", gpt2, continued, SENTENCES, ["c_attn"])
_with_lora("llama", llama, continued, SENTENCES, ["q_proj", "v_proj"])
