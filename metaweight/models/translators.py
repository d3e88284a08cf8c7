"""Translation models by name, with the taps that a teacher looks into by default.

A model is built from ``source_size`` and ``target_size``, the sizes of its vocabularies, and options of
its own: those of ``Transformer``, with the preset's values for defaults.  Initial weights come from
torch's global generator: ``torch.manual_seed`` before building.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from metaweight.core.contracts import Batch
from metaweight.core.options import Options, checked_options, options_of
from metaweight.core.registry import Registry
from metaweight.models.transformer import Transformer
from metaweight.student.taps import TimeAxis

translators: Registry[Callable[..., Transformer]] = Registry("translator")
_PRESETS: dict[str, dict[str, Any]] = {
    "transformer-tiny": {
        "width": 128,
        "heads": 4,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "feedforward": 256,
    },
    "transformer-small": {
        "width": 256,
        "heads": 4,
        "encoder_layers": 3,
        "decoder_layers": 3,
        "feedforward": 512,
    },
    # fairseq's transformer_iwslt_de_en, and the base model of Vaswani et al. (2017), table 3
    "transformer-iwslt": {
        "width": 512,
        "heads": 4,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "feedforward": 1024,
        "dropout": 0.3,
        "norm": "post",
        "tie": "decoder",
    },
    "transformer-base": {
        "width": 512,
        "heads": 8,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "feedforward": 2048,
        "dropout": 0.1,
        "norm": "post",
        "tie": "all",
    },
}
_SIZES = ("source_size", "target_size")


for _name, _preset in _PRESETS.items():
    translators.add(_name, partial(Transformer, **_preset))


def translator_options(name: str) -> dict[str, Any]:
    """Option -> default of the translator ``name``, beside the sizes of its vocabularies.

    Raises KeyError for an unknown translator.
    """
    return options_of(translators[name], beside=_SIZES)


def build_translator(name: str, *, source_size: int, target_size: int, **options: Any) -> Transformer:
    """The translator ``name``: ``module(source, shifted)`` -> logits [B, T, target_size].

    Raises KeyError for an unknown translator, TypeError for an unknown option (with the nearest one) and for
    one of another type, ValueError for sizes that do not fit.
    """
    own = checked_translator_options(name, options)
    return translators[name](source_size=source_size, target_size=target_size, **own)


def checked_translator_options(name: str, options: Options) -> dict[str, Any]:
    """``options`` as the translator ``name`` takes them.  Raises as ``build_translator``."""
    return checked_options(f"translator {name!r}", translators[name], options, beside=_SIZES)


def default_translator_taps(name: str, **options: Any) -> tuple[str, ...]:
    """Taps of a translator, encoder first: a stack's middle layer where it has more than two, then its last.

    ``options``: those it is built with; the numbers of layers count.  Raises KeyError for an unknown
    translator, ValueError for one that was registered from outside.
    """
    _ = translators[name]
    if name not in _PRESETS:
        raise ValueError(f"translator {name!r} has no default taps: name some of its submodules")
    settings = {**_PRESETS[name], **options}
    return tuple(
        f"{stack}.layers.{layer}"
        for stack in ("encoder", "decoder")
        for layer in _middle_and_last(settings[f"{stack}_layers"])
    )


def _middle_and_last(layers: int) -> tuple[int, ...]:
    return ((layers - 1) // 2, layers - 1) if layers > 2 else (layers - 1,)


def time_axes(tap: str, batch: Batch) -> TimeAxis | None:
    """The real positions of a translator's tap: those of the source in ``encoder``, else of the targets."""
    source, shifted = batch.args
    # bos takes the place of eos, so that the shifted targets are real where the targets are
    return TimeAxis(source != 0) if tap.startswith("encoder") else TimeAxis(shifted != 0, of_targets=True)
