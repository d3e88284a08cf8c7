"""Everything together: the facts, what is wrong with them, and what was tried."""

from __future__ import annotations

import time
from collections.abc import Iterator

from metaweight.core.records import Record
from metaweight.doctor.checkpoint_test import checkpoint_test
from metaweight.doctor.engine_tests import engine_tests
from metaweight.doctor.facts import Facts, facts_here
from metaweight.doctor.installation_traps import INSTALLATION
from metaweight.doctor.machine_traps import MACHINE
from metaweight.doctor.process_test import process_test
from metaweight.doctor.self_test import SelfTest, run_test
from metaweight.doctor.settings_traps import SETTINGS
from metaweight.doctor.traps import Trap, traps_in

RULES = (*INSTALLATION, *MACHINE, *SETTINGS)
FORM = 1
"""Of the JSON: another one where a name goes or means something else."""


class Examination(Record, frozen=True, kw_only=True):
    """What ``metaweight doctor`` says."""

    form: int = FORM
    facts: Facts
    traps: tuple[Trap, ...]
    tests: tuple[SelfTest, ...]
    """None were run with ``--no-self-test``."""
    seconds: float

    @property
    def failures(self) -> tuple[SelfTest, ...]:
        """Tests that failed."""
        return tuple(test for test in self.tests if test.state == "failed")


def examine(*, self_test: bool = True) -> Examination:
    """Look at this process's installation and machine, and try them.

    The global generators are left as they were.
    """
    start = time.perf_counter()
    facts = facts_here()
    traps = traps_in(facts, RULES)
    tests = tuple(_tests()) if self_test else ()
    return Examination(facts=facts, traps=traps, tests=tests, seconds=time.perf_counter() - start)


def _tests() -> Iterator[SelfTest]:
    yield from engine_tests()
    yield run_test("checkpoint", checkpoint_test)
    yield run_test("two processes", process_test)
