"""``metaweight doctor``: a report to paste where a problem is described."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from metaweight.cli.streams import write_out
from metaweight.core.console import Terminal
from metaweight.core.records import encoded
from metaweight.doctor.examination import Examination, examine
from metaweight.doctor.machine import Device, Machine, Place
from metaweight.doctor.settings import Settings
from metaweight.doctor.traps import Trap
from metaweight.doctor.versions import Package, Versions

Line = tuple[str, str]
"""What, and what is known of it."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """What to do and how to say it; a call prints the report, and is 1 where a self-test fails."""

    json: bool = False
    """Write the report as JSON, for programs."""
    self_test: bool = True
    """Try every engine, a checkpoint and two processes; takes some seconds."""

    def __call__(self) -> int:
        examination = examine(self_test=self.self_test)
        if self.json:
            write_out(encoded(examination))
        else:
            console = Terminal()
            for text, style in _report(examination):
                console.print(text, style=style, soft_wrap=True)
        return 1 if examination.failures else 0


def _report(found: Examination) -> Iterator[tuple[str, str]]:
    """Lines, each with its style."""
    facts = found.facts
    warnings = [trap for trap in found.traps if trap.warns]
    notes = [trap for trap in found.traps if not trap.warns]
    yield from _section("versions", _versions(facts.versions))
    yield from _section("machine", _machine(facts.machine))
    yield from _section("settings", _settings(facts.settings))
    yield from _section("plug-ins", [(f"{p.name} ({p.group})", p.error or "loads") for p in facts.plug_ins])
    yield from _traps("warnings", warnings, "yellow")
    yield from _traps("good to know", notes, "")
    if found.tests:
        yield "self-test: how far slopes are from differences of real steps, as a share of their norm", "bold"
        width = max(len(test.name) for test in found.tests)
        for test in found.tests:
            style = "red" if test.state == "failed" else ""
            yield f"  {test.state:<7}  {test.name:<{width}}  {test.what}", style
    yield "", ""
    yield _verdict(found, len(warnings)), "red" if found.failures else "bold"


def _section(title: str, lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    lines = list(lines) or [("none", "")]
    width = max(len(name) for name, _ in lines)
    yield title, "bold"
    yield from ((f"  {name:<{width}}  {value}".rstrip(), "") for name, value in lines)


def _traps(title: str, traps: Sequence[Trap], style: str) -> Iterator[tuple[str, str]]:
    if not traps:
        yield from _section(title, ())
        return
    yield title, "bold"
    for trap in traps:
        yield f"  {trap.name}: {trap.what}", style
        yield f"    -> {trap.advice}", ""


def _verdict(found: Examination, warnings: int) -> str:
    said = "no warnings" if not warnings else f"{warnings} warning{'s' if warnings > 1 else ''}"
    if not found.tests:
        return f"{said}; no self-test was run"
    skipped = [test.name for test in found.tests if test.state == "skipped"]
    rest = f", skipped: {', '.join(skipped)}" if skipped else ""
    if found.failures:
        failed = ", ".join(test.name for test in found.failures)
        return f"{said}; {len(found.failures)} of {len(found.tests)} self-tests failed: {failed}{rest}"
    passed = len(found.tests) - len(skipped)
    return f"{said}; {passed} self-tests passed{rest}, in {found.seconds:.1f} s"


def _versions(versions: Versions) -> Iterator[Line]:
    commit = "" if versions.commit is None else f"  commit {versions.commit[:12]}"
    yield "metaweight", f"{versions.metaweight}{commit}{', modified' if versions.modified else ''}"
    yield "Python", f"{versions.python}{_asked(versions.python_asked)}"
    for package in versions.packages:
        build = f"  build: {versions.torch_build}" if package.name == "torch" else ""
        yield package.name, f"{_package(package)}{build}"
    for package in versions.companions:
        wrong = "" if package.state == "fits" else "  NOT THIS TORCH"
        yield package.name, f"{package.version}  for torch{package.asked}{wrong}"


def _package(package: Package) -> str:
    wrong = "" if package.state == "fits" else f"  {package.state.upper()}"
    extra = "" if package.extra is None else f", by [{package.extra}]"
    return f"{package.version or '-'}{_asked(package.asked)}{extra}{wrong}"


def _asked(bounds: str) -> str:
    """The lower bound before the upper one."""
    parts = sorted(bounds.split(","), key=lambda bound: not bound.startswith(">"))
    return f"  asked: {','.join(parts)}" if bounds else ""


def _machine(machine: Machine) -> Iterator[Line]:
    yield "system", machine.system
    yield "processor", machine.processor
    quota = "no quota" if machine.quota is None else f"quota {machine.quota:g}"
    yield "CPUs", f"{machine.usable_cpus} usable ({machine.cpus} there, {machine.affinity} allowed, {quota})"
    limit = "" if machine.memory_limit is None else f", its container's {_size(machine.memory_limit)}"
    yield "memory", f"{_size(machine.memory)}{limit}"
    if not machine.devices:
        yield "devices", "the CPU alone"
    for device in machine.devices:
        yield "device", _device(device)
    pace = f"{machine.bf16_pace:.2g} times the pace of float32"
    yield "bf16", f"{'fast' if machine.bf16_pace > 1 else 'slow'} on the CPU, {pace}"
    yield "C++ compiler", machine.compiler or "none"
    yield "temporary", _place(machine.temporary)
    if machine.shared_memory is not None:
        yield "shared memory", _place(machine.shared_memory)
    yield "open files", "no limit known" if machine.open_files is None else f"at most {machine.open_files}"


def _device(device: Device) -> str:
    memory = "" if device.memory is None else f", {_size(device.memory)}"
    capability = "" if device.capability is None else f", capability {device.capability}"
    bf16 = {True: ", bf16", False: ", no bf16", None: ""}[device.bf16]
    return f"{device.kind}: {device.name}{memory}{capability}{bf16}"


def _place(place: Place) -> str:
    free = "" if place.total is None else f", {_size(place.free)} free of {_size(place.total)}"
    return f"{place.path}{free}{'' if place.writable else ', not writable'}"


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size / (1 << 30):.1f} GiB"


def _settings(settings: Settings) -> Iterator[Line]:
    threads = f"{settings.threads}, {settings.interop_threads} between operators"
    yield "threads", f"{threads}; processes here: {settings.processes}"
    yield "OpenMP", ", ".join(f"{one.file} ({one.threads})" for one in settings.runtimes) or "none"
    variables = [f"{name}={value}" for name, value in settings.variables.items()]
    yield "variables", " ".join(variables) or "none of note"
    if settings.modules:
        yield "imported", ", ".join(settings.modules)
    yield "default", f"{settings.default_dtype} on {settings.default_device}"
    products, convolutions = _on(settings.tf32_products), _on(settings.tf32_convolutions)
    tf32 = f"TF32 on a GPU: products {products}, convolutions {convolutions}"
    yield "float32", f"products: {settings.matmul_precision or 'unknown'}; {tf32}"
    warns = " (warns only)" if settings.deterministic_warns else ""
    cudnn = f"cuDNN {_on(settings.cudnn_deterministic)}, its benchmark {_on(settings.cudnn_benchmark)}"
    yield "deterministic", f"{_on(settings.deterministic)}{warns}; {cudnn}"
    flushed = "flushed to 0" if settings.flushes_denormals else "kept"
    yield "gradients", f"{_on(settings.gradients)}; anomaly {_on(settings.anomaly)}; denormals {flushed}"
    yield "Python", f"hash seed {settings.hash_seed}, -O {settings.optimized}, sharing by {settings.sharing}"
    names = f"{settings.encoding} for files, {settings.output_encoding or 'unknown'} for output"
    yield "encodings", f"{names}, {settings.filesystem_encoding} for names"


def _on(flag: bool | None) -> str:
    return {True: "on", False: "off", None: "unknown"}[flag]
