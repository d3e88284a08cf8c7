"""The variants of the speed benchmark: their names and groups, what they train, FLOPs, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from rich.console import Console
from slowly import covering

import metaweight as mw
from benchmarks.speed import groups
from benchmarks.speed.exactness import Exactness
from benchmarks.speed.facts import Asked, gather, try_all
from benchmarks.speed.flops import flops_of, waits_of
from benchmarks.speed.groups import chosen
from benchmarks.speed.iterate import Refused, prepare
from benchmarks.speed.start import fresh_start, random_pair, warm_start
from benchmarks.speed.variants import PLAIN, Setting, Variant
from metaweight.engines import Abilities, Engine, registry
from metaweight.engines.checks import EngineError
from metaweight.engines.verification import Verification

TINY = Setting("mlp", batch=6, meta_batch=4, threads=1)
TRAINED = [v for v in chosen(["engines", "every"], TINY) if v.engine in (None, "higher", "forward")]


def names(group: str, *only: str) -> list[str]:
    return [variant.name for variant in chosen([group], TINY, only)]


@pytest.fixture
def stubborn() -> Iterator[str]:
    """An engine that takes no student, registered for one test."""

    class Stubborn(Engine):
        summary, abilities = "takes no student", Abilities()

        def solve(self, _problem: object) -> None:
            raise EngineError("the student has no 'soul';\nuse engine='higher'")

    with registry.temporarily("stubborn", Stubborn):
        yield "stubborn"


def test_a_name_tells_what_differs() -> None:
    assert PLAIN.name == "plain step"
    assert Variant("forward").name == "forward, lookahead"
    full = Variant(
        "reverse", "online", 5, 25, 4, {"replay": "momentum"}, ("head",), True, "bf16", "channels_last"
    )
    assert full.name == (
        "reverse, online, replay=momentum, every=5, K=4, meta 25, scope head, compiled, bf16, channels last"
    )
    assert full.inner_steps == 20
    assert Variant(peer="torchopt").name == "torchopt"


def test_only_what_differs_is_passed_on() -> None:
    assert Variant("forward").changed("schedule", "every", "compile") == {}
    assert Variant("forward", "online", 5).changed("schedule", "compile") == {"schedule": "online"}


def test_groups_hold_what_they_say() -> None:
    engines = mw.engines.names()
    assert {v.engine for v in chosen(["engines"], TINY)} == {None, *engines}
    assert names("every") == [
        "plain step",
        "forward, lookahead",
        *(f"forward, lookahead, every={n}" for n in (2, 5, 10)),
    ]
    assert [v.unroll for v in chosen(["unroll"], TINY) if v.engine == "higher"] == [1, 2, 4, 8, 16]
    assert {v.meta_batch for v in chosen(["meta-batch"], TINY)} == {None, 25, 50, 100}
    modes = chosen(["modes"], Setting("convnet"))
    plain = {
        "compiled",
        *(f"{mode}channels last" for mode in ("", "compiled, ", "bf16, ", "compiled, bf16, ")),
    }
    assert {v.name for v in modes if v.engine is None} == {"plain step", *(f"plain step, {m}" for m in plain)}
    assert {v.memory_format for v in chosen(["modes"], TINY)} == {"contiguous"}
    cheap = [v for v in chosen(["cheap"], Setting(meta_batch=100)) if v.engine]
    assert {(v.meta_batch, v.every) for v in cheap} == {(25, 1), (None, 5), (25, 5)}
    assert {(v.compile, v.memory_format) for v in cheap} == {
        (compiled, layout) for compiled in (False, True) for layout in ("contiguous", "channels_last")
    }


def test_groups_follow_the_engines_that_there_are(monkeypatch: pytest.MonkeyPatch, stubborn: str) -> None:
    assert f"{stubborn}, online" in names("engines")
    monkeypatch.setitem(groups.ENGINE_OPTIONS, stubborn, ({"replay": "a"}, {"replay": "b"}))
    assert names("engines", "stubborn, online*") == [
        "plain step",
        "stubborn, online, replay=a",
        "stubborn, online, replay=b",
    ]


def test_a_variant_of_two_groups_is_measured_once_and_patterns_choose() -> None:
    both = chosen(["engines", "every"], TINY)
    assert len({v.name for v in both}) == len(both)
    assert names("every", "*every=5", "*=10") == [
        "plain step",
        "forward, lookahead, every=5",
        "forward, lookahead, every=10",
    ]
    with pytest.raises(KeyError, match="no variant of every matches 'forwards'"):
        chosen(["every"], TINY, ["forwards"])


def after(variant: Variant, setting: Setting, steps: int = 1) -> torch.Tensor:
    """The student's parameters, flat, after some iterations of a variant."""
    start = fresh_start(setting)
    iterate, random = prepare(variant, start, setting), torch.Generator().manual_seed(0)
    torch.manual_seed(0)  # the same dropout masks for all
    for _ in range(steps):
        train, meta = random_pair(setting, random)
        iterate([train], meta)
    return torch.cat([p.detach().flatten() for p in start.module.parameters()])


