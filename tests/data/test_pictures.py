"""Pictures of every kind to pixels of 8 bits: what a person sees is what is trained on."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from metaweight.data.origins import Origins
from metaweight.data.pictures import Picture, Reading, read_picture, read_pictures, stacked, what_was_done

WHITE = Reading()


def cell(image: Image.Image, kind: str = "png", **options: Any) -> dict[str, Any]:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return {"bytes": memory.getvalue(), "path": None}


def read(image: Image.Image, reading: Reading = WHITE, kind: str = "png", **options: Any) -> Picture:
    return read_picture(cell(image, kind, **options), reading)


def half_transparent(mode: str) -> Image.Image:
    """Black of 2x2 whose left column is transparent and whose right one is not."""
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (1, 0, 2, 2))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
@pytest.mark.parametrize(("ground", "level"), [("white", 255), ("black", 0), ("#808080", 128)])
def test_what_lies_under_transparent_pixels_is_the_ground(mode: str, ground: str, level: int) -> None:
    kind = "tiff" if mode == "PA" else "png"
    picture = read(half_transparent(mode), Reading(ground), kind)
    pixels = picture.pixels.reshape(2, 2, -1)
    assert pixels[:, 0].tolist() == [[level] * pixels.shape[2]] * 2
    assert not pixels[:, 1].any()
    assert picture.done == {"transparent"}
    assert picture.pixels.ndim == (2 if mode == "LA" else 3)


def test_a_ground_in_colour_makes_a_grey_picture_one_in_colour() -> None:
    picture = read(half_transparent("LA"), Reading("#ff0001"))
    assert picture.pixels[:, 0].tolist() == [[255, 0, 1]] * 2


def test_a_half_transparent_pixel_is_mixed() -> None:
    picture = read(Image.new("RGBA", (1, 1), (0, 0, 0, 51)))
    assert picture.pixels.tolist() == [[[204, 204, 204]]]


def test_a_colour_that_a_file_calls_transparent_is_so() -> None:
    grey = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    assert read(grey, transparency=7).pixels.tolist() == [[255, 8]]
    palette = grey.convert("RGB").quantize(2)
    assert read(palette, transparency=palette.getpixel((1, 0))).pixels[0, 1].tolist() == [255] * 3


def test_an_alpha_that_hides_nothing_changes_nothing() -> None:
    picture = read(Image.new("RGBA", (2, 1), (1, 2, 3, 255)))
    assert picture.pixels.tolist() == [[[1, 2, 3]] * 2]
    assert not picture.done


def test_sixteen_bits_are_scaled_by_their_range() -> None:
    levels = np.array([[0, 128, 129, 257 * 100, 65535]], dtype=np.uint16)
    picture = read(Image.fromarray(levels))
    assert picture.pixels.tolist() == [[0, 0, 1, 100, 255]]
    assert picture.done == {"deep"}
    assert read(Image.fromarray(levels), kind="tiff").pixels.tolist() == picture.pixels.tolist()


@pytest.mark.parametrize("values", [np.array([[70000, 1]], np.int32), np.array([[0.5, 1]], np.float32)])
def test_values_without_a_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"no range \(mode [IF]\): save it with 8 or 16 bits"):
        read(Image.fromarray(values), kind="tiff")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "P", "1"])
def test_other_modes_give_the_colour_that_they_mean(mode: str) -> None:
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 does not read the YCbCr that it has written")
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    lab = Image.frombytes("LAB", (8, 8), bytes([136, 80, 67]) * 64)
    image = lab if mode == "LAB" else red.convert(mode)
    kind = "jpeg" if mode == "CMYK" else "tiff" if mode in ("LAB", "YCbCr") else "png"
    pixels = read(image, kind=kind).pixels
    if mode == "1":
        assert pixels.shape == (8, 8)
    else:
        assert np.abs(pixels[4, 4].astype(int) - [255, 0, 0]).max() <= 12  # LAB of whole numbers is coarse


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_stands_upright(orientation: int) -> None:
    upright = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    turned = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read(upright.transpose(turned[orientation]), exif=exif)
    assert np.array_equal(picture.pixels, np.asarray(upright))
    assert picture.done == {"turned"}


def test_of_several_frames_the_first_is_taken() -> None:
    frames = [Image.new("L", (2, 2), level) for level in (10, 200)]
    picture = read(frames[0], kind="gif", save_all=True, append_images=frames[1:])
    assert picture.pixels.reshape(4, -1)[:, 0].tolist() == [10] * 4
    assert picture.done == {"frames"}


def test_what_is_no_whole_picture_is_named_with_its_reason(tmp_path, monkeypatch) -> None:
    whole = cell(Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)))
    cells = [
        whole,
        {"bytes": whole["bytes"][:900], "path": None},
        {"bytes": b"no picture at all", "path": None},
        {"bytes": b"", "path": None},
        {"bytes": None, "path": str(tmp_path / "gone.png")},
        None,
    ]
    pictures, reasons = read_pictures(cells, WHITE)
    assert [picture is None for picture in pictures] == [False, True, True, True, True, True]
    assert list(reasons) == [1, 2, 3, 4, 5]
    for position, word in enumerate(
        ("truncated", "no picture of a known", "no bytes", "gone.png", "there is no"), 1
    ):
        assert word in reasons[position]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # a warning up to twice that, an error beyond
    assert "decompression bomb" in read_pictures([whole], WHITE)[1][0]


def test_broken_bytes_never_raise_anything_else() -> None:
    rng = np.random.default_rng(0)
    for kind in ("png", "jpeg", "gif", "tiff", "bmp", "webp"):
        whole = np.frombuffer(cell(Image.new("RGB", (9, 9), (1, 2, 3)), kind)["bytes"], np.uint8)
        for _ in range(30):
            broken = whole.copy()
            broken[rng.integers(len(whole), size=5)] = rng.integers(256, size=5)
            read_pictures([{"bytes": broken.tobytes(), "path": None}], WHITE)


@pytest.mark.parametrize("ground", ["whit", "#12345", "#gggggg", ""])
def test_what_is_no_ground_is_refused(ground: str) -> None:
    with pytest.raises(ValueError, match="ground is white, black or #rrggbb"):
        Reading(ground)


def part(*shapes: tuple[int, ...], name: str) -> tuple[list[Picture], Origins]:
    pictures = [Picture(np.full(shape, place, np.uint8), frozenset()) for place, shape in enumerate(shapes)]
    return pictures, Origins.of(name, range(1, len(shapes) + 1))


def test_one_in_colour_makes_all_parts_colour() -> None:
    parts = {"a": part((2, 3), (2, 3), name="a"), "b": part((2, 3), (2, 3, 3), name="b")}
    made = stacked(parts)
    assert {name: tuple(pixels.shape) for name, pixels in made.items()} == dict.fromkeys("ab", (2, 3, 2, 3))
    assert made["a"][1].unique().tolist() == [1]
    said = what_was_done([p for pictures, _ in parts.values() for p in pictures], WHITE)
    assert said == ["of 4 pictures 3 grey beside others in colour, so all are taken as colour"]
    assert stacked({"a": parts["a"]})["a"].shape == (2, 1, 2, 3)
    assert what_was_done(parts["a"][0], WHITE) == []


def test_a_picture_of_another_size_is_named_by_its_row() -> None:
    with pytest.raises(ValueError, match=r"b, row 2 has 4x2 pixels, but most, 3 of 4, 3x2; .*\?size=PIXELS"):
        stacked({"a": part((2, 3), (2, 3), name="a"), "b": part((2, 3), (2, 4), name="b")})
