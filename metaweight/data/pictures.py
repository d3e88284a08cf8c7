"""From picture files to pixels of 8 bits, grey or in colour, all of one size."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metaweight.data.origins import Origins

T = TypeVar("T")
GROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0)}
ORIENTATION = 0x0112
"""EXIF's tag; 1 is upright."""
DEEPEST = 65535
SAID = {
    "transparent": "with transparency, which lies over {ground} ({option}white, black or #rrggbb)",
    "deep": "of 16 bits, scaled to 8",
    "frames": "of several frames, of which the first is taken",
    "turned": "turned upright, as their EXIF orientation says",
}
"""What was done to a picture -> how it is said of all that it was done to."""


@dataclass(frozen=True)
class Reading:
    """How pictures are read."""

    ground: str = "white"
    """What lies under transparent pixels: a name of ``GROUNDS``, or #rrggbb."""
    size: int | None = None
    """Resize to so many pixels square (bilinear); None: as they are."""
    crop: bool = False
    """Keep the proportions where they are resized: the shorter side to ``size``, and of the longer one the
    middle."""
    option: str = "?ground="
    """How the user chooses the ground."""

    def __post_init__(self) -> None:
        _ = self.colour

    @property
    def colour(self) -> tuple[int, int, int]:
        """The ground's red, green and blue.  Raises ValueError for what is no colour."""
        if self.ground in GROUNDS:
            return GROUNDS[self.ground]
        digits = self.ground.removeprefix("#")
        if len(digits) != 6 or not set(digits.lower()) <= set("0123456789abcdef"):
            raise ValueError(f"ground is white, black or #rrggbb, got {self.ground!r}")
        red, green, blue = bytes.fromhex(digits)
        return red, green, blue


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture as it is used."""

    pixels: NDArray[np.uint8]
    """[H, W], or [H, W, 3] where it is in colour."""
    done: frozenset[str]
    """What was done to it, keys of ``SAID``."""


def read_pictures(cells: Iterable[object], reading: Reading) -> tuple[list[Picture | None], dict[int, str]]:
    """Each cell's picture, None where it cannot be read, and the reasons of those by position.

    ``cells``: as ``datasets`` holds pictures undecoded, ``{"bytes": ..., "path": ...}`` or None.
    """
    pictures: list[Picture | None] = []
    reasons = {}
    for position, cell in enumerate(cells):
        try:
            pictures.append(read_picture(cell, reading))
        except ValueError as error:
            reasons[position] = str(error)
            pictures.append(None)
    return pictures, reasons


def read_picture(cell: object, reading: Reading) -> Picture:
    """The picture of a cell as ``read_pictures`` takes them, or of pixels [H, W] uint8.

    Raises ValueError, with the reason alone, for what is no whole picture or has no range of values.
    """
    from PIL import Image

    if isinstance(cell, np.ndarray):
        return _taken(Image.fromarray(cell), reading)
    return _opened(cell, lambda image: _taken(image, reading))


def upright_size(cell: object) -> tuple[int, int]:
    """Width and height, as a picture's head tells them.  Raises as ``read_picture``."""
    if isinstance(cell, np.ndarray):
        return cell.shape[1], cell.shape[0]

    def measured(image: Any) -> tuple[int, int]:
        width, height = image.size
        if width == height:  # a PNG is decoded to know its orientation, which does not matter here
            return width, height
        return (height, width) if image.getexif().get(ORIENTATION, 1) in range(5, 9) else (width, height)

    return _opened(cell, measured)


def _opened(cell: object, use: Callable[[Any], T]) -> T:
    """What ``use`` makes of the open picture."""
    from PIL import Image, UnidentifiedImageError

    content = _bytes(cell)
    with warnings.catch_warnings():
        # Pillow warns of broken metadata, and of pictures too large to be opened without danger
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content)) as image:
                return use(image)
        except ValueError:
            raise
        except Exception as error:  # decoders raise whatever broken bytes lead them to
            what = str(error) or type(error).__name__
            if isinstance(error, UnidentifiedImageError):
                what = "it is no picture of a known format"
            raise ValueError(what) from error


def _bytes(cell: object) -> bytes:
    held = cell if isinstance(cell, Mapping) else {}
    content, path = held.get("bytes"), held.get("path")
    if content is None and path is not None:
        try:
            content = _file(str(path))
        except FileNotFoundError as error:
            raise ValueError(f"there is no file {path}") from error
        except OSError as error:
            raise ValueError(f"its file cannot be read: {error}") from error
    if content is None:
        raise ValueError("there is no picture")
    if not content:
        raise ValueError("it has no bytes")
    return bytes(content)


def _file(path: str) -> bytes:
    if "://" not in path:
        return Path(path).read_bytes()
    from datasets.utils.file_utils import xopen

    with xopen(path, "rb") as file:
        content: bytes = file.read()
    return content