@pytest.mark.parametrize(
    ("model", "variant"),
    covering(["mlp", "convnet", "transformer-tiny"], TRAINED),
    ids=lambda value: getattr(value, "name", value),
)
def test_every_variant_trains_the_same_student(variant: Variant, model: str) -> None:
    """Their rows are about one training: nearly the plain one as long as the teacher knows nothing."""
    setting = Setting(model, batch=6, meta_batch=4, threads=1)
    start, plain, taught = (after(v, setting, n) for v, n in [(PLAIN, 0), (PLAIN, 2), (variant, 2)])
    assert (plain - start).norm() > 1e-3
    assert (taught - plain).norm() < 0.05 * (plain - start).norm()


def test_the_meta_batch_is_cut_to_the_variants_size() -> None:
    """The first 2 of 4 samples give what a setting of 2 gives."""
    train, meta = random_pair(TINY, torch.Generator().manual_seed(0))
    half = mw.Batch((meta.inputs[0][:2],), meta.targets[:2], meta.index[:2])
    iterates = [
        prepare(Variant("forward", meta_batch=size), warm_start(TINY, torch.float64), TINY)
        for size in (2, None, 4)
    ]
    double = [mw.Batch((b.inputs[0].double(),), b.targets, b.index) for b in (train, meta, half)]
    cut, given, whole = (
        i([double[0]], b)[0] for i, b in zip(iterates, (double[1], double[2], double[1]), strict=True)
    )
    assert torch.equal(cut, given)
    assert not torch.allclose(cut, whole)


def test_k_steps_are_those_of_higher() -> None:
    exactness = Exactness(TINY)
    off = exactness.of(Variant("higher", "gradient", unroll=3))
    assert off is not None
    assert off.exact == 0.0
    assert 0 < off.timed < 1e-4
    three, one = (exactness.gradient(Variant("higher", "gradient", unroll=k), torch.float64) for k in (3, 1))
    assert (three - one).norm() > 0.1 * one.norm()


def test_flops_of_an_mlp_by_hand() -> None:
    """A layer's product takes 2 U n m; backward takes it for weights and, but in the first, for inputs."""
    layers = [784 * 512, 512 * 512, 512 * 10]
    forward = 2 * sum(layers)
    backward = 2 * forward - 2 * layers[0]
    assert flops_of(PLAIN, TINY) == TINY.batch * (forward + backward)
    meta, head = TINY.meta_batch * (forward + backward), 2 * 100 * 2
    # train pass, its backward twice, meta pass; forward mode replays the linear outputs, so its pass
    # takes a product for the tangents of weights and one, but in the first layer, for those of inputs
    expected = TINY.batch * (forward + 3 * backward) + meta
    got = flops_of(Variant("forward"), TINY)
    assert got == pytest.approx(expected, abs=20 * TINY.batch * head)
    assert flops_of(Variant("forward", every=5), TINY) == pytest.approx(
        (got + 4 * TINY.batch * (forward + backward)) / 5, abs=20 * TINY.batch * head
    )
    assert flops_of(Variant("higher"), TINY) > got
    # without a live pass beside the copy's; a check of the student would show as two passes more
    assert flops_of(Variant("higher", "gradient"), TINY) == pytest.approx(
        flops_of(Variant("higher", "online"), TINY) - TINY.batch * forward, abs=20 * TINY.batch * head
    )


