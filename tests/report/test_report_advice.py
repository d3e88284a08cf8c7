"""The one sentence that a comparison opens with, word for word."""

from __future__ import annotations

import pytest

from metaweight.comparison.arms import Group
from metaweight.report.statistics.advice import Advice, advice
from metaweight.tasks.figures import Compared
from metaweight.tasks.outcome import Result

ACCURACY = Compared("accuracy", "last epoch", "points of accuracy")
GROUPS: dict[str, Group] = {"uniform": "plain", "memory": "internal", "mw-net": "surface", "oracle": "bound"}


def runs(noise: str = "uniform@0.4", **arms: list[float]) -> list[Result]:
    return [
        Result(arm.replace("_", "-"), noise, seed, {"accuracy": value})
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


PLAIN = [70.0, 71.0, 72.0]
BETTER, LITTLE, WORSE = ([base + gain for base in PLAIN] for gain in (4.1, 0.1, -3.0))


@pytest.mark.parametrize(
    ("results", "said", "arm", "first"),
    [
        (
            runs(uniform=PLAIN, memory=BETTER, mw_net=LITTLE),
            "Use memory: it has 4.1 points of accuracy more than plain training.",
            *("memory", "memory"),
        ),
        (
            runs(uniform=PLAIN, memory=WORSE),
            "Use plain training (uniform): no arm has a better mean rank here.",
            *(None, "uniform"),
        ),
        (
            runs(uniform=[70.0, 71.0, 72.0], memory=[60.0, 72.0, 85.0]),
            "Use plain training (uniform): the best arm, memory, has 1.3 points of accuracy more than plain "
            "training, which is inside the spread of the seeds.",
            *(None, "memory"),
        ),
        (
            runs(uniform=[70.0], memory=[74.0]),
            "Run more seeds: with one, memory has 4.0 points of accuracy more than plain training, which may "
            "be chance.",
            *(None, "memory"),
        ),
        (
            runs(memory=BETTER, mw_net=LITTLE),
            "Use memory, the best here; what it gains over plain training is not known.",
            *("memory", "memory"),
        ),
        (
            runs(uniform=PLAIN, memory=BETTER) + runs("cluster@0.8", uniform=PLAIN, memory=LITTLE),
            "Use memory: it has 4.1 points of accuracy more than plain training on uniform@0.4, 0.1 more on "
            "cluster@0.8.",
            *("memory", "memory"),
        ),
        (
            runs(uniform=PLAIN, memory=BETTER)
            + runs("cluster@0.8", uniform=PLAIN, memory=BETTER)
            + runs("none", uniform=PLAIN, memory=WORSE),
            "Use memory on uniform@0.4 and cluster@0.8, where it has 4.1 points of accuracy more than plain "
            "training on uniform@0.4, 4.1 more on cluster@0.8, but plain training (uniform) on none, where "
            "memory loses.",
            *("memory", "memory"),
        ),
        (
            runs(uniform=PLAIN, memory=BETTER, oracle=[99.0, 99.0, 99.0]),
            "Use memory: it has 4.1 points of accuracy more than plain training.",
            *("memory", "memory"),
        ),
        (
            runs(uniform=PLAIN),
            "Which arm to use cannot be said: there is no kind of noise and seed that all arms have.",
            *(None, None),
        ),
        ([], "No finished run has the figure accuracy: there is nothing to compare.", None, None),
    ],
)
def test_what_to_use(results: list[Result], said: str, arm: str | None, first: str | None) -> None:
    assert advice(results, ACCURACY, GROUPS) == Advice(said, arm, first)


def test_of_many_kinds_of_noise_the_mean_is_said() -> None:
    kinds = [f"uniform@0.{rate}" for rate in range(1, 7)]
    results = [one for kind in kinds for one in runs(kind, uniform=PLAIN, memory=BETTER)]
    said = advice(results, ACCURACY, GROUPS).sentence
    assert said == (
        "Use memory: it has 4.1 points of accuracy more than plain training on average over 6 kinds of noise."
    )


def test_where_less_is_better_the_lower_one_is_used() -> None:
    loss = Compared("accuracy", "loss", "of loss", digits=2, higher_is_better=False)
    said = advice(runs(uniform=PLAIN, memory=WORSE), loss, GROUPS)
    assert said.arm == "memory"
    assert said.sentence == "Use memory: it has 3.00 of loss less than plain training."
