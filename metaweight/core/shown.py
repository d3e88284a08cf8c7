"""Text as it may be shown: what a terminal or a page would obey is spelt out."""

from __future__ import annotations

import re

# control characters but for line end and tab; embeddings, overrides and isolates of writing direction
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def shown(text: str) -> str:
    r"""``text`` with what would be obeyed spelt out: an escape is ``\x1b``, an override ``\u202e``.

    So is what no text may hold: half a surrogate pair, which stands for a byte of a file's name, and the two
    characters that are none.
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
