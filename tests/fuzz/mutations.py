"""Ways in which files and words go wrong: what editors, transfers, exports and people do to them."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Mapping

HOSTILE = (
    "",
    " ",
    "\u00a0\u200b",
    "\r",
    "\x00",
    '"',
    "'",
    ",",
    ";",
    "\t",
    "=1+1",
    "@SUM(A1)",
    "nan",
    "1e999",
    "-1",
    "None",
    "{}",
    "[]",
    "[/red]",
    "[bold]x[/]",
    "\u202e\u2066abc",
    "\U0001f600\u200d",
    "cafe\u0301",
    "\ufeff",
    "\u2028",
    "../../x",
    "x" * 300,
    "a b\tc",
    "<script>alert(1)</script>",
    "%s %d {0}",
    "\\",
)
WORDS = (
    *HOSTILE[:1],
    "0",
    "-1",
    "nan",
    "inf",
    "1e999",
    "x",
    "[/red]",
    "true",
    "1.5",
    "9" * 30,
    "a,b",
    "\u00e9",
)
Change = Callable[[bytes, random.Random], bytes]


def _place(data: bytes, draw: random.Random) -> int:
    return draw.randrange(len(data) + 1)


def flipped(data: bytes, draw: random.Random) -> bytes:
    """One byte, another."""
    if not data:
        return data
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ draw.randrange(1, 256)]) + data[at + 1 :]


def cut(data: bytes, draw: random.Random) -> bytes:
    """The end is missing."""
    return data[: _place(data, draw)]


def torn(data: bytes, draw: random.Random) -> bytes:
    """A piece in the middle is missing."""
    first, last = sorted((_place(data, draw), _place(data, draw)))
    return data[:first] + data[last:]


def zeroed(data: bytes, draw: random.Random) -> bytes:
    """A block of zeros, as after a power cut."""
    at = _place(data, draw)
    return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]


def inserted(data: bytes, draw: random.Random) -> bytes:
    """Hostile text somewhere."""
    at = _place(data, draw)
    return data[:at] + draw.choice(HOSTILE).encode() + data[at:]


def _lines(change: Callable[[list[bytes], random.Random], list[bytes]]) -> Change:
    def changed(data: bytes, draw: random.Random) -> bytes:
        return b"".join(change(data.splitlines(keepends=True) or [b"\n"], draw))

    changed.__name__ = change.__name__
    return changed


@_lines
def blank_line(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """An empty line."""
    at = draw.choice([0, 0, draw.randrange(len(lines) + 1)])
    return [*lines[:at], draw.choice([b"\n", b" \n", b"\t\n", b"\r\n", "\u00a0\n".encode()]), *lines[at:]]


@_lines
def line_twice(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """One line twice."""
    at = draw.randrange(len(lines))
    return [*lines[:at], lines[at], *lines[at:]]


@_lines
def line_lost(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """One line is missing."""
    at = draw.randrange(len(lines))
    return [*lines[:at], *lines[at + 1 :]]


@_lines
def lines_shuffled(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """Another order."""
    draw.shuffle(lines)
    return lines


@_lines
def field(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """One field of a table is something else."""
    at = draw.randrange(len(lines))
    for mark in (b"\t", b","):
        if mark in lines[at]:
            cells = lines[at].rstrip(b"\r\n").split(mark)
            cells[draw.randrange(len(cells))] = draw.choice(HOSTILE).encode()
            lines[at] = mark.join(cells) + b"\n"
            break
    return lines


@_lines
def extra_field(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """One row has a field more."""
    at = draw.randrange(len(lines))
    lines[at] = lines[at].rstrip(b"\r\n") + draw.choice([b"\tx", b",x", b"\t", b","]) + b"\n"
    return lines


def emptied(data: bytes, draw: random.Random) -> bytes:
    """Nothing, or nearly."""
    return draw.choice([b"", b"\n", b" ", b"\x00", b"\xef\xbb\xbf"])


def other_ends(data: bytes, draw: random.Random) -> bytes:
    """Line ends of another system."""
    return data.replace(b"\n", draw.choice([b"\r\n", b"\r", b"\n\n"]))


def marked(data: bytes, draw: random.Random) -> bytes:
    """A byte order mark."""
    return b"\xef\xbb\xbf" + data


def recoded(data: bytes, draw: random.Random) -> bytes:
    """Another encoding."""
    text = data.decode("utf-8", "replace")
    return text.encode(draw.choice(["utf-16", "utf-16-be", "latin-1", "cp1252", "utf-32"]), "replace")


def packed(data: bytes, draw: random.Random) -> bytes:
    """Compressed without its name saying so."""
    return gzip.compress(data, mtime=0)


def noise(data: bytes, draw: random.Random) -> bytes:
    """Another file altogether."""
    return draw.randbytes(draw.randrange(1, 2000))


def long_line(data: bytes, draw: random.Random) -> bytes:
    """A line without end."""
    return data + b"y" * 100_000 + draw.choice([b"\n", b"\ty\n", b""])


def number(data: bytes, draw: random.Random) -> bytes:
    """A number of the file is another."""
    places = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return data
    at = draw.choice(places)
    return (
        data[:at] + draw.choice([b"-1", b"9" * 30, b"0", b"NaN", b"1e999", b"null", b'"x"']) + data[at + 1 :]
    )


CHANGES: Mapping[str, Change] = {
    change.__name__: change
    for change in (
        flipped,
        cut,
        torn,
        zeroed,
        inserted,
        blank_line,
        line_twice,
        line_lost,
        lines_shuffled,
        field,
        extra_field,
        emptied,
        other_ends,
        marked,
        recoded,
        packed,
        noise,
        long_line,
        number,
    )
}


def changed_words(words: list[str], draw: random.Random) -> tuple[list[str], str]:
    """A command line with one word lost, doubled or another; what it was."""
    at = draw.randrange(1, len(words))
    kind = draw.choice(["lost", "doubled", "other", "other", "other", "unknown"])
    if kind == "lost":
        return words[:at] + words[at + 1 :], words[at]
    if kind == "doubled":
        return words[: at + 1] + words[at:], words[at]
    if kind == "unknown":
        return [*words[:at], "--no-such-option", *words[at:]], "--no-such-option"
    values = [place for place in range(1, len(words)) if not words[place].startswith("--")]
    at = draw.choice(values) if values else at
    return [*words[:at], draw.choice(WORDS), *words[at + 1 :]], words[at]
