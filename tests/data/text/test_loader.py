from __future__ import annotations

import itertools
import random

import pytest
import torch

from metaweight.data.seeding import derive
from metaweight.data.text.loader import TextLoader

DRAW = random.Random(0)
N = 240
SOURCE = [[DRAW.randrange(4, 50) for _ in range(DRAW.randrange(1, 15))] for _ in range(N)]
TARGET = [[DRAW.randrange(4, 50) for _ in range(max(0, len(s) + DRAW.randrange(-3, 4)))] for s in SOURCE]
TARGET[7][0] = 1  # an unknown
INDEX = torch.arange(1, N, 2).flip(0)  # 120 odd positions, the last first
PAIRS, TOKENS = {"batch_size": 16}, {"max_tokens": 90}
BOTH = pytest.mark.parametrize("size", [PAIRS, TOKENS], ids=["batch_size", "max_tokens"])


def loader(**options: object) -> TextLoader:
    return TextLoader(SOURCE, TARGET, INDEX, **{"pool": 2, "seed": 5, **options})


def same(one, other) -> bool:
    ours, theirs = (*one.inputs, one.targets, one.index), (*other.inputs, other.targets, other.index)
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def key(pair: int) -> tuple[int, int]:
    """The longer side and the target, eos included."""
    source, target = len(SOURCE[pair]) + 1, len(TARGET[pair]) + 1
    return max(source, target), target


def padded_rows(rows: list[list[int]]) -> list[list[int]]:
    width = max(map(len, rows))
    return [row + [0] * (width - len(row)) for row in rows]


def test_a_batch_by_hand():
    source, target = [[7, 8, 9], [5], [6, 6]], [[4], [10, 11], []]
    batch = TextLoader(source, target, torch.tensor([0, 1, 2]), batch_size=3, shuffle=False).batch(0, 0)
    assert batch.index.tolist() == [2, 1, 0]  # the longer side has 3, 3 and 4 tokens, the target 1, 3 and 2
    assert batch.inputs[0].tolist() == [[6, 6, 3, 0], [5, 3, 0, 0], [7, 8, 9, 3]]
    assert batch.inputs[1].tolist() == [[2, 0, 0], [2, 10, 11], [2, 4, 0]]
    assert batch.targets.tolist() == [[3, 0, 0], [10, 11, 3], [4, 3, 0]]
    assert {t.dtype for t in (*batch.inputs, batch.targets, batch.index)} == {torch.int64}


@BOTH
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_the_sentences_that_the_index_names_with_the_least_padding(size, shuffle):
    for batch in loader(shuffle=shuffle, **size).epoch(1):
        pairs = batch.index.tolist()
        assert batch.inputs[0].tolist() == padded_rows([[*SOURCE[i], 3] for i in pairs])
        assert batch.inputs[1].tolist() == padded_rows([[2, *TARGET[i]] for i in pairs])
        assert batch.targets.tolist() == padded_rows([[*TARGET[i], 3] for i in pairs])


@BOTH
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_epoch_shows_every_own_pair_once_in_equally_many_batches(size, shuffle):
    source = loader(shuffle=shuffle, **size)
    for epoch in range(6):
        batches = list(source.epoch(epoch))
        assert len(batches) == len(source)
        assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == sorted(INDEX.tolist())


def test_batch_size_is_the_size_of_all_batches_but_one():
    for epoch in range(3):
        assert sorted(len(batch) for batch in loader(batch_size=16).epoch(epoch)) == [8, *[16] * 7]
    assert [len(batch) for batch in loader(batch_size=500)] == [120]


