"""Models of Hugging Face transformers, built from configurations of a chosen shape with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

PADDING, CLASSES, PATCH = 0, 10, 4
LAYERS = 2


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the models of a suite have in common."""

    width: int
    length: int
    """Words of the longest sentence."""
    words: int
    image: int
    """Pixels a side of a picture, in patches of ``PATCH``."""
    heads: int
    key_value_heads: int
    """Of Llama and Qwen3."""
    feedforward: int
    """Inner width of a layer; GPT-2 has four widths."""
    tied: bool = True
    """Whether T5's head is its embedding."""


Build = Callable[[Any, Shape], nn.Module]
"""(transformers, shape) -> a model of ``LAYERS`` layers."""


def gpt2(library: Any, shape: Shape) -> nn.Module:
    """Learnt positions, Conv1D layers, the head tied to the embedding."""
    config = library.GPT2Config(
        vocab_size=shape.words,
        n_positions=shape.length,
        n_embd=shape.width,
        n_layer=LAYERS,
        n_head=shape.heads,
        use_cache=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    return library.GPT2LMHeadModel(config)  # type: ignore[no-any-return]


def _decoder(shape: Shape) -> dict[str, Any]:
    return {
        "vocab_size": shape.words,
        "hidden_size": shape.width,
        "intermediate_size": shape.feedforward,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "max_position_embeddings": shape.length,
        "use_cache": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": PADDING,
    }


def llama(library: Any, shape: Shape) -> nn.Module:
    """Rotary positions, RMSNorm, gated layers, a head of its own."""
    return library.LlamaForCausalLM(library.LlamaConfig(**_decoder(shape)))  # type: ignore[no-any-return]


def qwen3(library: Any, shape: Shape) -> nn.Module:
    """As Llama, with norms of queries and keys."""
    config = library.Qwen3Config(**_decoder(shape), head_dim=shape.width // shape.heads)
    return library.Qwen3ForCausalLM(config)  # type: ignore[no-any-return]


def _encoder(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.width,
        "intermediate_size": shape.feedforward,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": shape.heads,
        "num_labels": CLASSES,
    }


def bert(library: Any, shape: Shape) -> nn.Module:
    """Sentences with a class: learnt positions, LayerNorm after each part, dropout."""
    positions = {"vocab_size": shape.words, "max_position_embeddings": shape.length}
    config = library.BertConfig(**_encoder(shape), **positions)
    return library.BertForSequenceClassification(config)  # type: ignore[no-any-return]


def vit(library: Any, shape: Shape) -> nn.Module:
    """Pictures with a class: patches, a class token, learnt positions."""
    config = library.ViTConfig(**_encoder(shape), image_size=shape.image, patch_size=PATCH)
    return library.ViTForImageClassification(config)  # type: ignore[no-any-return]


def marian(library: Any, shape: Shape) -> nn.Module:
    """Fixed positions, one embedding for both languages and the head."""
    config = library.MarianConfig(
        vocab_size=shape.words,
        d_model=shape.width,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.feedforward,
        decoder_ffn_dim=shape.feedforward,
        max_position_embeddings=shape.length,
        pad_token_id=PADDING,
        eos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
        use_cache=False,
        activation_function="swish",
    )
    return library.MarianMTModel(config)  # type: ignore[no-any-return]


def t5(library: Any, shape: Shape) -> nn.Module:
    """Relative positions in the first layer, gated GELU (a ReLU's kinks would blur central differences)."""
    config = library.T5Config(
        vocab_size=shape.words,
        d_model=shape.width,
        d_kv=shape.width // shape.heads,
        d_ff=shape.feedforward,
        num_layers=LAYERS,
        num_heads=shape.heads,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=shape.tied,
        pad_token_id=PADDING,
        eos_token_id=2,
        decoder_start_token_id=1,
        use_cache=False,
    )
    return library.T5ForConditionalGeneration(config)  # type: ignore[no-any-return]
