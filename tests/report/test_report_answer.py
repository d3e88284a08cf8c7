"""The three sentences of a comparison, word for word where the case is small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grid_folders import make_grid

from metaweight.comparison.arms import Group
from metaweight.report import statistics
from metaweight.report.page import read_study
from metaweight.report.page.headline import headline
from metaweight.tasks.outcome import Result
from metaweight.teachers.base import Teacher
from metaweight.teachers.base import registry as teachers

GROUPS: dict[str, Group] = {
    **{"uniform": "plain", "memory": "internal", "mlp": "internal", "clean-and-meta": "bound"},
    **{"mw-net": "surface", "l2rw": "surface", "surface": "surface", "knn": "remedy"},
}


def answer(results: list[Result], figure: str, **options: Any) -> tuple[str, str, str]:
    return statistics.answer(results, figure, **{"groups": GROUPS, **options})


def runs(noise: str, **arms: list[float]) -> list[Result]:
    return [
        Result(arm.replace("_", "-"), noise, seed, {"accuracy": value})
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


CLUSTER = runs(
    "cluster@0.8",
    uniform=[70.0, 71.0, 72.0],
    mw_net=[80.0, 81.0, 82.0],
    knn=[85.0, 86.0, 87.0],
    memory=[90.0, 91.1, 91.9],
    mlp=[60.0, 61.0, 62.0],
)
NONE = runs(
    "none",
    uniform=[97.0, 97.0, 97.0],
    mw_net=[97.5, 96.5, 97.0],
    knn=[95.0, 95.1, 94.9],
    memory=[97.0, 96.6, 97.5],
    mlp=[60.0, 61.0, 62.0],
)


def test_word_for_word() -> None:
    first, second, third = answer([*CLUSTER, *NONE], "accuracy", unit="points")
    assert first == (
        "Arms that see internal states beat arms that see surface or loss alone on cluster@0.8 (memory "
        "against mw-net: +10.0 points [+9.8, +10.2]); they cannot be told from them on none (memory against "
        "mw-net: +0.0 points [-1.2, +1.3]); 95 % t intervals over 3 seeds, each side by its best arm, chosen "
        "on these very figures."
    )
    assert second == (
        "Arms that see internal states beat the simple remedies on cluster@0.8 (memory against knn: +5.0 "
        "points [+4.8, +5.2]), none (memory against knn: +2.0 points [+0.7, +3.4]); 95 % t intervals "
        "over 3 seeds, each side by its best arm, chosen on these very figures."
    )
    assert third == (
        "Use memory: it has the best mean rank (1.4 of 5 arms; runs compared: 6); it beats uniform on "
        "cluster@0.8; it cannot be told from uniform on none."
    )


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    results = runs("none", mw_net=[90.0, 92.0, 91.0], memory=[89.96, 91.96, 90.96])
    assert (
        "(memory against mw-net: +0.0 points [+0.0, +0.0])" in answer(results, "accuracy", unit="points")[0]
    )


def test_differences_inside_the_spread_recommend_nothing() -> None:
    results = runs("none", uniform=[90.0, 92.0, 91.0], memory=[91.0, 90.0, 93.0])
    first, second, third = answer(results, "accuracy", unit="points")
    assert first == (
        "Whether internal states beat arms that see surface or loss alone cannot be said: there is no "
        "finished run of arms that see surface or loss alone."
    )
    assert "there is no finished run of the simple remedies" in second
    assert third == (
        "memory has the best mean rank (1.3 of 2 arms; runs compared: 3); it cannot be told from uniform on "
        "the data as they are; so nothing here speaks against uniform, the cheapest."
    )


def test_one_seed_chooses_nothing() -> None:
    results = runs("none", uniform=[90.0], memory=[99.0], mw_net=[95.0])
    first, _, third = answer(results, "accuracy", unit="points")
    assert "memory against mw-net: +4.0 points)" in first
    assert "cannot be told" in first
    assert first.endswith("one seed, which says nothing of how much seeds differ.")
    assert third.startswith("One seed cannot choose an arm: memory has the best mean rank")


def test_an_arm_that_lacks_runs_takes_none_from_the_others() -> None:
    whole = {"uniform": [70.0, 71.0, 72.0], "knn": [85.0, 86.0, 87.0]}
    results = runs("none", **whole, memory=[99.0], mw_net=[60.0, 61.0])
    assert answer(results, "accuracy", unit="points")[2] == (
        "Use knn: it has the best mean rank (1.0 of 2 arms; runs compared: 3; for want of runs without "
        "memory and mw-net); it beats uniform on the data as they are."
    )
    # plain training stays, and where next to nothing is left, all do
    few = {"uniform": [70.0, 71.0], "knn": [85.0, 86.0, 87.0], "mlp": [60.0, 61.0, 62.0]}
    said = answer(runs("none", **few), "accuracy", unit="points")[2]
    assert said.startswith(
        "Use knn: it has the best mean rank (1.0 of 3 arms; runs compared: the 2 of 3 that"
    )
    said = answer(runs("none", knn=[85.0, 86.0], mlp=[60.0]), "accuracy", unit="points")[2]
    assert "1.0 of 2 arms; runs compared: the 1 of 2 that all arms have" in said


def test_a_loss_and_who_beats_the_leader_are_said() -> None:
    results = [
        *runs("a", uniform=[50.0, 50.1, 50.2], mlp=[60.0, 60.2, 60.1], l2rw=[55.0, 55.2, 55.1]),
        *runs("b", uniform=[50.0, 50.1, 50.2], mlp=[60.0, 60.2, 60.1], l2rw=[55.0, 55.2, 55.1]),
        *runs("c", uniform=[90.0, 90.1, 90.2], mlp=[60.0, 60.2, 60.1], l2rw=[70.0, 70.2, 70.1]),
    ]
    first, _, third = answer(results, "accuracy", unit="points", digits=0)
    assert "; they lose to them on c (mlp against l2rw: -10 points [-10, -10])" in first
    assert third == (
        "Use mlp: it has the best mean rank (1.7 of 3 arms; runs compared: 9); it beats uniform on a and b; "
        "it loses to uniform on c; l2rw beats it on c."
    )


def test_less_is_better_where_told() -> None:
    results = runs("none", uniform=[3.0, 3.1, 3.2], memory=[1.0, 1.1, 1.2], surface=[2.0, 2.1, 2.2])
    first, _, third = answer(results, "accuracy", unit="nats", higher_is_better=False)
    assert "surface or loss alone on the data as they are (memory against surface: -1.0 nats" in first
    assert third.startswith("Use memory: ")


def test_groups_of_own_arms_are_the_callers() -> None:
    results = runs("none", uniform=[1.0, 1.1, 1.2], mine=[5.0, 5.1, 5.2], surface=[2.0, 2.1, 2.2])
    first, second, _ = answer(results, "accuracy", unit="", groups={**GROUPS, "mine": "internal"})
    assert "(mine against surface: +3.0 [+3.0, +3.0])" in first
    first, second, third = answer(results, "accuracy", unit="")
    assert "no finished run of arms that see internal states" in first
    assert second.startswith("Whether internal states beat the other arms cannot be said")
    assert third.startswith("Use mine: ")


def test_an_upper_bound_is_compared_with_nothing() -> None:
    results = runs("none", uniform=[1.0, 1.1, 1.2], memory=[2.0, 2.1, 2.2], clean_and_meta=[9.0, 9.0, 9.0])
    _, second, third = answer(results, "accuracy", unit="")
    assert "clean-and-meta" not in second + third
    assert third.startswith("Use memory: it has the best mean rank (1.0 of 2 arms")


def test_nothing_to_compare_is_said() -> None:
    assert answer([], "accuracy", unit="")[0].startswith("No finished run has the figure accuracy")
    undefined = [Result("memory", "none", 0, {"accuracy": None})]
    assert answer(undefined, "accuracy", unit="")[0].startswith("No finished run has the figure accuracy")
    (*_, third) = answer(runs("none", memory=[1.0]), "accuracy", unit="")
    assert third.startswith("Which arm to use cannot be said")
    apart = [*runs("a", memory=[1.0]), *runs("b", surface=[1.0])]
    assert "no seed has both" in answer(apart, "accuracy", unit="")[0]


def test_of_many_equal_arms_the_best_are_named_and_the_others_counted() -> None:
    equal = {f"arm_{i}": [80.0 + i, 90.0 - i, 85.0 + (-1) ** i] for i in range(6)}
    results = runs("none", memory=[86.0, 91.0, 96.0], **equal)
    third = answer(results, "accuracy", unit="points")[2]
    # the first two seeds are mirror images, the third one puts the even arms before the odd ones
    assert third.endswith("from it everywhere: arm-0, arm-2, arm-4, arm-1 and 2 more.")


def test_many_kinds_of_noise_are_counted_and_named_without_their_figures() -> None:
    lost, even = [70.0, 70.1, 70.2], [90.0, 90.1, 90.2]
    results = [
        one
        for kind, ours in zip("abcdef", [even, even, even, even, lost, lost], strict=True)
        for one in runs(kind, uniform=[80.0, 80.1, 80.2], mlp=ours, surface=[85.0, 85.1, 85.2])
    ]
    first, _, third = answer(results, "accuracy", unit="points")
    assert first == (
        "Arms that see internal states beat arms that see surface or loss alone on 4 of 6 kinds of noise "
        "(a, b, c, d); they lose to them on 2 of 6 kinds of noise (e, f); 95 % t intervals over 3 seeds."
    )
    assert "it beats uniform on 4 of 6 kinds of noise (a, b, c, d); it loses to uniform on 2 of 6" in third


def test_a_plug_in_that_reads_hidden_states_counts_among_them(tmp_path: Path) -> None:
    """From its class to the first sentence, through the plan that a grid leaves."""

    class Probing(Teacher):
        sees = "states"

    with teachers.temporarily("probing", Probing):
        make_grid(tmp_path / "grid", ("uniform", "mw-net", "probing"), seeds=(0, 1, 2))
    study = read_study(tmp_path / "grid")
    assert study.groups == {"uniform": "plain", "mw-net": "surface", "probing": "internal"}
    said = headline(study, [])
    assert said[0].startswith("Use probing: ")
    assert any("(probing against mw-net: +5.0" in sentence for sentence in said)
