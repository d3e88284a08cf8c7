"""Standard output and error while a command runs: what cannot be displayed ends no work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

SIGNS = str.maketrans(
    {
        **{"±": "+-", "–": "-", "—": "-", "\N{MINUS SIGN}": "-", "…": "...", "×": "x"},
        **{"“": '"', "”": '"', "‘": "'", "’": "'", "\N{NO-BREAK SPACE}": " "},
    }
)
"""Signs of ours that an encoding may lack, and what stands for each."""


class Steady:
    """A text stream that takes everything.

    A character that its encoding lacks is spelt out.  Where writing fails (a pipe whose reader has gone, a
    full disk) the rest goes nowhere, and ``lost`` says why.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: OSError | ValueError | None = None
        self.hushed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def hush(self) -> None:
        """Let nothing be written from now on: another process says the same."""
        self.hushed = True

    def write(self, text: str) -> int:
        if self.lost is None and not self.hushed:
            try:
                try:
                    self.stream.write(text)
                except UnicodeEncodeError as error:
                    self.stream.write(spelt(text, error.encoding))
            except BlockingIOError:
                pass  # a terminal that does not keep up: what it had no room for is gone
            except (OSError, ValueError) as error:
                self.drop(error)
        return len(text)

    def flush(self) -> None:
        if self.lost is None:
            try:
                self.stream.flush()
            except BlockingIOError:
                pass
            except (OSError, ValueError) as error:
                self.drop(error)

    def drop(self, reason: OSError | ValueError) -> None:
        """Let everything from now on go nowhere, what is still held back too: it would fail at exit."""
        self.lost = reason
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self.stream.fileno())
            self.stream.flush()


def spelt(text: str, encoding: str) -> str:
    r"""``text`` in characters that ``encoding`` has: ``±`` as ``+-``, any other as ``\xfc``."""
    return text.translate(SIGNS).encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def steady_streams() -> Iterator[Steady]:
    """Make both of the process's streams steady within; gives standard output.

    One that was closed when the process began is opened to nowhere, for else the next file that is opened
    gets its number, and with it all that is printed.  So is standard input.
    """
    if sys.stdin is None:
        _hold(0)
    before = sys.stdout, sys.stderr
    out, err = (Steady(_hold(number) if one is None else one) for number, one in enumerate(before, start=1))
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _hold(number: int) -> TextIO:
    """The file descriptor of a closed stream, open to nowhere."""
    try:
        os.fstat(number)
    except OSError:
        place = os.open(os.devnull, os.O_RDWR)
        os.dup2(place, number)
        if place != number:
            os.close(place)
        os.set_inheritable(number, True)
    return open(number, "w", encoding="utf-8", closefd=False)


def loss(out: Steady) -> str | None:
    """Why standard output was lost, in words; None where all of it was written or nobody reads on."""
    if out.lost is None or isinstance(out.lost, BrokenPipeError):
        return None
    reason = out.lost.strerror if isinstance(out.lost, OSError) else str(out.lost)
    return f"standard output could not be written: {reason}"


def write_out(content: bytes) -> None:
    """Write to standard output what a command is for; a steady one keeps why it could not be written."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        if not isinstance(sys.stdout, Steady):
            raise
        sys.stdout.drop(error)
