from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metaweight.data import pad_crop_flip, standardise
from metaweight.data.augment import crop_flip


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def naive(images: torch.Tensor, down, right, flipped, padding: int) -> torch.Tensor:
    """torch's own padding, then one image at a time."""
    _, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4, mode="reflect")
    result = []
    for image, top, left, mirror in zip(padded, down, right, flipped, strict=True):
        crop = image[:, top : top + height, left : left + width]
        result.append(torch.flip(crop, dims=[2]) if mirror else crop)
    return torch.stack(result)


@pytest.mark.parametrize(("shape", "padding"), [((40, 3, 8, 8), 4), ((9, 1, 6, 9), 5), ((3, 2, 5, 4), 0)])
@pytest.mark.parametrize("flip", [True, False])
def test_it_equals_a_loop_with_the_same_draws(shape, padding, flip):
    images = torch.randn(shape, generator=g(), dtype=torch.float64)
    result = pad_crop_flip(images, padding=padding, flip=flip, generator=g(1))
    draws = g(1)
    down, right = torch.randint(2 * padding + 1, (2, len(images)), generator=draws)
    flipped = torch.rand(len(images), generator=draws) < 0.5 if flip else torch.zeros(len(images)).bool()
    assert torch.equal(result, naive(images, down, right, flipped, padding))
    assert result.shape == images.shape


def test_every_offset_equals_the_padded_crop():
    images = torch.randn(2, 2, 5, 6, generator=g())
    for top in range(9):
        for left in range(9):
            down, right = torch.tensor([top, 8 - top]), torch.tensor([left, left])
            flipped = torch.tensor([False, True])
            assert torch.equal(
                crop_flip(images, down, right, flipped, padding=4), naive(images, down, right, flipped, 4)
            )


def test_bytes_are_augmented_as_floats_are():
    images = torch.randint(256, (20, 3, 8, 8), generator=g(), dtype=torch.uint8)
    bytes_first = pad_crop_flip(images, generator=g(3))
    assert bytes_first.dtype == torch.uint8
    assert torch.equal(bytes_first.float(), pad_crop_flip(images.float(), generator=g(3)))


def test_half_are_flipped_and_all_offsets_come_up():
    images = torch.arange(8.0).expand(4000, 1, 8, 8)
    flipped = pad_crop_flip(images, padding=0, generator=g())[:, 0, 0, 0] == 7
    assert abs(int(flipped.sum()) - 2000) < 5 * 1000**0.5
    shifted = pad_crop_flip(images, padding=2, flip=False, generator=g())[:, 0, 0, :2]
    left = {tuple(corner) for corner in shifted.tolist()}
    assert left == {(2, 1), (1, 0), (0, 1), (1, 2), (2, 3)}


def test_the_input_is_left_alone():
    images = torch.randn(4, 1, 8, 8, generator=g())
    before = images.clone()
    pad_crop_flip(images, generator=g())
    standardise(images, [0.5], [2.0])
    assert torch.equal(images, before)


@pytest.mark.parametrize("padding", [-1, 6, 9])
def test_a_padding_that_cannot_be_reflected_is_refused(padding):
    with pytest.raises(ValueError, match=rf"0\.\.5 for sides of 6, got {padding}"):
        pad_crop_flip(torch.zeros(1, 1, 8, 6), padding=padding, generator=g())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, None])
def test_standardise_is_the_textbook_formula(dtype):
    images = torch.randint(256, (5, 3, 4, 4), generator=g(), dtype=torch.uint8)
    mean, std = (0.5, 0.4, 0.1), (0.2, 0.3, 2.0)
    result = standardise(images, mean, std, dtype=dtype)
    assert result.dtype == (dtype or torch.get_default_dtype())
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - mean[channel]) / std[channel]
        tolerance = 1e-14 if dtype == torch.float64 else 1e-6  # float32: a few of its roundings
        torch.testing.assert_close(result[:, channel].double(), expected, rtol=tolerance, atol=tolerance)


def test_standardised_digits_have_mean_0_and_deviation_1():
    images = torch.randint(256, (50, 2, 4, 4), generator=g(), dtype=torch.uint8)
    scaled = images.double() / 255
    mean, std = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3), correction=0)
    result = standardise(images, mean.tolist(), std.tolist(), dtype=torch.float64)
    assert result.mean((0, 2, 3)).abs().max() < 1e-13
    assert (result.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-13


def test_float_images_keep_type_and_scale():
    images = torch.rand(5, 1, 4, 4, generator=g(), dtype=torch.float64)
    assert torch.equal(standardise(images, [0.5], [0.25]), (images - 0.5) / 0.25)
    assert torch.equal(standardise(images, [0.0], [1.0]), images)
    assert standardise(images, [0.0], [1.0], dtype=torch.float32).dtype == torch.float32


def test_standardise_refuses_what_does_not_fit():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="3 channels"):
        standardise(images, [0.5], [0.5])
    with pytest.raises(ValueError, match="positive"):
        standardise(images, [0.5] * 3, [0.5, 0.0, 0.5])
    with pytest.raises(ValueError, match="positive"):
        standardise(images, [0.5] * 3, [0.5, float("nan"), 0.5])
    with pytest.raises(TypeError, match="int64"):
        standardise(images.long(), [0.5] * 3, [0.5] * 3)