def test_drop_last_leaves_out_other_pairs_each_time_not_the_long_ones():
    source, left = loader(batch_size=16, drop_last=True), []
    assert len(source) == 7
    for epoch in range(30):
        batches = list(source.epoch(epoch))
        assert [len(batch) for batch in batches] == [16] * 7
        left.append(set(INDEX.tolist()) - {i for batch in batches for i in batch.index.tolist()})
    assert all(len(pairs) == 8 for pairs in left)
    gone = [key(i)[0] for pairs in left for i in pairs]
    everyone = [key(i)[0] for i in INDEX.tolist()]
    # 240 draws: the standard error is some 0.25 tokens
    assert abs(sum(gone) / len(gone) - sum(everyone) / len(everyone)) < 1


def test_max_tokens_is_never_exceeded_and_no_batch_could_take_the_next_pair():
    for epoch in range(4):
        for batch in loader(**TOKENS).epoch(epoch):
            assert len(batch) * max(batch.inputs[0].shape[1], batch.targets.shape[1]) <= 90
    ordered = list(loader(shuffle=False, **TOKENS).epoch(0))
    for batch, following in itertools.pairwise(ordered):
        longer = key(int(following.index[0]))[0]
        assert (len(batch) + 1) * longer > 90


@BOTH
def test_without_shuffling_all_pairs_are_sorted_by_length_in_every_epoch(size):
    source = loader(shuffle=False, **size)
    seen = torch.cat([batch.index for batch in source.epoch(0)]).tolist()
    assert seen == sorted(INDEX.tolist(), key=key)  # a stable sort: equals stay in the order of the index
    assert all(same(a, b) for a, b in zip(source.epoch(0), source.epoch(3), strict=True))


def test_an_epoch_of_batch_size_is_the_sorted_pools_of_its_permutation():
    generator = derive(5, "order", 2)
    order = INDEX[torch.randperm(120, generator=generator)].tolist()
    pools = [sorted(order[i : i + 32], key=key) for i in range(0, 120, 32)]  # 2 batches of 16
    batches = [pool[i : i + 16] for pool in pools for i in range(0, len(pool), 16)]
    visits = torch.randperm(len(batches), generator=generator).tolist()
    found = [batch.index.tolist() for batch in loader(**PAIRS).epoch(2)]
    assert found == [batches[i] for i in visits]


def test_with_max_tokens_pools_stay_and_only_equals_trade_places():
    source = loader(**TOKENS)
    shapes, members = [], []
    for epoch in range(8):
        batches = list(source.epoch(epoch))
        shapes.append(sorted([key(i) for i in batch.index.tolist()] for batch in batches))
        members.append({frozenset(batch.index.tolist()) for batch in batches})
    assert all(other == shapes[0] for other in shapes)  # the same lengths in the same batches
    assert len({frozenset(batches) for batches in members}) > 1  # yet not the same pairs
    assert shapes[0] != sorted(
        [key(i) for i in batch.index.tolist()] for batch in loader(seed=6, **TOKENS).epoch(0)
    )


def test_sorting_saves_padding_and_larger_pools_save_more():
    def padding(pool: int, size: dict[str, int]) -> float:
        targets = torch.cat([batch.targets.flatten() for batch in loader(pool=pool, **size).epoch(0)])
        return float((targets == 0).double().mean())

    assert padding(1, PAIRS) > 1.2 * padding(2, PAIRS) > 1.4 * padding(8, PAIRS)
    assert padding(1, TOKENS) > padding(8, TOKENS)


@BOTH
def test_epochs_and_seeds_differ(size):
    first, second, other = (
        [batch.index.tolist() for batch in loader(**size, seed=seed).epoch(epoch)]
        for seed, epoch in ((5, 0), (5, 1), (6, 0))
    )
    assert first != second
    assert first != other
    lengths = [max(key(i)[0] for i in batch) for batch in first]
    assert lengths != sorted(lengths)  # short and long batches in turn


