"""Hugging Face models and tokenizers out of a folder, as students of texts and of tokens: ``path:FOLDER``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.contracts import Batch
from metaweight.student.taps import TimeAxis

PREFIX = "path:"
"""What stands before the folder in the name of a model."""
STATES = ("states",)
"""The tap of ``PretrainedTagger``."""


def is_pretrained(name: str) -> bool:
    """Whether a model's name is that of a folder."""
    return name.startswith(PREFIX)


def check_pretrained(name: str, options: object) -> None:
    """Raise ValueError where there is no model in the folder, and for options, which it takes none of.

    Raises ImportError where transformers is not installed.
    """
    folder = Path(name.removeprefix(PREFIX)).expanduser()
    if not (folder / "config.json").is_file():
        what = "holds no config.json" if folder.is_dir() else "is no folder"
        raise ValueError(f"{name}: {folder} {what}; name one that save_pretrained wrote, model and tokenizer")
    if options:
        raise ValueError(f"{name} takes no model_options, got {options}: its config.json has them")
    _transformers()


def load_tokenizer(name: str) -> Any:
    """The tokenizer in the folder; one without padding pads with its last token.

    Raises ValueError where there is none that does.
    """
    with _reading(name, "tokenizer"):
        tokenizer = _transformers().AutoTokenizer.from_pretrained(_folder(name), local_files_only=True)
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"{name}: its tokenizer is a slow one; save a fast one beside the model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise ValueError(f"{name}: its tokenizer has no token for padding; set pad_token and save it again")
    return tokenizer


def longest_input(name: str, tokenizer: Any, asked: int) -> int:
    """Pieces of a text at most: what is ``asked`` for, within what tokenizer and model take.

    Raises ValueError for a config.json that says no model.
    """
    with _reading(name, "model"), torch.device("meta"):
        config = _transformers().AutoConfig.from_pretrained(_folder(name), local_files_only=True)
        model = _transformers().AutoModel.from_config(config)
    positions = getattr(config, "max_position_embeddings", None) or 0
    room = [positions] if positions > 0 else []  # XLNet has -1 for any number
    for part, table in model.named_modules():
        if part.endswith("position_embeddings") and isinstance(table, nn.Embedding):
            # RoBERTa and its kin number the pieces from the position after that of padding
            first = 0 if table.padding_idx is None else table.padding_idx + 1
            room.append(table.num_embeddings - first)
    return int(min(asked, tokenizer.model_max_length, *room))


def load_classifier(name: str, outputs: int, padding: int) -> nn.Module:
    """The model in the folder with a head for ``outputs``, a new one where its own has others.

    ``padding``: the id that pads, whatever the model was trained with.  What is new is drawn from torch's
    generator.
    """
    model: nn.Module = _load("AutoModelForSequenceClassification", name, outputs, padding)
    return model


class PretrainedTagger(nn.Module):
    """A model of pieces as one of tokens: a token is its first piece.

    (input_ids, attention_mask [B, S], places [B, T] int64: of each token the position of its first piece, -1
    in padding) -> logits [B, T, outputs].  ``states`` gives the tokens' last hidden states [B, T, D].
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.states = nn.Identity()

    def forward(self, places: Tensor, **inputs: Tensor) -> Tensor:
        """Logits; those of padding mean nothing."""
        found = self.model(**inputs, output_hidden_states=True)
        rows, at = torch.arange(len(places), device=places.device)[:, None], places.clamp_min(0)
        self.states(found.hidden_states[-1][rows, at])
        logits: Tensor = found.logits[rows, at]
        return logits


def load_tagger(name: str, outputs: int, padding: int) -> PretrainedTagger:
    """As ``load_classifier``, for tokens."""
    return PretrainedTagger(_load("AutoModelForTokenClassification", name, outputs, padding))


def pretrained_time_axes(tap: str, batch: Batch) -> TimeAxis:
    """The real positions of a tap: of tokens with a state each, or of pieces."""
    if "places" in batch.kwargs and tap in STATES:
        return TimeAxis(batch.kwargs["places"] >= 0, of_targets=True)
    return TimeAxis(batch.kwargs["attention_mask"].bool())


def _load(kind: str, name: str, outputs: int, padding: int) -> Any:
    names = {code: f"LABEL_{code}" for code in range(outputs)}
    labels = {"id2label": names, "label2id": {name: code for code, name in names.items()}}
    with _reading(name, "model"), _quiet():
        model, told = getattr(_transformers(), kind).from_pretrained(
            _folder(name),
            ignore_mismatched_sizes=True,
            local_files_only=True,
            output_loading_info=True,
            **labels,
        )
    body = f"{model.base_model_prefix}."
    for key, saved, here in sorted(told["mismatched_keys"]):
        if key.startswith(body):
            raise ValueError(
                f"{name}: {key} is {list(saved)} in its file and {list(here)} by config.json: save model and "
                "config together"
            )
    model.config.pad_token_id = padding  # a decoder's head looks for the last piece that does not pad
    return model.train()


@contextmanager
def _reading(name: str, what: str) -> Iterator[None]:
    """Raise ValueError, with the folder, for what transformers cannot read of it."""
    _transformers()
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(f"{name}: the folder has no {what} that can be read: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and its report that a head is new, which is what was asked for."""
    logging = _transformers().utils.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _folder(name: str) -> str:
    return str(Path(name.removeprefix(PREFIX)).expanduser())


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            f"a model of Hugging Face's needs {error.name}: pip install 'metaweight[huggingface]'",
            name=error.name,
        ) from error
    return transformers