def _taken(image: Any, reading: Reading) -> Picture:
    """The first frame, upright, of 8 bits, without transparency, of the size that is asked for."""
    from PIL import Image, ImageOps

    if reading.crop and reading.size is not None:
        image.draft(None, (2 * reading.size, 2 * reading.size))  # JPEG, decoded small: several times as fast
    image.load()
    done = set()
    if getattr(image, "n_frames", 1) > 1:
        done.add("frames")
        image.seek(0)
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        done.add("turned")
    kind, image = image.format, ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        done.add("deep")
        image = _of_8_bits(image, kind)
    elif image.mode == "F":
        raise ValueError("its values have no range (mode F): save it with 8 or 16 bits")
    # "La" and "RGBa" are multiplied by their alpha, and convert to nothing else
    image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            done.add("transparent")
            ground = Image.new("RGBA", image.size, (*reading.colour, 255))
            image = Image.alpha_composite(ground, image)
            grey = grey and len(set(reading.colour)) == 1
    image = image.convert("L" if grey else "RGB")
    if reading.size is not None:
        square = (reading.size, reading.size)
        if reading.crop:
            image = ImageOps.fit(image, square, Image.Resampling.BILINEAR)
        else:
            image = image.resize(square, Image.Resampling.BILINEAR)
    return Picture(np.array(image, dtype=np.uint8), frozenset(done))


def _of_8_bits(image: Any, kind: str | None) -> Any:
    """A picture of modes I and I;16, scaled by the range of its format; 65535 is white."""
    from PIL import Image

    levels = np.asarray(image).astype(np.int64)
    whole = image.mode.startswith("I;16") or kind in ("PNG", "PPM")
    if not whole or levels.min() < 0 or levels.max() > DEEPEST:
        raise ValueError(f"its values have no range (mode {image.mode}): save it with 8 or 16 bits")
    scaled = Image.fromarray(((levels * 255 + DEEPEST // 2) // DEEPEST).astype(np.uint8))
    if "transparency" not in image.info:
        return scaled
    alpha = np.where(levels == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (scaled, Image.fromarray(alpha)))


def stacked(parts: Mapping[str, tuple[Sequence[Picture], Origins]]) -> dict[str, Tensor]:
    """The pictures of all parts in whole tensors: [n, 1, H, W] uint8 if all are grey, else [n, 3, H, W].

    Raises ValueError that names pictures of another size than most have.
    """
    everything = [picture for pictures, _ in parts.values() for picture in pictures]
    sizes = Counter(picture.pixels.shape[:2] for picture in everything)
    size, usual = sizes.most_common(1)[0]
    odd = [
        f"{origin} has {_size(picture.pixels.shape)} pixels"
        for pictures, origins in parts.values()
        for picture, origin in zip(pictures, origins, strict=True)
        if picture.pixels.shape[:2] != size
    ]
    if odd:
        raise ValueError(
            f"{first_of(odd)}, but most, {usual} of {len(everything)}, {_size(size)}; resize all with "
            "?size=PIXELS"
        )
    colour = any(picture.pixels.ndim == 3 for picture in everything)
    return {name: _tensor(pictures, colour=colour) for name, (pictures, _) in parts.items()}


def _tensor(pictures: Sequence[Picture], *, colour: bool) -> Tensor:
    if not colour:
        return torch.from_numpy(np.stack([picture.pixels for picture in pictures])).unsqueeze(1)
    height, width = pictures[0].pixels.shape[:2]
    pixels = np.empty((len(pictures), 3, height, width), dtype=np.uint8)
    for place, picture in enumerate(pictures):
        pixels[place] = picture.pixels if picture.pixels.ndim == 2 else picture.pixels.transpose(2, 0, 1)
    return torch.from_numpy(pixels)


def what_was_done(pictures: Sequence[Picture], reading: Reading) -> list[str]:
    """A sentence, without its end, for each thing that was done to some of them."""
    counts = Counter(what for picture in pictures for what in picture.done)
    said = [
        f"{counts[what]:,} {text.format(ground=reading.ground, option=reading.option)}"
        for what, text in SAID.items()
        if counts[what]
    ]
    grey = sum(picture.pixels.ndim == 2 for picture in pictures)
    if 0 < grey < len(pictures):
        said.append(f"{grey:,} grey beside others in colour, so all are taken as colour")
    return [f"of {len(pictures):,} pictures {', '.join(said)}"] if said else []


def first_of(items: Sequence[str], count: int = 3) -> str:
    """The first ``count`` of some items, and how many more there are."""
    more = f" and {len(items) - count:,} more" if len(items) > count else ""
    return "; ".join(items[:count]) + more


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"
