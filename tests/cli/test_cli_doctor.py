"""metaweight doctor: the report of this machine, its JSON, its exit code, and self-tests that fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import requires, version
from typing import Any

import msgspec
import pytest
import torch
from packaging.requirements import Requirement

from metaweight import engines
from metaweight.cli.main import main
from metaweight.core.version import __version__
from metaweight.doctor import checkpoint_test as saved
from metaweight.doctor import examination
from metaweight.doctor.checkpoint_test import checkpoint_test
from metaweight.doctor.engine_tests import EXACT, ROUGH, engine_tests
from metaweight.doctor.examination import Examination
from metaweight.doctor.machine import machine_here
from metaweight.doctor.process_test import process_test
from metaweight.doctor.self_test import SelfTest, Skipped, run_test
from metaweight.engines.base import Problem, Solution
from metaweight.engines.checks import EngineError
from metaweight.engines.difference import FiniteDifferences
from metaweight.engines.double import DoubleBackward
from metaweight.reweighter import Reweighter


class Scaled(DoubleBackward):
    """Its slopes are a thousandth too large."""

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        return replace(solution, slopes=tuple(1.001 * slope for slope in solution.slopes))


class Raising(DoubleBackward):
    def solve(self, problem: Problem) -> Solution:
        raise ZeroDivisionError("all broken")


class Refusing(DoubleBackward):
    def solve(self, problem: Problem) -> Solution:
        raise EngineError("this engine takes no student at all")


class Boastful(DoubleBackward):
    """Takes what it says that it cannot."""

    abilities = replace(DoubleBackward.abilities, coupled=False)


class Still(DoubleBackward):
    """All its slopes are 0."""

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        return replace(solution, slopes=tuple(0 * slope for slope in solution.slopes))


class Coarse(FiniteDifferences):
    """An approximation that is too rough."""

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        return replace(solution, slopes=tuple(1.01 * slope for slope in solution.slopes))


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever network the machine has."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SelfTest]:
    """``only(kind)``: the test of an engine of this class, as the registry's only one."""

    def tested(kind: type[engines.Engine]) -> SelfTest:
        with engines.registry.temporarily("broken", kind):
            monkeypatch.setattr(engines, "names", lambda: ("broken",))
            (test,) = engine_tests()
        return test

    return tested


_ASKED = next(
    Requirement(line).specifier for line in requires("metaweight") or () if Requirement(line).name == "torch"
)
TORCH = ",".join(sorted(map(str, _ASKED), key=lambda bound: not bound.startswith(">")))
"""What setup.cfg asks of torch, as it is installed here."""


def test_this_machine_is_well_and_the_report_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = [line.split() for line in lines]
    assert words[1][:2] == ["metaweight", __version__]
    assert ["torch", version("torch"), "asked:", TORCH, "build:"] in [line[:5] for line in words]
    assert any(line[:2] == ["CPUs", str(machine_here().usable_cpus)] for line in words)
    for name in engines.names():
        (line,) = (line for line in words if line[1:3] == ["engine", name])
        assert line[0] == "passed"
    assert ["passed", "checkpoint"] in [line[:2] for line in words]
    (two,) = (line for line in words if line[1:3] == ["two", "processes"])
    assert two[0] in ("passed", "skipped")  # a machine may be busy
    assert "self-tests passed" in lines[-1]


def test_every_engine_is_within_its_bound_and_approximations_say_of_what() -> None:
    tests = {test.name.removeprefix("engine "): test for test in engine_tests()}
    assert list(tests) == list(engines.names())
    for name, test in tests.items():
        exact = engines.registry[name].abilities.exact
        bounds = {measure.bound for measure in test.measures}
        assert bounds == {EXACT} if exact else bounds == {ROUGH}
        assert all(one.refused or (one.off is not None and one.off <= one.bound) for one in test.measures)
        assert [one.problem for one in test.measures if one.problem.startswith("ridge")] == (
            [] if exact else [f"ridge, {'the optimum' if name == 'implicit' else 'a step'}"]
        )
    solved = {name: {one.problem for one in test.measures if not one.refused} for name, test in tests.items()}
    assert solved["higher"] == solved["reverse"] == {"MLP", "attention", "BatchNorm", "two steps"}
    assert solved["forward"] == {"MLP", "attention", "BatchNorm"}
    assert "BatchNorm" not in solved["ghost"]
    assert solved["implicit"] == {"ridge, the optimum"}


def test_json_has_types_and_names_that_stay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--no-self-test"]) == 0
    out = capsys.readouterr().out
    assert set(json.loads(out)) == {"form", "facts", "traps", "tests", "seconds"}
    assert set(json.loads(out)["facts"]) == {"versions", "machine", "settings", "higher", "runs", "plug_ins"}
    found = msgspec.json.decode(out, type=Examination)  # raises for another name or type
    assert (found.form, found.tests) == (1, ())
    packages = {package.name: package for package in found.facts.versions.packages}
    assert packages["torch"].version == version("torch")
    assert set(packages["torch"].asked.split(",")) == set(TORCH.split(","))
    assert list(packages)[:3] == ["torch", "higher", "datasets"]
    assert found.facts.settings.threads == torch.get_num_threads()
    assert found.facts.machine.usable_cpus <= found.facts.machine.affinity


