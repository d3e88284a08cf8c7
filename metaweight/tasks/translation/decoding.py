"""From sentences to translations: encode, search in batches of like length, decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from metaweight.core.plain_text import is_empty
from metaweight.core.processes import ALONE, Processes
from metaweight.data.text.vocabulary import BOS, EOS, PADDING, Vocabularies
from metaweight.models.beam_search import Hypothesis, beam_search
from metaweight.models.transformer import Transformer


def translate(
    module: Transformer,
    vocabularies: Vocabularies,
    sentences: Sequence[str],
    *,
    beam: int = 5,
    length_penalty: float = 1.0,
    nbest: int = 1,
    batch_tokens: int = 4096,
    max_source: int = 1024,
    processes: Processes = ALONE,
) -> list[list[tuple[str, float]]]:
    """Up to ``nbest`` (translation, score), best first, of each sentence; an empty one (``is_empty``: it may
    hold white space of any kind) stays empty.

    ``batch_tokens``: source pieces of a batch, padding counted; it changes no translation but for rounding.
    ``processes``: those that share the work, each a batch in turn; all give all translations.
    See ``beam_search`` for the score and the other options.  Raises ValueError for a sentence of more than
    ``max_source`` pieces, with its line.
    """
    encoded = vocabularies.source.encode(["" if is_empty(text) else text for text in sentences])
    for line, pieces in enumerate(encoded, start=1):
        if len(pieces) > max_source:
            raise ValueError(
                f"line {line} has {len(pieces)} pieces, more than max_source={max_source}: split it, "
                "or allow more"
            )
    device = next(module.parameters()).device
    translations: dict[int, list[Hypothesis]] = {}
    batches = _batches([len(pieces) for pieces in encoded], batch_tokens)
    for rows in islice(batches, processes.rank, None, processes.size):
        width = max(len(encoded[row]) for row in rows) + 1
        padded = [[*encoded[row], EOS, *[PADDING] * (width - 1 - len(encoded[row]))] for row in rows]
        source = torch.tensor(padded, dtype=torch.int64, device=device)
        hypotheses = beam_search(
            module,
            source,
            beam=beam,
            length_penalty=length_penalty,
            nbest=nbest,
            bos=BOS,
            eos=EOS,
            padding=PADDING,
        )
        translations.update(zip(rows, hypotheses, strict=True))
    translations = {row: found for part in processes.of_all(translations) for row, found in part.items()}
    return [
        list(
            zip(_decoded(vocabularies, translations[row]), (h.score for h in translations[row]), strict=True)
        )
        if row in translations
        else [("", 0.0)]
        for row in range(len(sentences))
    ]


def one_line(text: str) -> str:
    """``text`` as a line of a file: a line end inside, which CSV and JSON may hold, becomes a space."""
    return " ".join(text.splitlines())


def _decoded(vocabularies: Vocabularies, hypotheses: Sequence[Hypothesis]) -> list[str]:
    return vocabularies.target.decode([hypothesis.tokens for hypothesis in hypotheses])


def _batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Positions of the sentences that are not empty, longest first, in batches of padded ``tokens``."""
    order = sorted((row for row, n in enumerate(lengths) if n), key=lambda row: -lengths[row])
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) + 1) * (lengths[batch[0]] + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
