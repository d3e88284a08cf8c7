"""Beam search beside CTranslate2's: ``python -m benchmarks.speed.decoding --help``."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
import tyro
from rich.console import Console
from torch import Tensor, nn

from benchmarks.command import exit_code
from metaweight.cli.places import run_folder
from metaweight.core.markdown import markdown_table
from metaweight.models.beam_search import beam_search
from metaweight.models.transformer import Transformer, sinusoids
from metaweight.models.translators import build_translator
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
BEAM, SOURCE, LONGEST = 5, 20, 50
EOS, FIRST = 3, 4
"""Ids: of the end, and of the first word."""
ENDS = {"all as long as allowed": 0.0, "1 to 50 tokens": 4.0}
"""Lengths of the translations -> what is added to the logit of the end."""
Search = Callable[[Tensor], list[tuple[int, ...]]]


@dataclass(frozen=True)
class Options:
    """Time of a beam of 5 with and without the package ctranslate2, in float32 on one thread, in CPU seconds.

    A translator of random weights; both search with the same ones.  Writes table.md and manifest.json.
    """

    model: str = "transformer-small"
    """A translator with norms before its branches."""
    vocabularies: tuple[int, ...] = (2_000, 8_000, 32_000)
    sentences: tuple[int, ...] = (8, 64)
    """Sentences a batch, of 20 tokens each."""
    rounds: int = 9
    """Measured rounds; each takes both once."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/decoding-TIME."""

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise ValueError("--rounds is at least 2")


def translator(name: str, size: int, ends: float) -> Transformer:
    """A random one that ends a sentence the sooner the greater ``ends`` is."""
    torch.manual_seed(0)
    model = build_translator(name, source_size=size, target_size=size, tie="none").eval()
    with torch.no_grad():
        for matrix in (p for p in model.parameters() if p.dim() > 1):
            matrix.mul_(1.5)  # sharper than at its start, so that beams differ
        direction = torch.randn(model.width)
        direction /= direction.norm()
        model.decoder.norm.bias.copy_(direction)
        model.head.weight[EOS] += ends * direction
    return model


def of_metaweight(model: Transformer) -> Search:
    """Its best translations of a source [B, S]."""
    return lambda source: [
        best.tokens for best, *_ in beam_search(model, source, beam=BEAM, max_length=LONGEST)
    ]


def of_ctranslate2(model: Transformer, folder: str) -> Search:
    """The same by CTranslate2, whose model is written into ``folder``."""
    import ctranslate2

    words = [f"w{i}" for i in range(model.head.out_features)]
    spec = _spec(model)
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = words[1:FIRST]
    spec.config.decoder_start_token = words[2]
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.validate()
    spec.optimize(quantization="float32")
    spec.save(folder)
    search = ctranslate2.Translator(folder, inter_threads=1, intra_threads=1, compute_type="float32")

    def run(source: Tensor) -> list[tuple[int, ...]]:
        found = search.translate_batch(
            [[words[i] for i in row] for row in source.tolist()],
            beam_size=BEAM,
            max_decoding_length=LONGEST,
            length_penalty=1.0,
            suppress_sequences=[[words[0]], [words[2]]],
        )
        return [tuple(int(word[1:]) for word in each.hypotheses[0]) for each in found]

    return run


def _spec(model: Transformer) -> Any:
    """The weights of ``model`` as CTranslate2 names them."""
    from ctranslate2.specs import TransformerSpec

    encoder, decoder = model.encoder, model.decoder
    spec = TransformerSpec.from_config(
        (len(encoder.layers), len(decoder.layers)), encoder.layers[0].attend_self.heads, pre_norm=True
    )
    for ours, theirs in ((encoder, spec.encoder), (decoder, spec.decoder)):
        table = theirs.embeddings[0] if isinstance(theirs.embeddings, list) else theirs.embeddings
        table.weight = _array(ours.embedding.weight)
        table.multiply_by_sqrt_depth = True
        theirs.position_encodings.encodings = _array(sinusoids(0, 2 * LONGEST, torch.empty(model.width)))
        _norm(theirs.layer_norm, ours.norm)
        for layer, named in zip(ours.layers, theirs.layer, strict=True):
            _norm(named.self_attention.layer_norm, layer.norm_self)
            _linear(named.self_attention.linear, layer.attend_self.project, layer.attend_self.output)
            if ours is decoder:
                source = layer.attend_source
                _norm(named.attention.layer_norm, layer.norm_source)
                _linear(named.attention.linear, source.query, source.key_value, source.output)
            _norm(named.ffn.layer_norm, layer.norm_mlp)
            _linear([named.ffn.linear_0, named.ffn.linear_1], layer.mlp[0], layer.mlp[2])
    _linear([spec.decoder.projection], model.head)
    return spec


def _linear(named: Sequence[Any], *layers: nn.Linear) -> None:
    for each, layer in zip(named, layers, strict=True):
        each.weight = _array(layer.weight)
        if layer.bias is not None:
            each.bias = _array(layer.bias)


def _norm(named: Any, norm: nn.LayerNorm) -> None:
    named.gamma, named.beta = _array(norm.weight), _array(norm.bias)


def _array(values: Tensor) -> Any:
    return values.detach().numpy().copy()


def seconds(search: Search, source: Tensor) -> float:
    """CPU seconds of one search."""
    start = time.process_time()
    search(source)
    return time.process_time() - start


def measured(options: Options, size: int, count: int, lengths: str) -> tuple[str, ...]:
    """A row of the table."""
    model = translator(options.model, size, ENDS[lengths])
    source = torch.randint(FIRST, size, (count, SOURCE), generator=torch.Generator().manual_seed(1))
    ours = of_metaweight(model)
    found = ours(source)
    tokens = sum(map(len, found)) / count
    about = (f"{size:,}", str(count), f"{lengths}, {tokens:.0f}")
    if importlib.util.find_spec("ctranslate2") is None:
        took = [seconds(ours, source) for _ in range(options.rounds)]
        return *about, _spread([1e3 * s for s in took], 0), "not installed", ""
    with tempfile.TemporaryDirectory() as folder:
        theirs = of_ctranslate2(model, folder)
        same = sum(a == b for a, b in zip(found, theirs(source), strict=True))
        pairs = [(seconds(ours, source), seconds(theirs, source)) for _ in range(options.rounds)]
    pace = _spread([b / a for a, b in pairs], 2)
    return *about, _spread([1e3 * a for a, _ in pairs], 0), pace, f"{same} of {count}"


def _spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = quantiles(values, method="inclusive")
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def run(options: Options) -> Path:
    """Measure, write and print; the run's folder.  Raises FileExistsError for a folder that exists."""
    torch.set_num_threads(1)
    folder = RunFolder.create(run_folder(options.out, "decoding"), manifest(asdict(options), sys.argv)).path
    rows = [
        measured(options, size, count, lengths)
        for lengths in ENDS
        for size in options.vocabularies
        for count in options.sentences
    ]
    heads = ("vocabulary", "sentences", "tokens of a translation", "CPU ms", "pace", "same")
    text = (
        f"Beam search of {options.model}, beam {BEAM}, float32, one thread, {options.rounds} interleaved "
        "rounds, quartiles in brackets. Pace: CTranslate2's CPU seconds over metaweight's, above 1 where "
        "metaweight is faster; same: best translations that are equal.\n\n"
        f"{markdown_table(heads, rows, left=3)}\n"
    )
    (folder / "table.md").write_text(text)
    console.print(text, markup=False)
    return folder


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.speed.decoding")))


if __name__ == "__main__":
    sys.exit(main())
