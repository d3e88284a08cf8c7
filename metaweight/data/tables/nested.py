"""Values by key, also inside of other values: ``translation.de``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Missing(KeyError):
    """No value has the key ``args[0]``; ``known``: those beside which it was looked for."""

    def __init__(self, key: str, known: Mapping[str, Any]) -> None:
        super().__init__(key)
        self.known = known


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """What ``key`` names: ``a.b`` is the key "a.b", or else "b" in the value of "a" (and so on).

    None where a value on the way is None.  Raises Missing.
    """
    if key in values:
        return values[key]
    for place in reversed([place for place, character in enumerate(key) if character == "."]):
        if key[:place] not in values:
            continue
        outer = values[key[:place]]
        if outer is None:
            return None
        if isinstance(outer, Mapping):
            return value_at(outer, key[place + 1 :])
    raise Missing(key, values)
