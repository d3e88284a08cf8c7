"""When two texts are the same, and when one is empty: one meaning for filters, leak checks and decoding."""

from __future__ import annotations

import re
import unicodedata

# characters that take no room and say nothing alone: soft hyphen, combining grapheme joiner, Hangul fillers,
# Mongolian vowel separator, zero-width space, joiners, direction marks, word joiner and kin, variation
# selectors, byte order mark, annotations, tags
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_UNSEEN_OR_CONTROL = re.compile(_UNSEEN.pattern[:-1] + "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
# of Unicode's property White_Space, and the four separators that Python's split() takes for it too
_SPACE = re.compile("[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_NOTHING = re.compile(f"(?:{_UNSEEN_OR_CONTROL.pattern}|{_SPACE.pattern[:-1]})*")


def plain(text: str) -> str:
    """What of ``text`` counts when texts are compared.

    Characters that show nothing (zero-width ones, direction marks, variation selectors, control characters)
    are taken out, what is left is composed (Unicode's NFC), each run of white space of any kind becomes one
    space, and none is left at the ends.  Case, punctuation and width of letters count.
    """
    # most of it: printable text has no white space but U+0020, and ASCII is composed and seen
    tidy = text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " "
    if tidy and (text.isascii() or (unicodedata.is_normalized("NFC", text) and not _UNSEEN.search(text))):
        return text
    seen = _UNSEEN_OR_CONTROL.sub("", text)
    return _SPACE.sub(" ", unicodedata.normalize("NFC", seen)).strip(" ")


def same(one: str, other: str) -> bool:
    """Whether two texts say the same: their ``plain`` forms are equal."""
    return one == other or plain(one) == plain(other)


def is_empty(text: str) -> bool:
    """Whether a text shows nothing: its ``plain`` form is empty."""
    return _NOTHING.fullmatch(text) is not None
