"""TextSet: the pairs of one data set for translation, checked for leaks when it is built."""

from __future__ import annotations

from dataclasses import dataclass, field

from metaweight.data.origins import LeftOut
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.components import require_disjoint


@dataclass(frozen=True)
class TextSet:
    """Pairs to train on, trusted ones, ones to validate and to test; a position in ``train`` is an index.

    Their origins say where its owner finds each pair.  No pair of ``train`` shares its source or its target
    sentence (see ``same``) with one of ``meta``, ``valid`` or ``test``, nor one of ``meta`` with ``valid`` or
    ``test``.  Raises ValueError where one does, for an empty training
    set, equal languages, and aligned foreign sentences that are not one for each training pair.
    """

    name: str
    """As printed in tables."""
    languages: tuple[str, str]
    """Of source and target."""
    train: Bitext
    meta: Bitext
    valid: Bitext
    test: Bitext
    clean: bool = False
    """Whether its own training pairs count as good ones, so that all that is bad was put in."""
    meta_from_train: bool = False
    """Whether the trusted pairs were drawn out of the training pairs, which are no better than these."""
    foreign: tuple[str, ...] | None = None
    """Sentences that are not in the target language, for the noise ``wrong-language``."""
    foreign_aligned: bool = False
    """Whether ``foreign[i]`` says what training pair i says; else it is a pool to draw from."""
    out_of_domain: Bitext | None = None
    """Pairs of another domain, for the noise ``out-of-domain``."""
    source: str = ""
    """Where it comes from, with its licence."""
    notes: str = ""
    """What was dropped on the way, and why."""
    left_out: LeftOut = field(default_factory=LeftOut.none, compare=False)
    """Every pair that is in no part, with its reason."""

    def __post_init__(self) -> None:
        if self.languages[0] == self.languages[1]:
            raise ValueError(f"{self.name}: source and target language are both {self.languages[0]!r}")
        if not len(self.train):
            raise ValueError(f"{self.name}: the training set is empty")
        for held in ("meta", "valid", "test"):
            require_disjoint(self.train, getattr(self, held), names=("training", held))
        for held in ("valid", "test"):
            require_disjoint(self.meta, getattr(self, held), names=("meta", held))
        if self.foreign_aligned and len(self.foreign or ()) != len(self.train):
            raise ValueError(
                f"{self.name}: {len(self.foreign or ())} foreign sentences for {len(self.train)} training "
                "pairs; aligned ones are one for each"
            )
