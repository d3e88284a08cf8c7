"""Vocabulary: SentencePiece models trained in memory from the training text, kept with the run."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import sentencepiece

from metaweight.core.atomic import whole_file
from metaweight.core.plain_text import is_empty
from metaweight.core.registry import did_you_mean
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.spans import Cut, cut

PADDING, UNKNOWN, BOS, EOS = 0, 1, 2, 3
USUAL_SIZE = 1500
_MODELS = ("unigram", "bpe")
_TOO_LARGE = re.compile(r"Vocabulary size too high .*<= (\d+)")
_TOO_SMALL = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
# The digest is protobuf field 999 (in the range that SentencePiece leaves to extensions), 16 bytes long:
# any SentencePiece reads the file and skips it.
_SEAL = b"\xba\x3e\x10"
_DIGEST = 16


@dataclass(frozen=True)
class Vocabulary:
    """A SentencePiece model: sentences to ids of pieces and back; padding 0, unknown 1, bos 2, eos 3.

    ``model`` is what the file holds: SentencePiece's own format and a digest.  Without the digest a file cut
    between two pieces would load as a smaller vocabulary.  Equal models are equal vocabularies.
    Raises ValueError where ``model`` was not made by ``train_vocabulary`` or is damaged.
    """

    model: bytes = field(repr=False)
    _processor: sentencepiece.SentencePieceProcessor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        body = self.model[: -_DIGEST - len(_SEAL)]
        if not body or _sealed(body) != self.model:
            raise ValueError("the SentencePiece model is damaged, or metaweight did not train it")
        processor = sentencepiece.SentencePieceProcessor(model_proto=body)
        object.__setattr__(self, "_processor", processor)

    def __len__(self) -> int:
        return len(self._processor)

    @property
    def ending(self) -> str:
        """Of the name of its file."""
        return ".model"

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of each sentence, without bos and eos; a character never seen is unknown (or its bytes)."""
        if isinstance(sentences, str):
            raise TypeError(f"encode takes a sequence of sentences, got one string {sentences[:40]!r}")
        # one thread: the answer is the same with more, and other runs share the machine
        ids: list[list[int]] = self._processor.encode(list(sentences), num_threads=1)
        return ids

    def cut(self, sentence: str) -> Cut:
        """The pieces of a sentence, as ``encode`` has them, with its characters that each stands for."""
        return cut(self._processor, sentence)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Detokenised text of each row of ids; padding, bos and eos say nothing, unknown is ⁇ between spaces.

        Raises IndexError for an id outside the vocabulary.
        """
        rows, size = [list(row) for row in ids], len(self)
        for number in chain.from_iterable(rows):
            if not 0 <= number < size:
                raise IndexError(f"id {number} is outside a vocabulary of {size} pieces")
        texts: list[str] = self._processor.decode(rows, num_threads=1)
        return texts

    def save(self, path: Path) -> None:
        """Write the model, whole or not at all; SentencePiece's own tools read the file too."""
        with whole_file(path) as file:
            file.write(self.model)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Raises FileNotFoundError where there is no such file, ValueError where it is damaged."""
        if not path.is_file():
            raise FileNotFoundError(
                f"the SentencePiece model {path} is missing: it is kept with the run and nothing else fits "
                "the run's weights; copy it from where the run was made"
            )
        try:
            return cls(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}; copy it again from where the run was made") from error


@dataclass(frozen=True)
class Vocabularies:
    """Those of the two sides; ``joint``: one and the same.

    Raises ValueError for a joint pair that differs.
    """

    source: Vocabulary
    target: Vocabulary
    joint: bool

    def __post_init__(self) -> None:
        if self.joint and self.source != self.target:
            raise ValueError("a joint vocabulary is one for both sides, got two that differ; use joint=False")

    def save(self, folder: Path) -> None:
        """Write ``joint.model``, or ``source.model`` and ``target.model``, into a folder made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, vocabulary in self._files():
            vocabulary.save(folder / f"{name}.model")

    @classmethod
    def load(cls, folder: Path) -> Vocabularies:
        """Raises as ``Vocabulary.load``, and ValueError for a folder with a joint model and others."""
        sides = [folder / "source.model", folder / "target.model"]
        joint = folder / "joint.model"
        files = [path.name for path in sides if path.exists()]
        if joint.exists() and files:
            raise ValueError(
                f"{folder} holds joint.model and {files[0]}: keep those that the run was made with"
            )
        if files:
            source, target = map(Vocabulary.load, sides)
            return cls(source, target, joint=False)
        both = Vocabulary.load(joint)
        return cls(both, both, joint=True)

    def _files(self) -> Iterator[tuple[str, Vocabulary]]:
        if self.joint:
            yield "joint", self.source
        else:
            yield from (("source", self.source), ("target", self.target))


