"""Own pictures of several sizes, modes and orientations become one tensor, and it is said how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metaweight.data.image_set import ImageSet
from metaweight.data.own_images import OwnImages, load_own

RNG = np.random.default_rng(0)


def noise(width: int, height: int, mode: str = "L") -> Image.Image:
    return Image.fromarray(RNG.integers(256, size=(height, width, 3), dtype=np.uint8)).convert(mode)


def load(folder: Path, images: list[Image.Image], **options: object) -> ImageSet:
    for number, image in enumerate(images):
        file = folder / "ab"[number % 2] / f"{number:02}.tif"
        file.parent.mkdir(exist_ok=True)
        image.save(file)
    return load_own(OwnImages(train=str(folder), **options))


@pytest.mark.parametrize(
    ("sizes", "side", "said"),
    [
        ([(20, 20)] * 3, 20, ""),
        ([(64, 64)] * 3, 64, ""),
        ([(20, 20), (20, 20), (30, 40)], 20, "pictures of 20x20 to 30x40, 2 sizes, resized to 20x20"),
        ([(90, 70), (70, 80), (300, 200)], 64, "pictures of 70x80 to 300x200, 3 sizes, resized to 64x64"),
        ([(5, 5)] * 3, 8, "pictures of 5x5, resized to 8x8"),
        ([(12, 30)] * 3, 12, "pictures of 12x30, resized to 12x12"),
    ],
)
def test_the_size_follows_from_the_pictures(
    sizes: list[tuple[int, int]], side: int, said: str, tmp_path: Path
) -> None:
    made = load(tmp_path, [noise(*size) for size in sizes])
    assert made.train_images.shape == (3, 1, side, side)
    assert made.notes.startswith(said)
    assert ("--picture-size" in made.notes) == bool(said)


def test_the_size_that_is_asked_for_wins(tmp_path: Path) -> None:
    images = [noise(20, 20) for _ in range(3)]
    assert load(tmp_path, images, size=32).train_images.shape == (3, 1, 32, 32)
    assert torch.equal(
        load(tmp_path, images, size=20).train_images[0, 0], torch.from_numpy(np.array(images[0]))
    )


def test_the_middle_of_the_longer_side_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30), dtype=np.uint8)
    pixels[:, 10:20] = RNG.integers(256, size=(10, 10))
    wide, high = Image.fromarray(pixels), Image.fromarray(pixels.T.copy())
    made = load(tmp_path, [wide, noise(10, 10), high])
    assert torch.equal(made.train_images[0, 0], torch.from_numpy(pixels[:, 10:20]))
    assert torch.equal(made.train_images[1, 0], torch.from_numpy(pixels[:, 10:20]).T)


def test_a_turned_picture_counts_as_it_is_seen(tmp_path: Path) -> None:
    """Its head says 30x12; two upright ones of 12x30 beside it need no resizing but for the crop."""
    turned = noise(30, 12)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    turned.save(tmp_path / "a" / "turned.jpg", exif=exif, quality=100)
    made = load(tmp_path, [noise(12, 30), noise(12, 30)])
    assert made.notes.startswith("pictures of 12x30, resized to 12x12")
    assert "1 turned upright" in made.notes


def test_all_modes_become_colour_where_one_has_it(tmp_path: Path) -> None:
    clear = noise(16, 16, "RGBA")
    clear.putalpha(0)
    deep = Image.fromarray(np.full((16, 16), 65535, dtype=np.uint16))
    deep.save(tmp_path / "deep.png")
    images = [noise(16, 16), noise(16, 16, "RGB"), clear, noise(16, 16, "CMYK"), noise(16, 16, "P")]
    (tmp_path / "a").mkdir()
    (tmp_path / "deep.png").rename(tmp_path / "a" / "99.png")
    made = load(tmp_path, images, ground="black")
    assert made.train_images.shape == (6, 3, 16, 16)
    place = {str(origin)[-6:-4]: number for number, origin in enumerate(made.origins("train"))}
    assert made.train_images[place["02"]].unique().tolist() == [0]  # transparent, over black
    assert made.train_images[place["99"]].unique().tolist() == [255]  # 16 bits
    assert "1 with transparency, which lies over black (--picture-ground white," in made.notes
    assert "1 of 16 bits, scaled to 8" in made.notes
