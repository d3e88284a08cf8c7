"""Random students, losses, optimizers and schedules: every engine is right, or refuses in words of ours."""

from __future__ import annotations

import pytest
from engines.property.cases import BEFORE, PARTS, Case
from engines.property.fronts import FRONTS
from engines.property.steps import LOSSES, OPTIMIZERS
from engines.property.survey import Survey, judged
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

CASES = (
    st.builds(
        Case,
        front=st.sampled_from(tuple(FRONTS)),
        parts=st.lists(st.sampled_from(tuple(PARTS)), max_size=3).map(tuple),
        loss=st.sampled_from(tuple(LOSSES)),
        optimizer=st.sampled_from(tuple(OPTIMIZERS)),
        warm=st.booleans(),
        before=st.sampled_from(BEFORE),
        steps=st.integers(1, 3),
        max_norm=st.sampled_from([None, None, 0.05, 1e3]),
        seed=st.integers(0, 99),
    )
    .map(Case.settled)
    .filter(lambda case: not ("complex" in case.parts and case.optimizer in ("adafactor", "muon")))
)
"""torch's own Adafactor and Muon have no complex parameters."""
SAME = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
)
"""The same cases in every run."""

REFUSED_BY_ALL = {
    "average in frozen parameters",
    "backward hook",
    "backward hook that changes",
    "backward outside autograd",
    "complex",
    "counter in an attribute",
    "embedding, max_norm",
    "embedding, scale_grad_by_freq",
    "gradient hook",
    "hook after the step",
    "hook before the step",
    "loss with a memory",
    "post-accumulate hook",
    "reentrant checkpoint",
}
"""Where every engine may refuse; each other part must have found an engine that is right."""


@settings(SAME, max_examples=12)
@given(case=CASES)
def test_every_engine_is_right_or_refuses(case: Case) -> None:
    found = judged(case)
    assume(found is not None)
    faults = [verdict for verdict in found or () if verdict.fault]
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.slow
def test_two_thousand_students(capsys: pytest.CaptureFixture[str]) -> None:
    survey = Survey()

    @settings(SAME, max_examples=2000, phases=[Phase.generate])
    @given(case=CASES)
    def look(case: Case) -> None:
        found = judged(case)
        assume(found is not None)
        survey.add(case, found or ())

    look()
    with capsys.disabled():
        print("\n" + survey.table())
    assert survey.cases >= 2000
    assert not survey.faults, survey.report()
    assert survey.unanswered() <= REFUSED_BY_ALL
