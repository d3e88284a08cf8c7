"""``metaweight translate`` and ``metaweight score``: what a translation run is for."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from metaweight.cli.streams import write_out
from metaweight.core.console import Terminal
from metaweight.data.text.files import read_lines
from metaweight.data.text.vocabulary import Vocabularies
from metaweight.models.transformer import Transformer
from metaweight.student.execution.execution import require_device
from metaweight.tasks.config import TranslationConfig, config_from
from metaweight.tasks.translation.bleu import bleu_statistics, bootstrap_interval, score
from metaweight.tasks.translation.decoding import one_line, translate
from metaweight.tasks.translation.rating import build_module
from metaweight.tasks.translation.tokenizers import tokenizer_of
from metaweight.training import checkpoint
from metaweight.training.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Translate:
    """A translation run, and how to search; a call translates the lines of standard input."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder of `metaweight train --task translation`."""
    beam: int | None = None
    """Width of the search; 1 is greedy. Default: the run's."""
    length_penalty: float | None = None
    """Power of the length that log probability is divided by. Default: the run's."""
    nbest: int = 1
    """Print so many translations a line, each as LINE ||| TRANSLATION ||| SCORE; lines count from 0."""
    max_source: int = 1024
    """Longest source that is translated, in pieces."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; default: the run's."""

    def __call__(self) -> None:
        config, module, vocabularies = load_translator(self.run, device=self.device)
        sentences = _read_standard_input()
        beam = config.beam if self.beam is None else self.beam
        hypotheses = translate(
            module,
            vocabularies,
            sentences,
            beam=max(beam, self.nbest) if self.beam is None else beam,
            length_penalty=config.length_penalty if self.length_penalty is None else self.length_penalty,
            nbest=self.nbest,
            max_source=self.max_source,
        )
        lines = []
        for number, best in enumerate(hypotheses):
            for text, value in best:
                text = one_line(text)
                lines.append(text if self.nbest == 1 else f"{number} ||| {text} ||| {value:.4f}")
        write_out("".join(f"{line}\n" for line in lines).encode())


@dataclass(frozen=True, kw_only=True)
class Score:
    """Two files; a call prints BLEU and chrF with their signatures."""

    hypothesis: Annotated[str, tyro.conf.Positional]
    """File of translations, detokenised, a line each."""
    reference: Annotated[str, tyro.conf.Positional]
    """File of as many references."""
    tokenize: str | None = None
    """BLEU's tokenizer, by sacrebleu's name (13a, zh, ja-mecab, ko-mecab, char, flores200, ...); default:
    that of --language, or of the script of the references."""
    language: str | None = None
    """Language of the references, as a code: zh, ja, ko, th, ..."""

    def __call__(self) -> None:
        lines = read_lines(self.hypothesis, self.reference)
        tokenizer = tokenizer_of(lines.target, language=self.language, asked=self.tokenize)
        scores = score(lines.source, lines.target, tokenize=tokenizer.name)
        low, high = bootstrap_interval(bleu_statistics(lines.source, lines.target, tokenize=tokenizer.name))
        table = Table("score", "", "95 % interval", "what it is")
        table.add_row("BLEU", f"{scores.bleu:.1f}", f"{low:.1f} to {high:.1f}", "signature below")
        table.add_row("chrF", f"{scores.chrf:.1f}", "", "signature below")
        lengths = f"{scores.hypothesis_length:,} / {scores.reference_length:,}"
        table.add_row("tokens", lengths, "", f"translated / reference, {scores.sentences:,} sentences")
        table.add_row("tokenizer", tokenizer.name, "", tokenizer.reason)
        if scores.blank_hypotheses or scores.blank_references:
            blank = f"{scores.blank_hypotheses:,} / {scores.blank_references:,}"
            table.add_row("blank", blank, "", "lines that show nothing, translated / reference")
        console = Terminal()
        console.print(table)
        for name, signature in (("BLEU", scores.bleu_signature), ("chrF", scores.chrf_signature)):
            console.print(f"{name}: {signature}", soft_wrap=True)  # whole, to be copied


def load_translator(
    path: str, *, device: str | None = None
) -> tuple[TranslationConfig, Transformer, Vocabularies]:
    """The student of a translation run as its last checkpoint has it, with its config and vocabularies.

    ``device``: by default the one that the run was trained on.  Raises ValueError for a run of another task
    and a device that is not there, FileNotFoundError where vocabulary or folder is missing, CheckpointError
    where the checkpoint does not fit.
    """
    folder = RunFolder.open(path)
    about = folder.manifest()
    if about.get("task") != TranslationConfig.task:
        raise ValueError(f"{path} is a run of the task {about.get('task', 'image')}: name a translation run")
    config = config_from(TranslationConfig, about["config"], folder.path / "manifest.json")
    config = config if device is None else replace(config, device=device)
    require_device(config.device)
    vocabularies = Vocabularies.load(Path(path))
    module = build_module(config, vocabularies)
    shapes = checkpoint.shapes_of("student", module.state_dict())
    state = checkpoint.load(Path(path) / "checkpoint.pt", shapes, part="student")
    module.load_state_dict(state["reweighter"]["student"])
    return config, module.eval(), vocabularies


def _read_standard_input() -> list[str]:
    """Lines as UTF-8.  Raises ValueError that names the line where they are not, or where there are none to
    come."""
    if sys.stdin is None:
        raise ValueError("standard input is closed: give the sentences to translate, a line each")
    lines = sys.stdin.buffer.read().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    sentences = []
    for number, line in enumerate(lines, start=1):
        try:
            sentences.append(line.removesuffix(b"\r").decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"standard input, line {number} is not UTF-8: {error.reason}") from None
    return sentences
