"""How a run's steps are taken for the first time, and under what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from metaweight.influence.recording import Recording, Tell
from metaweight.training.history import Source


class Taking(Protocol):
    """What an opened run does otherwise than one that is given as objects."""

    def setting(self) -> AbstractContextManager[None]:
        """Around all that computes."""
        ...

    def take(self, recording: Recording, tell: Tell) -> None:
        """Take the steps that are still to be recorded."""
        ...

    def rows(self, of: str) -> Source:
        """Batches of the run's own rows.  Raises ValueError where there are none."""
        ...

    def cells(self, of: str, positions: Sequence[int]) -> Sequence[Mapping[str, str]]:
        """Column -> what is in it, of each of these rows of ``rows(of)``; none where they have no columns."""
        ...


class AsGiven:
    """Of objects: as torch stands, and step by step."""

    def setting(self) -> AbstractContextManager[None]:
        """See ``Taking``."""
        return nullcontext()

    def take(self, recording: Recording, tell: Tell) -> None:
        """See ``Taking``."""
        recording.take(tell)

    def rows(self, of: str) -> Source:
        """See ``Taking``."""
        raise ValueError(f"this run was given as objects: ask about your own batches, not {of!r}")

    def cells(self, of: str, positions: Sequence[int]) -> Sequence[Mapping[str, str]]:
        """See ``Taking``."""
        return ()
