"""Models of texts and of tokens by name, with the taps that a teacher looks into by default.

A model is built from ``vocabulary``, how many ids there are (0 is padding), ``outputs``, and options of its
own.  Initial weights come from torch's global generator: ``torch.manual_seed`` before building.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from metaweight.core.contracts import Batch
from metaweight.core.options import Options, checked_options, options_of
from metaweight.core.registry import Registry
from metaweight.models.text_classifiers import PADDING, TextBag, TextTransformer
from metaweight.models.text_taggers import TaggerTransformer, TaggerWindow, real_tokens
from metaweight.student.taps import TimeAxis

text_models: Registry[Callable[..., nn.Module]] = Registry("text model")
"""ids [B, T] int64 -> [B, outputs]."""
text_models.add("text-bag", TextBag)
text_models.add("text-transformer", TextTransformer)
taggers: Registry[Callable[..., nn.Module]] = Registry("tagger")
"""ids [B, T, F] int64 -> [B, T, outputs]."""
taggers.add("tagger-window", TaggerWindow)
taggers.add("tagger-transformer", TaggerTransformer)
_SIZES = ("vocabulary", "outputs")
_TAPS: Mapping[str, tuple[str, ...]] = {
    "text-bag": ("hidden",),
    "text-transformer": ("hidden",),
    "tagger-window": ("hidden",),
    "tagger-transformer": ("encoder",),
}
Kind = Registry[Callable[..., nn.Module]]


def build_text(kind: Kind, name: str, *, vocabulary: int, outputs: int, **options: Any) -> nn.Module:
    """The model ``name`` of ``text_models`` or ``taggers``.

    Raises KeyError for an unknown model, TypeError for an unknown option (with the nearest one) and for one
    of another type, ValueError for sizes that do not fit.
    """
    own = checked_text_options(kind, name, options)
    return kind[name](vocabulary=vocabulary, outputs=outputs, **own)


def text_model_options(kind: Kind, name: str) -> dict[str, Any]:
    """Option -> default of the model ``name``, beside its sizes."""
    return options_of(kind[name], beside=_SIZES)


def checked_text_options(kind: Kind, name: str, options: Options) -> dict[str, Any]:
    """``options`` as the model ``name`` takes them.  Raises as ``build_text``."""
    return checked_options(f"{kind.kind} {name!r}", kind[name], options, beside=_SIZES)


def default_text_taps(kind: Kind, name: str) -> tuple[str, ...]:
    """Taps of a model of texts or tokens; the last is the input of its ``head``.

    Raises KeyError for an unknown model, ValueError for one that was registered from outside.
    """
    _ = kind[name]
    if name not in _TAPS:
        raise ValueError(f"{kind.kind} {name!r} has no default taps: name some of its submodules")
    return _TAPS[name]


def text_time_axes(tap: str, batch: Batch) -> TimeAxis:
    """The real positions of a text model's tap over time."""
    return TimeAxis(batch.args[0] != PADDING)


def tagger_time_axes(tap: str, batch: Batch) -> TimeAxis:
    """The real positions of a tagger's tap, where each token has a state of its own."""
    return TimeAxis(real_tokens(batch.args[0]), of_targets=True)