@BOTH
def test_batches_do_not_depend_on_what_was_asked_for_before(size):
    count = len(loader(**size))
    forwards = [loader(**size).batch(e, p) for e in range(3) for p in range(count)]
    source = loader(**size)
    backwards = [source.batch(e, p) for e in (2, 1, 0) for p in reversed(range(count))][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert all(same(a, source.at(step)) for step, a in enumerate(forwards))
    resumed = list(source.epoch(1, start=2))
    assert all(same(a, b) for a, b in zip(resumed, forwards[count + 2 : 2 * count], strict=True))


def test_iterating_gives_the_next_epoch_each_time():
    source = loader(**PAIRS)
    for epoch in range(3):
        assert all(same(a, b) for a, b in zip(source, loader(**PAIRS).epoch(epoch), strict=True))
    assert source.begin_epoch() == 3


def test_torch_random_state_is_not_touched():
    before = torch.get_rng_state()
    list(loader(**TOKENS))
    assert torch.equal(torch.get_rng_state(), before)


def test_other_pairs_than_the_own_need_not_fit():
    source, target = [*SOURCE, [5] * 500, [0, 2, 3]], [*TARGET, [5], [5]]
    longer = TextLoader(source, target, INDEX, pool=2, seed=5, **TOKENS)
    assert all(same(a, b) for a, b in zip(longer.epoch(1), loader(**TOKENS).epoch(1), strict=True))


@pytest.mark.gpu
@BOTH
def test_batches_are_the_same_on_another_device(size):
    for here, there in zip(loader(**size).epoch(1), loader(**size, device="cuda").epoch(1), strict=True):
        assert all(tensor.is_cuda for tensor in (*there.inputs, there.targets, there.index))
        assert same(here, there.to("cpu"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "one of them: got None and None"),
        ({"batch_size": 4, "max_tokens": 90}, "one of them: got 4 and 90"),
        ({"batch_size": 0}, "batch_size 0 gives no batch"),
        ({"batch_size": 121, "drop_last": True}, r"no batch of 120 pairs with drop_last; use 1\.\.120"),
        ({"max_tokens": 90, "drop_last": True}, "drop_last goes with batch_size"),
        ({"batch_size": 4, "pool": 0}, "pool is a positive number of batches, got 0"),
    ],
)
def test_bad_options_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        loader(**options)


@pytest.mark.parametrize(
    ("source", "index", "complaint"),
    [
        (SOURCE[:-1], INDEX, "239 sources and 240 targets"),
        (SOURCE, INDEX[:0], "at least one pair"),
        (SOURCE, INDEX.float(), "int64"),
        (SOURCE, torch.tensor([3, 240]), r"0\.\.239, got 3\.\.240"),
        (SOURCE, torch.tensor([-1, 5]), r"got -1\.\.5"),
        ([[4]] * 99 + [[4, 3]] + [[4]] * 140, torch.tensor([5, 99]), "source sentence 99 holds id 3"),
        ([[0, 4]] + [[4]] * 239, torch.tensor([5, 0]), "source sentence 0 holds id 0"),
        ([[-7]] + [[4]] * 239, torch.tensor([5, 0]), "source sentence 0 holds id -7"),
    ],
)
def test_sentences_that_do_not_fit_are_refused(source, index, complaint):
    with pytest.raises(ValueError, match=complaint):
        TextLoader(source, TARGET, index, batch_size=4)


def test_a_pair_longer_than_the_budget_is_named():
    source = [*SOURCE[:31], [5] * 99, *SOURCE[32:]]
    with pytest.raises(
        ValueError, match=r"pair 31 has 100 source and .* more than max_tokens 90; raise .* 100"
    ):
        TextLoader(source, TARGET, INDEX, max_tokens=90)
    assert len(TextLoader(source, TARGET, INDEX, max_tokens=100)) > 1


@pytest.mark.parametrize(("epoch", "position"), [(0, 8), (0, -1), (-1, 0)])
def test_a_batch_beyond_the_epoch_is_refused(epoch, position):
    with pytest.raises(IndexError, match=r"batches 0\.\.7"):
        loader(**PAIRS).batch(epoch, position)
