"""What all processes of a run are to be given alike, for each takes its part of every batch by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from metaweight.core.processes import Processes


def require_alike(what: str, digests: Callable[[], Mapping[str, str]]) -> None:
    """Raise ValueError, in all processes of the group that is up, where ``digests()``, of what each was given
    by name, are not the same.

    ``what``: who asks.  Alone, nothing is computed.
    """
    processes = Processes.at_hand()
    if processes.size == 1:
        return
    everyone = processes.of_all(dict(digests()))
    names = dict.fromkeys(name for own in everyone for name in own)
    other = [name for name in names if len({own.get(name) for own in everyone}) > 1]
    if other:
        raise ValueError(
            f"{what} was given other {' and '.join(other)} in one of the {processes.size} processes than in "
            "another: give all of them the same rows and options, and each trains on its part of every batch"
        )
