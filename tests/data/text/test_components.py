from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from metaweight.data.text import Bitext, components, require_disjoint, shared_sentences, split_by_component


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_pairs(size: int, sentences: int, seed: int = 0) -> Bitext:
    ids = torch.randint(sentences, (2, size), generator=generator(seed)).tolist()
    return Bitext(*(tuple(map(str, side)) for side in ids))


def chain(*lengths: int) -> Bitext:
    """One component of each length: (0, 0), (0, 1), (1, 1), (1, 2), ..."""
    pairs = [(f"{c}-{i // 2}", f"{c}-{(i + 1) // 2}") for c, n in enumerate(lengths) for i in range(n)]
    return Bitext(*zip(*pairs, strict=True))


@pytest.mark.parametrize("sentences", [40, 150, 600])
def test_components_are_those_that_scipy_finds(sentences):
    """Oracle: the bipartite graph of sentences, with a pair as an edge."""
    bitext = random_pairs(200, sentences)
    source, target = (np.array(list(map(int, side))) for side in (bitext.source, bitext.target))
    graph = coo_matrix((np.ones(200), (source, sentences + target)), shape=(2 * sentences,) * 2)
    _, labels = connected_components(graph, directed=False)
    found, expected = components(bitext), torch.from_numpy(labels[source].copy())
    assert torch.equal(found[:, None] == found, expected[:, None] == expected)
    firsts = [found.tolist().index(label) for label in range(int(found.max()) + 1)]
    assert firsts == sorted(firsts)  # numbered in order of appearance, without a gap


def test_a_source_equal_to_a_target_does_not_tie_two_pairs():
    assert components(Bitext(("Tom", "Ja"), ("Yes", "Tom"))).tolist() == [0, 1]
    assert components(Bitext(("a", "a", "b", "c"), ("x", "y", "y", "z"))).tolist() == [0, 0, 0, 1]
    assert components(Bitext((), ())).shape == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_their_sizes_and_share_no_sentence(seed):
    bitext = random_pairs(400, 500, seed)
    parts = split_by_component(
        bitext, {"test": 40, "valid": 30, "none": 0, "train": None}, generator=generator(seed)
    )
    assert [len(part) for part in parts.values()] == [40, 30, 0, 330]
    assert torch.equal(torch.cat(list(parts.values())).sort().values, torch.arange(400))
    for one, other in combinations(parts.values(), 2):
        for side in (bitext.source, bitext.target):
            assert not {side[i] for i in one.tolist()} & {side[i] for i in other.tolist()}
    assert all(torch.equal(part, part.sort().values) for part in parts.values())


def test_a_split_is_its_seed_and_every_pair_has_the_same_chance():
    bitext = Bitext(tuple(map(str, range(10))), tuple(map(str, range(10))))
    draw = [split_by_component(bitext, {"a": 3}, generator=generator(seed))["a"] for seed in range(2000)]
    assert torch.equal(draw[7], split_by_component(bitext, {"a": 3}, generator=generator(7))["a"])
    counts = torch.bincount(torch.cat(draw), minlength=10)
    # 600 each are expected, with a standard deviation of sqrt(2000 * 0.3 * 0.7) = 20.5
    assert int((counts - 600).abs().max()) < 4.5 * 20.5


@pytest.mark.parametrize("seed", range(20))
def test_a_size_that_only_some_choice_of_components_makes_is_met(seed):
    """13 = 5 + 4 + 4 is the only way, and a draw that starts with 3, or with two of 5, misses it."""
    bitext = chain(5, 5, 4, 4, 15, 15)
    parts = split_by_component(bitext, {"a": 13, "b": None}, generator=generator(seed))
    assert sorted(torch.bincount(components(bitext)[parts["a"]]).tolist())[-3:] == [4, 4, 5]


@pytest.mark.parametrize("seed", range(30))
def test_sizes_are_met_exactly_when_brute_force_meets_them(seed):
    lengths = torch.randint(2, 9, (7,), generator=generator(seed)).tolist()
    sums = {sum(some) for n in range(8) for some in combinations(lengths, n)}
    for size in range(sum(lengths) + 1):
        if size in sums:
            assert len(split_by_component(chain(*lengths), {"a": size}, generator=generator())["a"]) == size
        else:
            with pytest.raises(
                ValueError, match=rf"no choice of the 7 components .* part 'a' of {size} pairs"
            ):
                split_by_component(chain(*lengths), {"a": size}, generator=generator())


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"test": 8, "train": 13}, "test 8, train 13 are 21 pairs, the bitext has 20; ask for fewer"),
        ({"train": None, "test": 3}, "'train' asks for all that is left, but is not the last"),
        ({"test": -1}, "'test' has the size -1"),
        ({"test": 0.5}, r"'test' has the size 0\.5; sizes are whole numbers"),
        ({"test": True}, "'test' has the size True"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, complaint):
    with pytest.raises(ValueError, match=complaint):
        split_by_component(chain(*[1] * 20), sizes, generator=generator())


def test_shared_sentences_are_found_on_either_side():
    first = Bitext(("a", "b", "c", "d"), ("A", "B", "C", "D"))
    second = Bitext(("b", "x", "C", "D"), ("X", "D", "c", "y"))
    assert shared_sentences(first, second).tolist() == [1, 3]
    assert shared_sentences(first, Bitext((), ())).tolist() == []


def test_an_overlap_is_told_with_its_count_and_first_pairs():
    train = Bitext(("eins", "zwei", "drei " * 30, "vier", "fünf"), ("one", "two", "three", "four", "five"))
    require_disjoint(train, Bitext(("six",), ("sechs",)))
    with pytest.raises(
        ValueError, match=r"^1 pairs of the training set .* meta set \(pairs, row 2: 'two'\); remove"
    ):
        require_disjoint(train, Bitext(("zwo",), ("two",)))
    with pytest.raises(
        ValueError,
        match=r"4 pairs of the x set .* the y set .*row 1: 'eins', .* 2: 'zwei', .*'[drei ]{57}\.\.\.', ",
    ):
        require_disjoint(train, train.select(range(4)), names=("x", "y"))


def test_a_corpus_of_tatoeba_s_size_takes_seconds():
    bitext = random_pairs(163_014, 250_000)
    start = time.perf_counter()
    split_by_component(bitext, {"test": 1000, "train": None}, generator=generator())
    assert time.perf_counter() - start < 20  # 1.5 s alone on a slow core; quadratic would be hours
