"""Beam search against an uncached search of one sentence and against all sentences there are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from slowly import covering
from torch import Tensor

from metaweight.core.contracts import NonFiniteError
from metaweight.models.beam_search import Hypothesis, beam_search, largest
from metaweight.models.transformer import Cache, Transformer

PADDING, UNKNOWN, BOS, EOS = range(4)


class Biased(Transformer):
    """A Transformer whose ``step`` adds a bonus [V] to the logits and counts its calls."""

    bonus: Tensor | float = 0.0
    calls = 0

    def forward(self, source: Tensor, shifted: Tensor) -> Tensor:
        return super().forward(source, shifted) + self.bonus

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        self.calls += 1
        return super().step(tokens, cache) + self.bonus


def built(size: int = 9, *, seed: int = 0, dropout: float = 0.0, sharpness: float = 3.0) -> Biased:
    torch.manual_seed(seed)
    model = Biased(size, size, width=16, heads=2, feedforward=24, tie="none", dropout=dropout).double()
    with torch.no_grad():
        model.head.weight.mul_(sharpness)
    return model.eval()


def bonus(**amounts: float) -> Tensor:
    """``bonus(eos=3.0)``: what ``Biased`` adds, for 9 tokens."""
    ids = {"padding": PADDING, "bos": BOS, "eos": EOS}
    values = torch.zeros(9, dtype=torch.float64)
    for name, amount in amounts.items():
        values[ids[name]] = amount
    return values


def sources(size: int = 9, count: int = 6) -> Tensor:
    """Ids [count, 7], right-padded, of lengths 1 to 7."""
    g = torch.Generator().manual_seed(count)
    ids = torch.randint(4, size, (count, 7), generator=g)
    lengths = torch.arange(count) * 5 % 7 + 1
    return ids.masked_fill(torch.arange(7) >= lengths[:, None], PADDING)


def log_probability(model: Transformer, source: Tensor, tokens: tuple[int, ...]) -> Tensor:
    """Of each next token [V] after ``tokens``, for one source [S]: without the cache."""
    real = source[source != PADDING][None]
    with torch.no_grad():
        return model(real, torch.tensor([[BOS, *tokens]]))[0, -1].log_softmax(dim=0)


def reference(
    model: Transformer, source: Tensor, *, beam: int, limit: int, penalty: float, nbest: int
) -> list[Hypothesis]:
    """One sentence, Python lists, every prefix run afresh, no stop before ``beam`` are finished."""
    beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[Hypothesis] = []
    for length in range(1, limit + 1):
        ranked = sorted(
            (
                (total + float(p), (*tokens, token))
                for total, tokens in beams
                for token, p in enumerate(log_probability(model, source, tokens))
                if token not in (PADDING, BOS)
            ),
            reverse=True,
        )
        finished += [
            Hypothesis(tokens[:-1], total / length**penalty)
            for total, tokens in ranked[:beam]
            if tokens[-1] == EOS
        ]
        beams = [(total, tokens) for total, tokens in ranked if tokens[-1] != EOS][:beam]
        if len(finished) >= beam:
            break
    finished = finished or [Hypothesis(tokens, total / length**penalty) for total, tokens in beams]
    return sorted(finished, key=lambda h: -h.score)[:nbest]


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [h.tokens for h in found] == [h.tokens for h in expected]
    torch.testing.assert_close([h.score for h in found], [h.score for h in expected], rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("eos", "beam", "nbest", "penalty"),
    covering([0.0, 1.5], [(1, 1), (2, 1), (3, 3), (5, 2)], [0.0, 0.6, 2.0, -0.5], pairs=True),
)
def test_equals_an_uncached_search_of_each_sentence(
    eos: float, beam: int, nbest: int, penalty: float
) -> None:
    model, batch = built(seed=beam), sources()
    model.bonus = bonus(eos=eos)
    options = {"beam": beam, "nbest": nbest, "length_penalty": penalty}
    found = beam_search(model, batch, max_length=lambda n: n + 2, **options)
    for row, source in zip(found, batch, strict=True):
        limit = int((source != PADDING).sum()) + 2
        assert_same(row, reference(model, source, beam=beam, limit=limit, penalty=penalty, nbest=nbest))


@pytest.mark.parametrize("size", [141, 1100])
def test_a_large_vocabulary_is_searched_as_a_small_one(size: int) -> None:
    """Where the greatest of a row are looked for by groups, and its probabilities are added up in pieces."""
    model, batch = built(size, seed=2), sources(size)
    found = beam_search(model, batch, beam=2, nbest=2, max_length=4)
    for row, source in zip(found, batch, strict=True):
        assert_same(row, reference(model, source, beam=2, limit=4, penalty=1.0, nbest=2))


@pytest.mark.parametrize(("size", "count"), [(97, 3), (1000, 10), (1007, 10), (1015, 1), (320, 10), (5, 4)])
def test_the_largest_of_long_rows_are_those_of_topk(size: int, count: int) -> None:
    g = torch.Generator().manual_seed(size)
    rows = torch.randn(40, size, generator=g, dtype=torch.float64)
    rows[10:20] = rows[10:20].masked_fill(torch.rand(10, size, generator=g) < 0.9, -math.inf)
    rows[20] = torch.arange(size)  # all at the end, where no group may be
    rows[21] = -rows[20]
    rows[22] = -math.inf
    rows[23, size // 2] = math.nan
    values, places = largest(rows, count)
    expected = rows.topk(count, dim=1).values
    torch.testing.assert_close(values, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(rows.gather(1, places), values, rtol=0, atol=0, equal_nan=True)
    assert all(len(set(row)) == count for row in places.tolist())


def test_a_beam_wide_enough_finds_the_best_of_all_sentences() -> None:
    """Three tokens and eos: 1 + 3 + 9 + 27 + 81 sentences of up to 4 tokens."""
    model, batch = built(6, sharpness=2.0), sources(6, 2)
    longest = torch.tensor(list(itertools.product((1, 4, 5), repeat=4)))
    starts = torch.cat([torch.full((81, 1), BOS), longest], dim=1)
    totals: list[dict[tuple[int, ...], float]] = []
    for source in batch:
        real = source[source != PADDING].expand(81, -1)
        with torch.no_grad():
            steps = model(real, starts).log_softmax(dim=-1)
        taken = steps[:, :4].gather(2, longest[:, :, None]).squeeze(2)
        totals.append({})
        for row, n in itertools.product(range(81), range(5)):
            totals[-1][tuple(longest[row, :n].tolist())] = float(taken[row, :n].sum() + steps[row, n, EOS])
    for penalty in (0.0, 0.7, 1.0, 2.0):
        found = beam_search(model, batch, beam=150, nbest=10, max_length=5, length_penalty=penalty)
        for row, total in zip(found, totals, strict=True):
            assert len(total) == 121
            every = [Hypothesis(t, value / (len(t) + 1) ** penalty) for t, value in total.items()]
            assert_same(row, sorted(every, key=lambda h: -h.score)[:10])


def test_a_beam_of_one_is_greedy() -> None:
    model, batch = built(), sources()
    for source, (hypothesis,) in zip(batch, beam_search(model, batch, beam=1), strict=True):
        tokens, total, limit = (), 0.0, 2 * int((source != PADDING).sum()) + 10
        while len(tokens) < limit and EOS not in tokens:
            p = log_probability(model, source, tokens)
            p[[PADDING, BOS]] = -math.inf
            tokens, total = (*tokens, int(p.argmax())), total + float(p.max())
        assert hypothesis.tokens == tuple(t for t in tokens if t != EOS)
        assert hypothesis.score == pytest.approx(total / len(tokens), abs=1e-12)


def test_a_sentence_does_not_depend_on_the_rest_of_its_batch() -> None:
    model, batch = built(), sources()
    together = beam_search(model, torch.nn.functional.pad(batch, (0, 3)), nbest=4)
    for source, row in zip(batch, together, strict=True):
        assert_same(row, beam_search(model, source[source != PADDING][None], nbest=4)[0])
    turned = beam_search(model, batch.flip(0), nbest=4)
    for row, other in zip(together, reversed(turned), strict=True):
        assert_same(row, other)


def test_the_nbest_are_sorted_and_distinct() -> None:
    for row in beam_search(built(), sources(), beam=6, nbest=6):
        assert len({h.tokens for h in row}) == len(row) > 1
        assert [h.score for h in row] == sorted((h.score for h in row), reverse=True)


def test_padding_and_bos_are_never_emitted() -> None:
    model = built()
    model.bonus = bonus(padding=20.0, bos=20.0)
    for row in beam_search(model, sources(), nbest=5):
        assert row
        assert all(not {PADDING, BOS, EOS} & set(h.tokens) for h in row)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_model_that_never_ends_stops_at_the_maximum_length(beam: int) -> None:
    model, batch = built(), sources()
    model.bonus = bonus(eos=-math.inf)
    for source, row in zip(batch, beam_search(model, batch, beam=beam, nbest=beam), strict=True):
        assert len(row) == beam
        for h in row:
            assert len(h.tokens) == 2 * int((source != PADDING).sum()) + 10
            steps = (log_probability(model, source, h.tokens[:i])[t] for i, t in enumerate(h.tokens))
            assert h.score == pytest.approx(float(sum(steps)) / len(h.tokens), abs=1e-12)
    assert model.calls == 2 * 7 + 10


def test_a_prefix_without_eos_counts_only_where_nothing_finished() -> None:
    """One token at most: the empty translation where eos is among the best four, else those four."""
    model, batch = built(), sources()
    model.bonus = bonus(eos=-6.0)
    found = beam_search(model, batch, beam=4, nbest=4, max_length=1)
    for source, row in zip(batch, found, strict=True):
        p = log_probability(model, source, ())
        p[[PADDING, BOS]] = -math.inf
        if EOS in p.topk(4).indices:
            assert [h.tokens for h in row] == [()]
        else:
            assert [h.tokens for h in row] == [(int(t),) for t in p.topk(4).indices]
    assert {len(row) for row in found} == {1, 4}


def test_a_best_hypothesis_that_cannot_be_beaten_ends_the_search() -> None:
    model = built()
    model.bonus = bonus(eos=12.0)
    (best, *_), *_ = beam_search(model, sources(), length_penalty=0.0)
    assert best.tokens == ()
    assert model.calls == 1
    model.calls = 0
    beam_search(model, sources(), length_penalty=0.0, nbest=2)  # the second best is still open
    assert model.calls > 1


@pytest.mark.parametrize(
    ("penalty", "first", "ends_at", "tokens"),
    [
        # log 0.82 / 1 < log 0.16 / 13: only at its full length does the second prefix win
        (1.0, {EOS: 0.82, 4: 0.16, 5: 0.02}, 13, (4,) * 12),
        # 1 log 0.3 < 2 log 0.65: here it wins only if it ends at once
        (-1.0, {EOS: 0.3, 4: 0.65, 5: 0.05}, 2, (4,)),
    ],
)
def test_a_search_goes_on_while_a_prefix_may_still_win(
    penalty: float, first: dict[int, float], ends_at: int, tokens: tuple[int, ...]
) -> None:
    """A script instead of a model: after the first token that token again, and eos as the last one."""

    class Scripted(Biased):
        def step(self, tokens: Tensor, cache: Cache) -> Tensor:
            logits = torch.full_like(super().step(tokens, cache), -30.0)
            if cache.length == 1:
                logits[:, list(first)] = torch.tensor(list(first.values())).double().log()
                return logits
            rows = torch.arange(len(tokens))
            logits[rows, tokens if cache.length < ends_at else EOS] = 0.0
            return logits

    model = Scripted(9, 9, width=16, heads=2).double()
    ((best,),) = beam_search(model, sources()[:1], beam=2, max_length=13, length_penalty=penalty)
    assert best.tokens == tokens
    assert best.score == pytest.approx(math.log(first[4]) / ends_at**penalty, abs=1e-6)


def test_the_model_keeps_its_modes_and_searches_without_dropout() -> None:
    model = built(dropout=0.5)
    quiet = beam_search(model, sources())
    model.train()
    model.encoder.eval()
    modes = [part.training for part in model.modules()]
    assert beam_search(model, sources()) == quiet
    assert [part.training for part in model.modules()] == modes
    model.bonus = math.nan
    with pytest.raises(NonFiniteError, match="NaN"):
        beam_search(model, sources())
    assert [part.training for part in model.modules()] == modes


def test_mistakes_are_named() -> None:
    model, batch = built(), sources()
    with pytest.raises(ValueError, match=r"nbest is 1\.\.beam, got nbest 3 and beam 2"):
        beam_search(model, batch, beam=2, nbest=3)
    with pytest.raises(ValueError, match="max_length is 1 or more, got 0"):
        beam_search(model, batch, max_length=0)
    with pytest.raises(ValueError, match="length_penalty is finite"):
        beam_search(model, batch, length_penalty=math.inf)
    with pytest.raises(ValueError, match="row 1 of the source is all padding"):
        beam_search(model, torch.tensor([[4, 5], [0, 0]]))
    with pytest.raises(ValueError, match=r"shape \[B, S\]"):
        beam_search(model, batch[0])
    assert beam_search(model, batch[:0]) == []