def test_waits_of_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """One, taught or not, of a plain step none; what Python asks for counts, a count of steps does not."""
    language = Setting("lm-t32", batch=4, meta_batch=2, threads=1)  # AdamW
    assert [waits_of(PLAIN, each) for each in (TINY, language)] == [0, 0]
    assert [waits_of(Variant("ghost", "online", every=n), TINY) for n in (1, 2)] == [1, 1]
    asked = mw.Reweighter.step

    def asks(self: mw.Reweighter, *batches: Any) -> Any:
        report = asked(self, *batches)
        float(report.weights[0])
        return report

    monkeypatch.setattr(mw.Reweighter, "step", asks)
    assert waits_of(Variant("ghost", "online"), TINY) == 2


def test_attention_is_counted_in_the_plain_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's counter does not know the CPU's fused attention: the plain step would look too cheap."""
    setting = Setting("transformer-tiny", batch=4, meta_batch=4, threads=1)
    counted = flops_of(PLAIN, setting)
    monkeypatch.setattr("benchmarks.speed.flops.sdpa_kernel", lambda _: nullcontext())
    assert counted > flops_of(PLAIN, setting)


def test_a_refusal_is_a_row_and_not_a_crash(stubborn: str) -> None:
    variants = [PLAIN, Variant(stubborn), Variant("forward", "online", unroll=2)]
    variants.append(Variant("forward", options={"replay": "none"}))
    iterates, facts = try_all(variants, TINY, Console(quiet=True))
    assert list(iterates) == [PLAIN]
    assert facts[f"{stubborn}, lookahead"].refused == "refused: the student has no 'soul';"
    assert str(facts["forward, online, K=2"].refused).startswith("refused: this engine unrolls 1 inner step")
    assert "unexpected keyword argument 'replay'" in str(facts["forward, lookahead, replay=none"].refused)


def test_what_fails_after_the_rounds_stays_unknown(stubborn: str) -> None:
    asked = Asked(memory=False)
    found = gather([PLAIN, Variant(stubborn)], TINY, asked, Console(quiet=True))
    assert found["plain step"].flops is not None
    assert (found[f"{stubborn}, lookahead"].flops, found[f"{stubborn}, lookahead"].deviation) == (None, None)


def test_a_mistake_of_ours_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.iterate._plain", lambda *_: lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        try_all([PLAIN], TINY, Console(quiet=True))
    with pytest.raises(Refused, match="unknown precision"):
        prepare(Variant("forward", precision="bf8"), fresh_start(TINY), TINY)


@pytest.mark.parametrize("schedule", ["online", "gradient"])
@pytest.mark.parametrize(("checked", "expected"), [(False, [1, 0, 0, 0, 0]), (True, [1, 1, 1, 1, 1])])
def test_answers_are_checked_in_the_first_iteration_alone(
    monkeypatch: pytest.MonkeyPatch, schedule: str, checked: bool, expected: list[int]
) -> None:
    """Or in all of them, never in those that a run happens to check."""
    asked: list[Engine] = []
    require = Verification.require

    def counted(self: Verification, engine: Engine, *args: Any, **options: Any) -> None:
        asked.append(engine)
        require(self, engine, *args, **options)

    monkeypatch.setattr(Verification, "require", counted)
    variant = Variant("ghost", schedule, checked=checked)
    assert variant.name == f"ghost, {schedule}" + ", checked" * checked
    iterate, generator = prepare(variant, fresh_start(TINY), TINY), torch.Generator().manual_seed(1)
    seen = []
    for _ in expected:
        asked.clear()
        train, meta = random_pair(TINY, generator)
        iterate([train], meta)
        seen.append(len(asked))
    assert seen == expected
