"""Values that live in JSON files: one way to write them and one to read, strict in names and types."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from metaweight.core.atomic import whole_file


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a JSON file holds.  None stands for what is not defined, for JSON has no NaN."""


R = TypeVar("R", bound=Record)


def write_record(path: Path, record: Record) -> None:
    r"""Write all of it or nothing.

    A number that is not finite becomes null, and half a surrogate pair, which stands for a byte of a file's
    name that is no text, is spelt out: ``\udcff``.
    """
    try:
        content = msgspec.json.encode(record)
    except UnicodeEncodeError:
        content = msgspec.json.encode(_spelt(msgspec.to_builtins(record)))
    with whole_file(path) as file:
        file.write(msgspec.json.format(content, indent=1) + b"\n")


def _spelt(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_spelt(name): _spelt(item) for name, item in value.items()}
    return [_spelt(item) for item in value] if isinstance(value, list | tuple) else value


def read_record(kind: type[R], path: Path) -> R:
    """What ``write_record`` wrote.

    Raises FileNotFoundError, and ValueError, with the file's name, for a key too many or too few, a value of
    another type and what is no JSON.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is damaged, or is another version's: {error}") from None
