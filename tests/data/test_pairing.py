from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from metaweight.core.contracts import Batch
from metaweight.data import ImageLoader, Indexed, collate, pairs

IMAGES = torch.randint(256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(50) % 5


def loader(
    first: int, last: int, *, batch_size: int = 4, images: torch.Tensor = IMAGES, **options
) -> ImageLoader:
    return ImageLoader(
        images, LABELS[: len(images)], torch.arange(first, last), batch_size=batch_size, **options
    )


def batch(*index: int) -> Batch:
    position = torch.tensor(index)
    return Batch((position.float(),), position, position)


def test_each_training_batch_meets_the_next_meta_batch_and_the_meta_loader_starts_over():
    train, meta = [batch(i) for i in range(5)], [batch(10), batch(11)]
    met = [(int(a.index), int(b.index)) for a, b in pairs(train, meta)]
    assert met == [(0, 10), (1, 11), (2, 10), (3, 11), (4, 10)]


def test_a_meta_loader_is_iterated_anew_not_replayed():
    meta = loader(40, 50, seed=1)  # 3 batches an epoch
    seen = [b for _, b in pairs([batch(i) for i in range(7)], meta)]
    for step, got in enumerate(seen):
        assert torch.equal(got.index, loader(40, 50, seed=1).at(step).index)
    assert not torch.equal(seen[0].index, seen[3].index)


def test_with_two_image_loaders_the_meta_batch_follows_the_step_over_all_epochs():
    train, meta = loader(0, 40, batch_size=8, seed=2), loader(40, 50, seed=1)  # 5 and 3 batches an epoch
    for epoch in range(3):
        met = list(pairs(train, meta))
        assert len(met) == 5
        for position, (a, b) in enumerate(met):
            assert torch.equal(a.index, loader(0, 40, batch_size=8, seed=2).batch(epoch, position).index)
            assert torch.equal(b.index, loader(40, 50, seed=1).at(5 * epoch + position).index)


@pytest.mark.parametrize("unroll", [1, 2, 5, 9])
def test_windows_take_the_meta_batches_one_after_the_other_over_all_epochs(unroll):
    train, meta = loader(0, 40, batch_size=8, seed=2), loader(40, 50, seed=1)  # 5 and 3 batches an epoch
    same, count = loader(0, 40, batch_size=8, seed=2), -(-5 // unroll)
    for epoch in range(3):
        met = list(pairs(train, meta, unroll=unroll))
        assert [len(window) for window, _ in met] == [min(unroll, 5 - unroll * n) for n in range(count)]
        for n, (window, trusted) in enumerate(met):
            for k, one in enumerate(window):
                assert torch.equal(one.index, same.batch(epoch, unroll * n + k).index)
            assert torch.equal(trusted.index, loader(40, 50, seed=1).at(count * epoch + n).index)


def test_windows_of_any_iterable():
    train, meta = [batch(i) for i in range(5)], [batch(10), batch(11)]
    met = [([int(a.index) for a in w], int(b.index)) for w, b in pairs(train, meta, unroll=2)]
    assert met == [([0, 1], 10), ([2, 3], 11), ([4], 10)]
    with pytest.raises(ValueError, match="unroll is 1 or more, got 0"):
        pairs(train, meta, unroll=0)


@pytest.mark.parametrize("meta", [[], iter([batch(11), batch(12)])], ids=["empty", "an iterator"])
def test_a_meta_loader_that_runs_dry_is_refused(meta):
    with pytest.raises(ValueError, match="meta loader is empty"):
        list(pairs([batch(i) for i in range(5)], meta))


def test_no_meta_batch_is_drawn_for_a_training_batch_that_does_not_come():
    drawn = []

    def meta():
        for number in range(5):
            drawn.append(number)
            yield batch(number)

    assert len(list(pairs([batch(8), batch(9)], meta()))) == 2
    assert drawn == [0, 1]


def test_a_sample_in_both_loaders_is_refused_at_once():
    with pytest.raises(ValueError, match=r"training and meta set share 3 samples \(positions 20, 21, 22\)"):
        pairs(loader(0, 23), loader(20, 30))


def test_the_overlap_is_found_through_a_copy_of_the_images():
    with pytest.raises(ValueError, match="share 3 samples"):
        pairs(loader(0, 23), loader(20, 30, images=IMAGES.clone()))


ONE_PIXEL = IMAGES.clone()
ONE_PIXEL[:, 0, 3, 3] ^= 1


@pytest.mark.parametrize("other", [ONE_PIXEL, IMAGES[:, :, :4]], ids=["other images", "another size"])
def test_one_position_in_two_data_sets_is_two_samples(other):
    assert len(list(pairs(loader(0, 20), loader(0, 20, images=other)))) == 5


def test_a_torch_data_loader_carries_positions():
    points = torch.randn(10, 3)
    batches = list(
        DataLoader(
            Indexed(TensorDataset(points, LABELS[:10])), batch_size=4, shuffle=True, collate_fn=collate
        )
    )
    assert [len(b) for b in batches] == [4, 4, 2]
    index = torch.cat([b.index for b in batches])
    assert sorted(index.tolist()) == list(range(10))
    assert torch.equal(torch.cat([b.inputs[0] for b in batches]), points[index])
    assert torch.equal(torch.cat([b.targets for b in batches]), LABELS[index])


def test_a_subset_of_an_indexed_data_set_keeps_the_positions_of_the_whole():
    whole = Indexed(TensorDataset(torch.arange(10.0), LABELS[:10]))
    (only,) = DataLoader(Subset(whole, [7, 2, 9]), batch_size=3, collate_fn=collate)
    assert only.index.tolist() == [7, 2, 9]
    assert only.inputs[0].tolist() == [7.0, 2.0, 9.0]


def test_an_x_of_several_parts_gives_several_inputs():
    rows = [((torch.tensor([float(i)]), i + 1), i % 2) for i in range(4)]
    got = collate([Indexed(rows)[i] for i in range(4)])
    assert len(got.inputs) == 2
    assert got.inputs[0].shape == (4, 1)
    assert got.inputs[1].tolist() == [1, 2, 3, 4]
    assert got.targets.dtype == torch.int64
    single = collate([Indexed([(torch.zeros(2), 1)])[0]])
    assert len(single.inputs) == 1


def test_positions_count_from_either_end_and_stop_there():
    rows = Indexed([("a", 0), ("b", 1)])
    assert rows[-1] == ("b", 1, 1)
    assert len(rows) == 2
    with pytest.raises(IndexError):
        rows[2]


class Numbers(IterableDataset):
    def __iter__(self):
        return iter([(torch.ones(2), 1)] * 4)


def test_data_without_positions_or_pairs_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(TypeError, match="map-style data set"):
        Indexed(Stream())
    triples = [DataLoader([(torch.ones(2), 1, 2)] * 4, batch_size=2) for _ in range(2)]
    with pytest.raises(TypeError, match=r"got a list of 3: give such a collate_fn; several inputs are"):
        next(pairs(*triples))
    with pytest.raises(TypeError, match="got list: give the DataLoader collate_fn"):
        next(pairs(DataLoader(Numbers(), batch_size=2), triples[0]))
    with pytest.raises(TypeError, match="sample 1 is a tuple of 3"):
        Indexed([(1, 2), (1, 2, 3)])[1]
    with pytest.raises(TypeError, match="got a tuple of 2; use Indexed"):
        collate([(torch.zeros(1), 0)])  # type: ignore[list-item]
