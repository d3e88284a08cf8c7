"""Pictures in a folder: one sub folder a class, its pictures at any depth below."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from metaweight.data.origins import LeftOut, Origins
from metaweight.data.own_images.found import Found

_ENDINGS = """
.jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .pcx .tga .ico .jp2 .j2k
.avif
"""
_PARTS = "train training meta trusted checked valid validation val dev test testing"
ENDINGS = frozenset(_ENDINGS.split())
"""What names of pictures end in, in small letters."""
PARTS = frozenset(_PARTS.split())
"""What folders of a data set's parts are called, in small letters."""
BESIDE = "it lies beside the folders of the classes, so it has no class"


def is_picture(name: str) -> bool:
    """Whether a file is called like a picture."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def find_folder(place: str) -> Found:
    """The pictures of a folder; the first folder below it on the way to a picture is its class.

    Hidden files and folders and files that are no pictures are skipped and counted.  Raises ValueError where
    there is no picture, or no class.
    """
    walk = _Walk(place)
    walk.whole()
    walk.require_classes()
    files, loose = tuple(walk.files), walk.loose
    return Found(
        place,
        lambda position: {"path": os.path.expanduser(files[position])},
        tuple(walk.labels),
        Origins.of_files(files),
        left_out=LeftOut(Origins.of_files(loose), (BESIDE,) * len(loose), ("",) * len(loose)),
        notes=walk.notes(),
    )


class _Walk:
    """What is seen on the way through a folder; files are named as the user would write them."""

    def __init__(self, place: str) -> None:
        self.place, self.root = place, Path(place).expanduser()
        self.files: list[str] = []
        self.labels: list[str] = []
        self.loose: list[str] = []
        """Pictures beside the folders of the classes."""
        self.others: list[str] = []
        """Files that are not called like pictures."""
        self.empty: list[str] = []
        """Folders beside those of the classes, without a picture."""
        self.hidden = 0

    def whole(self) -> None:
        for entry in self._entries(self.root):
            if entry.is_dir():
                files = list(self._pictures(entry, frozenset({self.root.resolve()})))
                self.files += files
                self.labels += [entry.name] * len(files)
                self.empty += [] if files else [self._named(entry)]
            else:
                (self.loose if is_picture(entry.name) else self.others).append(self._named(entry))

    def _pictures(self, folder: Path, above: frozenset[Path]) -> Iterator[str]:
        """Those at any depth; a link back to a folder ``above`` is not followed."""
        here = folder.resolve()
        if here in above:
            return
        for entry in self._entries(folder):
            if entry.is_dir():
                yield from self._pictures(entry, above | {here})
            elif is_picture(entry.name):
                yield self._named(entry)
            else:
                self.others.append(self._named(entry))

    def _entries(self, folder: Path) -> Iterator[Path]:
        """What is in a folder, by name, without what is hidden."""
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                self.hidden += 1
            else:
                yield entry

    def _named(self, entry: Path) -> str:
        return os.path.join(self.place, entry.relative_to(self.root))

    def require_classes(self) -> None:
        """Raise ValueError where no picture was seen, or none that has a class."""
        place = self.place
        shape = f"a folder has one sub folder a class, as in {os.path.join(place, 'cat', '1.jpg')}"
        if not self.files and self.loose:
            raise ValueError(
                f"{place}: {len(self.loose):,} pictures ({self.loose[0]} the first), but no sub folder that "
                f"would tell their classes; {shape}. If this is one class, name the folder above; or name a "
                "table of paths and labels (.csv)"
            )
        if not self.files:
            idx = [name for name in self.others if "idx" in os.path.basename(name)]
            way = f"it holds IDX files: name that of the pictures, {idx[0]}" if idx else shape
            other = f" ({len(self.others):,} other files, {self.others[0]} the first)" if self.others else ""
            raise ValueError(f"{place} holds no picture{other}; {way}")
        names = dict.fromkeys(self.labels)
        if {name.lower() for name in names} <= PARTS:
            raise ValueError(
                f"{place} has the folders {', '.join(names)}, which are called like parts of the data, not "
                "like classes; name each by itself with --train, --meta, --valid, --test: "
                f"--train {os.path.join(place, next(iter(names)))}"
            )

    def notes(self) -> tuple[str, ...]:
        """What was skipped and left out."""
        said = [
            _counted(self.others, "file is no picture", "files are no pictures"),
            f"hidden files and folders are skipped: {self.hidden:,}" if self.hidden else "",
            _counted(
                self.loose,
                "picture lies beside the classes' folders and is left out",
                "pictures lie beside the classes' folders and are left out",
            ),
            _counted(
                self.empty,
                "folder has no picture and is no class",
                "folders have no picture and are no classes",
            ),
        ]
        return tuple(f"{self.place}: {text}" for text in said if text)


def _counted(names: list[str], one: str, several: str) -> str:
    """What is said of them, with the first one; empty where there is none."""
    if len(names) == 1:
        return f"1 {one}: {names[0]}"
    return f"{len(names):,} {several}, the first {names[0]}" if names else ""
