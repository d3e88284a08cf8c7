"""Where own pictures may lie: what the user names is looked at, and read as what it is."""

from __future__ import annotations

from pathlib import Path

from metaweight.data.own_images.folders import find_folder, is_picture
from metaweight.data.own_images.found import Found, Wanted
from metaweight.data.own_images.hub_rows import find_hub
from metaweight.data.own_images.idx_files import find_idx, is_idx
from metaweight.data.own_images.listing import find_listing
from metaweight.data.tables import is_table

SAVED = ("dataset_dict.json", "state.json")
"""Files by which a folder is one that ``datasets`` saved."""
KINDS = (
    "give a folder with one sub folder a class, a table of paths and labels (.csv, .tsv, .jsonl, .parquet), "
    "an IDX file (train-images-idx3-ubyte) or hf:NAME"
)


def find(part: str, place: str, wanted: Wanted) -> Found:
    """The pictures that ``place`` names for a ``part`` of own data (train, meta, valid, test).

    Raises ValueError, with the place, for what holds none, and for names that no file of text can hold.
    """
    found = _found(part, place, wanted)
    for name in (*found.origins.files, *(found.origins.names or ()), *dict.fromkeys(found.labels)):
        if not name.isascii() and name != name.encode("utf-8", "replace").decode():
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise ValueError(f"{part}: the name {shown!r} is no UTF-8, so no list could hold it; rename it")
    return found


def _found(part: str, place: str, wanted: Wanted) -> Found:
    path = Path(place).expanduser()
    if not place.startswith("hf:") and not path.exists():
        raise ValueError(f"{part}: there is no file or folder {place}")
    if has_columns(place):
        if is_table(path):
            return find_listing(place, wanted)
        return find_hub(place if place.startswith("hf:") else f"hf:{place}", part, wanted)
    if wanted.meta_column is not None:
        raise ValueError(
            f"meta_column: {place} is no table, so it has no column {wanted.meta_column!r}; name the trusted "
            "pictures with --meta"
        )
    if path.is_dir():
        return find_folder(place)
    if is_picture(path.name):
        raise ValueError(f"{part}: {place} is one picture; {KINDS}")
    if is_idx(path):
        return find_idx(place)
    raise ValueError(
        f"{part}: {place} is nothing that pictures are read from (unpack an archive first); {KINDS}"
    )


def has_columns(place: str) -> bool:
    """Whether a source has columns: a table, or a data set of the hub or saved by its library."""
    path = Path(place).expanduser()
    saved = path.is_dir() and any((path / name).is_file() for name in SAVED)
    return place.startswith("hf:") or saved or (is_table(path) and not path.is_dir())
