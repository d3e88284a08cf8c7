"""Values that live in JSON files: one way to write them and one to read, strict in names and types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from metaweight.core.atomic import whole_file


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a JSON file holds.  None stands for what is not defined, for JSON has no NaN."""


R = TypeVar("R", bound=Record)


def write_record(path: Path, record: Record) -> None:
    """Write what ``encoded`` makes of it: all of it or nothing."""
    content = encoded(record)
    with whole_file(path) as file:
        file.write(content)


def encoded(record: Record) -> bytes:
    r"""JSON in lines, with an end of line.

    A number that is not finite becomes null, and half a surrogate pair, which stands for a byte of a file's
    name that is no text, is spelt out: ``\udcff``.
    """
    try:
        content = msgspec.json.encode(record)
    except UnicodeEncodeError:
        content = msgspec.json.encode(_spelt(msgspec.to_builtins(record)))
    return msgspec.json.format(content, indent=1) + b"\n"


def _spelt(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_spelt(name): _spelt(item) for name, item in value.items()}
    return [_spelt(item) for item in value] if isinstance(value, list | tuple) else value


def read_record(kind: type[R], path: Path) -> R:
    """What ``write_record`` wrote.

    Raises FileNotFoundError, and ValueError, with the file's name, for a key too many or too few, a value of
    another type and, with its line, what is no JSON.
    """
    content = path.read_bytes()
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        where = f"{path}{_line(content)}"
        raise ValueError(f"{where} is damaged, or is another version's: {error}") from None


def require_format(path: Path, found: int, newest: int) -> None:
    """Raise ValueError where a file is of a newer format than this version reads."""
    if found > newest:
        raise ValueError(f"{path} has format {found}, this version reads up to {newest}: upgrade metaweight")


def _line(content: bytes) -> str:
    """Where JSON ends to be JSON; empty where all of it is."""
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return f", line {error.lineno}"
    except UnicodeDecodeError as error:
        return f", line {content[: error.start].count(10) + 1}"
    return ""
