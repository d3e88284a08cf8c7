"""Beam search over a whole batch of sentences with the decoder's key/value cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.contracts import NonFiniteError
from metaweight.core.modes import evaluating
from metaweight.models.transformer import Transformer

_GROUP = 16
"""Numbers a group, where the greatest of a long row are looked for."""
_PIECE = 1024
"""Tokens whose probabilities are added up at once."""


@dataclass(frozen=True)
class Hypothesis:
    """A translation: its tokens without bos and eos, and its score (greater is better)."""

    tokens: tuple[int, ...]
    score: float


def twice_and_ten(source_length: int) -> int:
    """2 n + 10, the default limit on a hypothesis of a source of n tokens."""
    return 2 * source_length + 10


def beam_search(
    model: Transformer,
    source: Tensor,
    *,
    beam: int = 5,
    max_length: int | Callable[[int], int] = twice_and_ten,
    length_penalty: float = 1.0,
    nbest: int = 1,
    bos: int = 2,
    eos: int = 3,
    padding: int = 0,
) -> list[list[Hypothesis]]:
    """Up to ``nbest`` translations, best first, of each row of ``source`` [B, S] (right-padded ids).

    A step ranks all continuations of a sentence's ``beam`` prefixes by log probability: of the best
    ``beam``, those that end with eos are finished; the best ``beam`` others live on.  With ``beam`` 1
    that is greedy search.  score = log probability / length ** length_penalty, where the length counts
    eos; padding and bos are never emitted and take their probability with them.  A sentence ends when
    ``beam`` of its hypotheses are finished, when no prefix can still beat the ``nbest`` best of them, or
    at ``max_length`` tokens, eos counted (a number, or a function of the source's length without
    padding); only if nothing finished by then, its prefixes count as they are, without eos.
    The model runs in eval mode without gradients and gets its mode back; no other row of the batch has
    an influence.  Raises ValueError for a bad option or a row that is all padding, NonFiniteError where
    the model gives NaN.
    """
    if not 1 <= nbest <= beam:
        raise ValueError(f"nbest is 1..beam, got nbest {nbest} and beam {beam}")
    if not math.isfinite(length_penalty):
        raise ValueError(f"length_penalty is finite, got {length_penalty}")
    if source.dim() != 2:
        raise ValueError(f"source has shape [B, S], got {tuple(source.shape)}")
    if len(source) == 0:
        return []
    lengths = (source != padding).sum(dim=1).tolist()
    if min(lengths) == 0:
        raise ValueError(f"row {lengths.index(0)} of the source is all padding ({padding})")
    limits = [max_length(n) if callable(max_length) else max_length for n in lengths]
    if min(limits) < 1:
        raise ValueError(f"max_length is 1 or more, got {min(limits)}")
    searches = [_Finished(limit, beam, nbest, length_penalty) for limit in limits]
    with torch.no_grad(), evaluating(model):
        _search(model, source, searches, beam=beam, bos=bos, eos=eos, padding=padding)
    return [finished.best() for finished in searches]


def _search(
    model: Transformer,
    source: Tensor,
    searches: list[_Finished],
    *,
    beam: int,
    bos: int,
    eos: int,
    padding: int,
) -> None:
    """Fill ``kept``, one for each row of the source.  B sentences are left, with ``beam`` prefixes each."""
    cache = model.start(model.encode(source), source, beams=beam)
    prefixes = source.new_full((len(source), beam, 1), bos)
    scores: Tensor | None = None
    while searches:
        logits = model.step(prefixes[:, :, -1].flatten(), cache)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if scores is None:  # all prefixes are the same bos: one is enough
            scores = logits.new_full(prefixes.shape[:2], -math.inf)
            scores[:, 0] = 0.0
        # each prefix ends in one way only, so of 2 * beam continuations at least beam do not end
        top, parent, token = _continuations(logits, scores, 2 * beam, never=(padding, bos))
        if bool(top.isnan().any()):
            raise NonFiniteError("the model gives logits that are NaN: look for NaN in its parameters")
        ends = token == eos
        for row, rank in (ends & top.isfinite())[:, :beam].nonzero().tolist():
            searches[row].add(prefixes[row, int(parent[row, rank]), 1:], float(top[row, rank]), eos=True)
        going = ends.to(torch.int8).argsort(dim=1, stable=True)[:, :beam]
        scores, parent, token = top.gather(1, going), parent.gather(1, going), token.gather(1, going)
        parent_prefixes = prefixes.gather(1, parent[:, :, None].expand(-1, -1, prefixes.shape[2]))
        prefixes = torch.cat([parent_prefixes, token[:, :, None]], dim=2)
        stay = [
            i
            for i, best in enumerate(scores[:, 0].tolist())
            if not searches[i].done(best, prefixes.shape[2] - 1)
        ]
        rows = torch.arange(len(searches), device=parent.device)[:, None] * beam + parent
        if len(stay) == len(searches):
            if beam > 1:
                cache.reorder(rows.flatten())
            continue
        for i in set(range(len(searches))) - set(stay):
            searches[i].close(prefixes[i], scores[i])
        searches, rest = (
            [searches[i] for i in stay],
            torch.tensor(stay, dtype=torch.int64, device=rows.device),
        )
        cache.select(rows[rest].flatten())
        prefixes, scores = prefixes[rest], scores[rest]


def _continuations(
    logits: Tensor, scores: Tensor, count: int, never: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` best continuations of each sentence: log probabilities, prefixes and tokens, [B, count].

    ``logits`` [B * beam, V] are overwritten; ``scores`` [B, beam] are the prefixes' log probabilities.
    Tokens of ``never`` have a probability and are not chosen.
    """
    greatest = logits.amax(dim=1, keepdim=True)
    # piece by piece: a whole copy of the logits costs more than what is done with it
    total = sum((piece - greatest).exp_().sum(dim=1, keepdim=True) for piece in logits.split(_PIECE, dim=1))
    normaliser = greatest + total.log()
    for token in never:
        logits[:, token] = -math.inf
    values, tokens = largest(logits, min(count, logits.shape[1]))
    totals = (values - normaliser).view(*scores.shape, -1) + scores[:, :, None]
    top, place = totals.flatten(1).topk(min(count, totals[0].numel()), dim=1)
    return top, place // totals.shape[2], tokens.view(len(scores), -1).gather(1, place)


def largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``values.topk(count)`` of each row of [R, V], and faster where a row is long.

    Of the ``count`` greatest numbers none lies outside of the ``count`` groups with the greatest maxima.
    """
    groups = values.shape[1] // _GROUP
    if groups <= 2 * count:
        return values.topk(count, dim=1)
    inside = groups * _GROUP
    # number j of group g stands at j * groups + g, so that maxima are taken of whole vectors
    best = values[:, :inside].unflatten(1, (_GROUP, groups)).amax(dim=1).topk(count, dim=1).indices
    members = torch.arange(0, inside, groups, device=values.device)[:, None] + best[:, None, :]
    rest = torch.arange(inside, values.shape[1], device=values.device).expand(len(values), -1)
    places = torch.cat([members.flatten(1), rest], dim=1)
    top, chosen = values.gather(1, places).topk(count, dim=1)
    return top, places.gather(1, chosen)


class _Finished:
    """The finished hypotheses of one sentence, and whether it needs more."""

    def __init__(self, limit: int, beam: int, nbest: int, length_penalty: float) -> None:
        self.limit, self.beam, self.nbest, self.length_penalty = limit, beam, nbest, length_penalty
        self.hypotheses: list[Hypothesis] = []

    def add(self, tokens: Tensor, log_probability: float, *, eos: bool) -> None:
        score = self._score(log_probability, len(tokens) + eos)
        self.hypotheses.append(Hypothesis(tuple(tokens.tolist()), score))

    def best(self) -> list[Hypothesis]:
        return sorted(self.hypotheses, key=lambda h: -h.score)[: self.nbest]

    def done(self, log_probability: float, length: int) -> bool:
        """Whether prefixes of ``length`` tokens, the best of which has ``log_probability``, may stop."""
        if length >= self.limit or len(self.hypotheses) >= self.beam or log_probability == -math.inf:
            return True
        if len(self.hypotheses) < self.nbest:
            return False
        # a log probability only falls, and the penalty is monotone in the length
        hope = max(self._score(log_probability, n) for n in (length + 1, self.limit))
        return hope <= self.best()[-1].score

    def close(self, prefixes: Tensor, scores: Tensor) -> None:
        """At the end: where nothing is finished, the prefixes [beam, 1 + length] are what there is."""
        if not self.hypotheses:
            for prefix, score in zip(prefixes, scores.tolist(), strict=True):
                if score > -math.inf:
                    self.add(prefix[1:], score, eos=False)

    def _score(self, log_probability: float, length: int) -> float:
        return float(log_probability / length**self.length_penalty)