def train_vocabulary(
    sentences: Iterable[str],
    size: int,
    *,
    model: str = "unigram",
    byte_fallback: bool = False,
    character_coverage: float = 1.0,
    at_most: bool = False,
) -> Vocabulary:
    """A vocabulary of ``size`` pieces (special ones included); equal text gives an equal one, bit for bit.

    ``at_most``: text that allows no more than fewer gets these.

    ``model``: "unigram" (Kudo, 2018) or "bpe" (Sennrich et al., 2016).  ``byte_fallback``: an unseen
    character becomes its UTF-8 bytes (256 of the pieces) instead of unknown.  ``character_coverage``: the
    share of the text's characters that get a piece.  Sentences that show nothing (see ``is_empty``) are left
    out.

    Text is not normalised (rule "identity"): nmt_nfkc would turn ``…`` into three dots, ``½`` into 1⁄2 and a
    no-break space into a space, so that a perfect translation would differ from its reference.  Hence
    ``decode(encode(text)) == text`` for text of known characters without ``▁`` (SentencePiece's sign of a
    space) and without double, leading or trailing spaces.

    Raises ValueError for empty text, an unknown model, a coverage outside (0, 1] and a size that is too small
    or more than the text allows (with the largest or smallest that SentencePiece names).
    """
    if model not in _MODELS:
        raise ValueError(f"unknown vocabulary model {model!r}.{did_you_mean(model, _MODELS)}")
    if not 0 < character_coverage <= 1:
        raise ValueError(f"character_coverage is a share in (0, 1], got {character_coverage}")
    if size <= EOS + 1:
        raise ValueError(f"vocab_size is more than the {EOS + 1} special pieces, got {size}")
    if isinstance(sentences, str):
        raise TypeError(f"sentences is a sequence of sentences, got one string {sentences[:40]!r}")
    text = [sentence for sentence in sentences if not is_empty(sentence)]
    if not text:
        raise ValueError("a vocabulary is learnt from text, got no sentence that is not empty")
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text),
            model_writer=written,
            vocab_size=size,
            model_type=model,
            byte_fallback=byte_fallback,
            character_coverage=character_coverage,
            normalization_rule_name="identity",
            pad_id=PADDING,
            unk_id=UNKNOWN,
            bos_id=BOS,
            eos_id=EOS,
            # longer sentences are left out without a word, by default those above 4,192 bytes; 10 at least
            max_sentence_length=max(10, *(len(sentence.encode()) for sentence in text)),
            num_threads=1,  # the number decides the order of sums, and is written into the model
            minloglevel=2,  # what is an error arrives as RuntimeError
        )
    except RuntimeError as error:
        match = _TOO_LARGE.search(str(error))
        if at_most and match is not None:
            return train_vocabulary(
                text,
                int(match[1]),
                model=model,
                byte_fallback=byte_fallback,
                character_coverage=character_coverage,
            )
        raise _size_error(str(error), size) from error
    return Vocabulary(_sealed(written.getvalue()))


def train_vocabularies(
    bitext: Bitext,
    size: int,
    *,
    joint: bool = True,
    model: str = "unigram",
    byte_fallback: bool = False,
    character_coverage: float = 1.0,
) -> Vocabularies:
    """One vocabulary of the text of both sides, or (``joint=False``) one of ``size`` for each side.

    ``size`` 0: ``USUAL_SIZE``, or as many pieces as the text has.  The rest and the errors: see
    ``train_vocabulary``.
    """

    def learn(sentences: Iterable[str]) -> Vocabulary:
        return train_vocabulary(
            sentences,
            size or USUAL_SIZE,
            model=model,
            byte_fallback=byte_fallback,
            character_coverage=character_coverage,
            at_most=size == 0,
        )

    if joint:
        both = learn(chain(bitext.source, bitext.target))
        return Vocabularies(both, both, joint=True)
    return Vocabularies(learn(bitext.source), learn(bitext.target), joint=False)


def _size_error(message: str, size: int) -> Exception:
    """SentencePiece's complaint about the vocabulary's size in our words; others as they are."""
    if match := _TOO_LARGE.search(message):
        return ValueError(
            f"vocab_size {size} is more than the text allows: SentencePiece finds {match[1]} pieces in it; "
            f"use at most {match[1]}, or more text"
        )
    if match := _TOO_SMALL.search(message):
        return ValueError(
            f"vocab_size {size} is too small: characters and special pieces alone are {match[1]}; "
            f"use at least {match[1]}, or a character_coverage below 1, such as 0.9995"
        )
    return RuntimeError(f"SentencePiece cannot learn a vocabulary of this text: {message}")


def _sealed(body: bytes) -> bytes:
    return body + _SEAL + hashlib.blake2b(body, digest_size=_DIGEST).digest()
