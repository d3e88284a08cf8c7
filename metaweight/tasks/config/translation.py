"""The options of a translation run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metaweight.tasks.config.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(RunConfig):
    """Everything that decides a translation run."""

    task: ClassVar[str] = "translation"
    places: ClassVar[tuple[str, ...]] = ("data", "train", "meta", "valid", "test")

    data: str = "cldr"
    """cldr, tsv:PATH, hf:NAME, or a set that --import brings; or give train and meta."""
    train: str | tuple[str, str] | None = None
    """File of training pairs: .tsv, .csv, .jsonl or .parquet, also .gz, .xz, .bz2, .zst; or two plain ones,
    SOURCE TARGET."""
    meta: str | tuple[str, str] | None = None
    """File, or two, of trusted pairs that drive the teacher."""
    valid: str | tuple[str, str] | None = None
    """File, or two, of trusted pairs for model selection; without it there is none."""
    test: str | tuple[str, str] | None = None
    """File, or two, of trusted pairs that are translated and scored at the end; default: those of valid."""
    columns: tuple[str, str] | None = None
    """Columns of source and target in these files, a.b for b inside of a; default: those called source and
    target (src, tgt) or like the languages, else the two that there are."""
    languages: tuple[str, str] | None = None
    """Source and target language; default: the data set's."""
    overlap: str = "error"
    """What to do where train shares a sentence with meta, valid or test: error, or drop the pairs."""
    train_size: int | None = None
    """Training pairs; default: all that the other sets leave (cldr: 10,000)."""
    meta_size: int = 500
    """Trusted pairs that drive the teacher."""
    valid_size: int = 500
    """Trusted pairs for model selection."""
    test_size: int | None = None
    """Test pairs; default: the data set's own, or 1,000."""
    noise: str = "none"
    """none, mixed, all, or kinds with shares: misaligned*2+copied+truncated (shuffled, doubled,
    wrong-language, out-of-domain)."""
    noise_rate: float = 0.4
    """Share of bad pairs."""
    unit: str = "sentence"
    """What gets a weight: sentence or token."""
    vocab_size: int = 0
    """Pieces of the SentencePiece model; 0: 1,500, or as many as the text has."""
    vocab_model: str = "unigram"
    """unigram or bpe."""
    joint_vocab: bool = True
    """One vocabulary for both languages."""
    character_coverage: float = 1.0
    """Share of the text's characters that get a piece, the rest is unknown; Chinese and Japanese: 0.9995."""
    byte_fallback: bool = False
    """Spell unknown characters in bytes."""
    model: str = "transformer-tiny"
    """transformer-tiny, transformer-small, transformer-base or transformer-iwslt."""
    smoothing: float = 0.1
    """Label smoothing."""
    teacher_lr: float = 3e-3
    epochs: int = 10
    warmup_epochs: int = 2
    batch_size: int = 64
    """Training pairs a step, unless max_tokens is given."""
    max_tokens: int | None = None
    """Padded tokens a step, of the longer side."""
    meta_batch_size: int = 64
    """Trusted pairs a step."""
    optimizer: str = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    lr_schedule: str = "inverse-sqrt"
    lr_warmup_steps: int = 200
    max_norm: float | None = 1.0
    """Clip the student's gradient to this 2-norm."""
    beam: int = 5
    """Width of the search in decoding; 1 is greedy."""
    length_penalty: float = 1.0
    """Power of the length that a hypothesis' log probability is divided by."""
    tokenize: str | None = None
    """BLEU's tokenizer, by sacrebleu's name (13a, zh, ja-mecab, ko-mecab, char, flores200, ...); default: the
    target language's, or that of the script of the references."""
