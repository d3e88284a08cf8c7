from __future__ import annotations

import pytest
import torch

from metaweight.data import ImageLoader, derive, pad_crop_flip, standardise

N = 60
IMAGES = torch.randint(256, (N, 2, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(N) % 4
INDEX = torch.arange(1, N, 2)  # 30 odd positions
MEAN, STD = (0.5, 0.4), (0.2, 0.3)


def loader(**changed: object) -> ImageLoader:
    options = {"batch_size": 8, "mean": MEAN, "std": STD, "augment": True, "padding": 2, "seed": 5}
    return ImageLoader(IMAGES, LABELS, INDEX, **{**options, **changed})


def same(one, other) -> bool:
    return (
        torch.equal(one.inputs[0], other.inputs[0])
        and torch.equal(one.targets, other.targets)
        and torch.equal(one.index, other.index)
    )


def test_a_batch_is_the_samples_that_its_index_names():
    for batch in loader(augment=False).epoch(0):
        assert torch.equal(batch.inputs[0], standardise(IMAGES[batch.index], MEAN, STD))
        assert torch.equal(batch.targets, LABELS[batch.index])
        assert batch.index.dtype == torch.int64


def test_an_augmented_batch_is_the_pure_function_of_seed_epoch_and_position():
    batch = loader().batch(3, 2)
    order = INDEX[torch.randperm(30, generator=derive(5, "order", 3))]
    index = order[16:24]
    images = pad_crop_flip(IMAGES[index], padding=2, generator=derive(5, "augment", 3, 2))
    assert torch.equal(batch.index, index)
    assert torch.equal(batch.inputs[0], standardise(images, MEAN, STD))


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [8, 8, 8, 6]), (True, [8, 8, 8])])
def test_an_epoch_shows_every_own_sample_once(drop_last, sizes):
    source = loader(drop_last=drop_last)
    assert len(source) == len(sizes)
    for epoch in range(3):
        batches = list(source.epoch(epoch))
        assert [len(batch) for batch in batches] == sizes
        seen = torch.cat([batch.index for batch in batches]).tolist()
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(INDEX.tolist())


def test_batches_do_not_depend_on_what_was_asked_for_before():
    forwards = [loader().batch(e, p) for e in range(3) for p in range(4)]
    source = loader()
    backwards = [source.batch(e, p) for e in (2, 1, 0) for p in (3, 2, 1, 0)][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert all(same(a, source.at(step)) for step, a in enumerate(forwards))
    resumed = list(source.epoch(1, start=2))
    assert all(same(a, b) for a, b in zip(resumed, forwards[6:8], strict=True))


def test_epochs_and_seeds_differ_in_order_and_in_crops():
    first, second, other = loader().batch(0, 0), loader().batch(1, 0), loader(seed=6).batch(0, 0)
    assert not torch.equal(first.index, second.index)
    assert not torch.equal(first.index, other.index)
    still = loader(shuffle=False)
    assert torch.equal(still.batch(0, 0).index, still.batch(1, 0).index)
    assert not torch.equal(still.batch(0, 0).inputs[0], still.batch(1, 0).inputs[0])


def test_without_shuffling_the_order_is_the_index():
    seen = torch.cat([batch.index for batch in loader(shuffle=False).epoch(4)])
    assert torch.equal(seen, INDEX)


def test_iterating_gives_the_next_epoch_each_time():
    source = loader()
    for epoch in range(3):
        assert all(same(a, b) for a, b in zip(source, loader().epoch(epoch), strict=True))
    assert source.begin_epoch() == 3
    with pytest.raises(StopIteration):
        [next(it) for it in [iter(source)] for _ in range(5)]


def test_torch_random_state_is_not_touched():
    before = torch.get_rng_state()
    list(loader())
    assert torch.equal(torch.get_rng_state(), before)


def test_no_flip_keeps_left_and_right():
    ramp = torch.arange(8, dtype=torch.uint8).expand(N, 2, 8, 8)
    rows = torch.cat(
        [
            batch.inputs[0]
            for batch in ImageLoader(
                ramp, LABELS, INDEX, batch_size=30, augment=True, padding=0, flip=False
            ).epoch(0)
        ]
    )
    assert torch.equal(rows * 255, ramp[:30].float())


def test_bytes_without_mean_go_to_0_to_1_and_floats_stay():
    plain = ImageLoader(IMAGES, LABELS, INDEX, batch_size=30, shuffle=False)
    assert torch.equal(plain.batch(0, 0).inputs[0], IMAGES[INDEX].float() / 255)
    floats = IMAGES.double() - 100
    kept = ImageLoader(floats, LABELS, INDEX, batch_size=30, shuffle=False)
    assert torch.equal(kept.batch(0, 0).inputs[0], floats[INDEX])
    cast = ImageLoader(floats, LABELS, INDEX, batch_size=30, shuffle=False, dtype=torch.float32)
    assert cast.batch(0, 0).inputs[0].dtype == torch.float32


def test_a_moved_loader_keeps_only_its_own_rows_and_gives_the_same_batches():
    moved = loader(device="cpu:0")  # the CPU by another name, which takes the way to another device
    assert moved._pixels.shape == (30, 2, 8, 8)
    assert all(same(a, b) for a, b in zip(moved.epoch(1), loader().epoch(1), strict=True))


@pytest.mark.gpu
def test_batches_are_the_same_on_another_device():
    for here, there in zip(loader().epoch(1), loader(device="cuda").epoch(1), strict=True):
        assert there.inputs[0].is_cuda
        assert torch.equal(here.index, there.index.cpu())
        # the order and the crops are drawn on the CPU; the division may round differently
        torch.testing.assert_close(here.inputs[0], there.inputs[0].cpu(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"batch_size": 0}, "gives no batch"),
        ({"batch_size": 31, "drop_last": True}, "no batch of 30 samples with drop_last"),
        ({"padding": 8}, "padding by reflection lies in 0..7"),
        ({"padding": -1}, "padding by reflection"),
        ({"std": None}, "go together"),
        ({"mean": (0.5,)}, "2 channels"),
        ({"std": (0.5, 0.0)}, "positive"),
    ],
)
def test_bad_options_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        loader(**options)


@pytest.mark.parametrize(
    ("images", "labels", "index", "complaint"),
    [
        (IMAGES, LABELS[:-1], INDEX, "labels \\[N\\]"),
        (IMAGES[0], LABELS, INDEX, "C, H, W"),
        (IMAGES, LABELS, INDEX[:0], "at least one sample"),
        (IMAGES, LABELS, INDEX.float(), "int64"),
        (IMAGES, LABELS, torch.tensor([3, 60]), r"0\.\.59, got 3\.\.60"),
        (IMAGES, LABELS, torch.tensor([-1, 5]), r"got -1\.\.5"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(images, labels, index, complaint):
    with pytest.raises(ValueError, match=complaint):
        ImageLoader(images, labels, index, batch_size=4)


@pytest.mark.parametrize(("epoch", "position"), [(0, 4), (0, -1), (-1, 0)])
def test_a_batch_beyond_the_epoch_is_refused(epoch, position):
    with pytest.raises(IndexError, match=r"batches 0\.\.3"):
        loader().batch(epoch, position)


def test_a_last_batch_smaller_than_batch_size_is_fine_without_drop_last():
    assert [len(batch) for batch in loader(batch_size=100)] == [30]
