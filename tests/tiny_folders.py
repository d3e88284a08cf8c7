"""Folders of tiny random Hugging Face models with a tokenizer of pieces, as save_pretrained writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_texts import KINDS

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *KINDS["fruit"], *KINDS["tool"], "and", "number", ",", "."]
WORDS += ["Ann", "Bob", "Eve", "eats", "often", *(f"##{digit}" for digit in range(10))]
SIZES: dict[str, dict[str, Any]] = {
    "Bert": {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12},
    "GPT2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "bos_token_id": 2, "eos_token_id": 3},
    "XLNet": {"d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 12},
}
SIZES["Roberta"] = SIZES["Bert"]


def folder_of(
    kind: str, place: Path, family: str = "Bert", *, limit: int | None = 12, **options: Any
) -> Path:
    """Model ``family`` + "For" + ``kind`` in ``place``, and a tokenizer that takes ``limit`` pieces."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: code for code, word in enumerate(WORDS)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    if limit is not None:
        fast.model_max_length = limit
    fast.save_pretrained(place)
    length = {} if family == "XLNet" else {"max_position_embeddings": 16}
    sizes = {"vocab_size": len(WORDS), "num_labels": 5, "initializer_range": 0.3, **SIZES[family], **length}
    config = getattr(transformers, f"{family}Config")(**{**sizes, **options})
    torch.manual_seed(0)
    getattr(transformers, f"{family}For{kind}")(config).save_pretrained(place)
    return place