@pytest.fixture
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other process is started: that takes as long as all else."""
    monkeypatch.setattr(examination, "process_test", lambda: "not tried")


@pytest.mark.usefixtures("_one_process")
def test_json_has_the_self_test_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "names", lambda: ("double",))
    assert main(["doctor", "--json"]) == 0
    tests = msgspec.json.decode(capsys.readouterr().out, type=Examination).tests
    assert [test.name for test in tests] == ["engine double", "checkpoint", "two processes"]
    assert [one.problem for one in tests[0].measures] == ["MLP", "attention", "BatchNorm"]


@pytest.mark.usefixtures("_one_process")
def test_a_broken_engine_is_named_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with engines.registry.temporarily("broken", Scaled):
        monkeypatch.setattr(engines, "names", lambda: ("broken", "double"))
        assert main(["doctor"]) == 1
        text = capsys.readouterr().out
        assert main(["doctor", "--json"]) == 1
        capsys.readouterr()
        assert main(["doctor", "--no-self-test"]) == 0
    (line,) = (line for line in text.splitlines() if "engine broken " in line)
    assert line.split()[:5] == ["failed", "engine", "broken", "MLP", "1e-03"]
    assert "(at most 1e-06)" in line
    assert "1 of 4 self-tests failed: engine broken" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Raising, "ZeroDivisionError: all broken"),
        (Refusing, "MLP refused (this engine takes no student at all)"),
        (Boastful, "BatchNorm"),
        (Still, "MLP 1e+00 (at most 1e-06)"),
        (Coarse, "ridge, a step 1e-02 (at most 1e-03)"),
    ],
)
def test_engines_fail_in_many_ways(kind: type[Any], said: str, only: Callable[..., SelfTest]) -> None:
    test = only(kind)
    assert test.state == "failed"
    assert said in test.what


def test_what_an_engine_may_refuse_is_no_failure(only: Callable[..., SelfTest]) -> None:
    class NoAttention(DoubleBackward):
        def solve(self, problem: Problem) -> Solution:
            if any("attention" in name for name, _ in problem.student.module.named_modules()):
                raise EngineError("attention is nothing for this engine")
            return super().solve(problem)

    test = only(NoAttention)
    assert test.state == "passed"
    assert [one.problem for one in test.measures if one.refused] == ["attention"]


def test_a_registry_that_does_not_load_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[str, ...]:
        raise ImportError("engine 'x' of distribution 'y' fails to load")

    monkeypatch.setattr(engines, "names", broken)
    (test,) = engine_tests()
    assert (test.name, test.state) == ("engines", "failed")
    assert "distribution 'y'" in test.what


def test_without_gradients_the_self_test_fails_in_words() -> None:
    with torch.no_grad():
        (test,) = engine_tests()
    assert test.state == "failed"
    assert "a plain step fails" in test.what


def test_a_checkpoint_comes_back_and_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    assert "bit for bit" in checkpoint_test()
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)


def test_a_checkpoint_that_loses_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(saved.checkpoint, "restore_random_state", lambda *_: None)
        test = run_test("checkpoint", checkpoint_test)
        assert (test.state, "state.random.cpu" in test.what) == ("failed", True)
    with monkeypatch.context() as patch:
        patch.setattr(Reweighter, "load_teaching_state", lambda *_: None)
        test = run_test("checkpoint", checkpoint_test)
        assert (test.state, "state.reweighter.teacher." in test.what) == ("failed", True)
    with monkeypatch.context() as patch:
        patch.setattr(saved.checkpoint, "seal_fits", lambda _: True)
        patch.setattr(saved.checkpoint.torch, "load", remembering(torch.load))
        test = run_test("checkpoint", checkpoint_test)
        assert (test.state, "changed byte" in test.what) == ("failed", True)


def remembering(load: Callable[..., Any]) -> Callable[..., Any]:
    """A load that gives always what it gave first."""
    given: list[Any] = []

    def first(*args: Any, **options: Any) -> Any:
        given[:] = given or [load(*args, **options)]
        return given[0]

    return first


def test_two_processes_that_do_not_meet_in_time_are_skipped() -> None:
    with pytest.raises(Skipped, match=r"took more than 0\.01 s"):
        process_test(0.01)


def test_two_processes_are_skipped_in_a_run_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    test = run_test("two processes", process_test)
    assert (test.state, test.what) == ("skipped", "this process is one of several already")


@pytest.mark.slow  # the report of this machine has them meet
def test_two_processes_meet_and_fail_without_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_test(60) == "two processes, each told the other's number"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nowhere")
    with pytest.raises(RuntimeError, match="GLOO_SOCKET_IFNAME=lo"):
        process_test(60)
