"""Traps of metaweight doctor: each provoked, as a fact or by really setting what it is about."""

from __future__ import annotations

import io
import locale
import re
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

import metaweight.doctor
from metaweight.cli.main import main
from metaweight.doctor.examination import RULES
from metaweight.doctor.facts import Facts, facts_here
from metaweight.doctor.higher_source import HigherSource
from metaweight.doctor.machine import Device, Place, machine_here, place_of
from metaweight.doctor.plug_ins import PlugIn
from metaweight.doctor.run_folders import OtherForm
from metaweight.doctor.settings import Runtime, settings_here
from metaweight.doctor.traps import traps_in
from metaweight.doctor.versions import Package

GPU = (Device("cuda", "H200", 1 << 37, "9.0", True),)
SMALL = Place("/tmp", 1 << 40, 1 << 20, True)
Changes = dict[str, dict[str, Any] | tuple[Any, ...] | HigherSource]
PROVOKED: tuple[tuple[str, Changes], ...] = (
    ("not-installed", {"versions": {"installed": False}}),
    ("python", {"versions": {"python": "3.9.1"}}),
    ("version", {"versions": {"packages": (Package("torch", "2.0", ">=2.4,<3", None, "too old"),)}}),
    ("version", {"versions": {"packages": (Package("numpy", None, ">=1.26", None, "not installed"),)}}),
    ("version", {"versions": {"packages": (Package("numpy", "odd", ">=1.26", None, "unknown"),)}}),
    ("companion", {"versions": {"companions": (Package("torchvision", "0.1", "==2.0", None, "too new"),)}}),
    ("higher-version", {"higher": HigherSource("0.2.0", (), ())}),
    ("higher-files", {"higher": HigherSource("0.2.1", ("higher/patch.py",), ())}),
    ("higher-patched", {"higher": HigherSource("0.2.1", (), ("higher.patch.monkeypatch",))}),
    ("plug-in", {"plug_ins": (PlugIn("metaweight.teachers", "mine", "mine 1.0", "ImportError: no"),)}),
    ("run-folder", {"runs": (OtherForm("a", "newer"),)}),
    ("run-folder", {"runs": (OtherForm("a", "older"),)}),
    ("run-folder", {"runs": (OtherForm("a", "grid without a plan"),)}),
    ("threads", {"settings": {"threads": 5}}),
    ("processes", {"settings": {"processes": 3, "threads": 2}}),
    ("malloc", {"machine": {"libc": "glibc 2.36"}}),
    ("temporary-folder", {"machine": {"temporary": SMALL}}),
    ("temporary-folder", {"machine": {"temporary": Place("/tmp", 1 << 40, 1 << 40, False)}}),
    ("shared-memory", {"machine": {"shared_memory": Place("/dev/shm", 64 << 20, 64 << 20, True)}}),
    ("open-files", {"machine": {"open_files": 256}}),
    ("compiler", {"machine": {"compiler": None}}),
    ("bf16", {"machine": {"bf16_pace": 0.2}}),
    ("gpu", {"machine": {"nvidia_driver": True}}),
    ("gpu", {"machine": {"nvidia_driver": True}, "versions": {"torch_build": "CUDA 12.8"}}),
    ("gpu", {"machine": {"nvidia_driver": True}, "settings": {"variables": {"CUDA_VISIBLE_DEVICES": ""}}}),
    ("gradients", {"settings": {"gradients": False}}),
    ("anomaly", {"settings": {"anomaly": True}}),
    ("default-dtype", {"settings": {"default_dtype": "float16"}}),
    ("default-device", {"settings": {"default_device": "cuda:0"}}),
    ("matmul-precision", {"settings": {"matmul_precision": "medium"}}),
    ("matmul-precision", {"settings": {"matmul_precision": None}}),
    ("matmul-precision", {"settings": {"tf32_products": True}}),
    ("tf32-convolutions", {"machine": {"devices": GPU}, "settings": {"tf32_convolutions": True}}),
    (
        "cudnn-benchmark",
        {"machine": {"devices": GPU}, "settings": {"cudnn_benchmark": True, "tf32_convolutions": False}},
    ),
    ("denormals", {"settings": {"flushes_denormals": True}}),
    ("openmp", {"settings": {"runtimes": (Runtime("libomp", "a", 1), Runtime("libiomp", "b", 1))}}),
    ("hash-seed", {"settings": {"hash_seed": "random"}}),
    ("optimized", {"settings": {"optimized": 1}}),
    ("locale", {"settings": {"encoding": "ANSI_X3.4-1968"}}),
    ("locale", {"settings": {"output_encoding": "latin-1"}}),
    ("data-folder", {"settings": {"data_folder": False}}),
)


def changed(facts: Facts, changes: Changes) -> Facts:
    """``facts`` with other values in some of their parts."""
    parts = {
        part: msgspec.structs.replace(getattr(facts, part), **change) if isinstance(change, dict) else change
        for part, change in changes.items()
    }
    return msgspec.structs.replace(facts, **parts)


@pytest.fixture(scope="module")
def here() -> Facts:
    return facts_here()


@pytest.fixture(scope="module")
def healthy(here: Facts) -> Facts:
    """A machine of four CPUs without a trap."""
    packages = tuple(msgspec.structs.replace(package, state="fits") for package in here.versions.packages[:3])
    machine = {
        **{"usable_cpus": 4, "libc": "", "open_files": 1 << 16, "compiler": "g++", "bf16_pace": 1.5},
        **{"devices": (), "nvidia_driver": False, "quota": None},
        **{"temporary": Place("/tmp", 1 << 40, 1 << 39, True), "shared_memory": None},
    }
    settings = {
        **{"threads": 2, "processes": 1, "variables": {}, "data_folder": True, "hash_seed": "0"},
        **{"encoding": "utf8", "output_encoding": "UTF-8", "filesystem_encoding": "utf-8"},
        **{
            "sharing": "file_descriptor",
            "runtimes": (Runtime("libgomp", "a", 1), Runtime("libgomp", "b", 1)),
        },
        **{"tf32_convolutions": True, "tf32_products": False, "matmul_precision": "highest"},
    }
    return changed(
        here,
        {
            "versions": {"installed": True, "packages": packages, "companions": (), "torch_build": "CPU"},
            "machine": machine,
            "settings": settings,
            "higher": HigherSource("0.2.1", (), ()),
            "runs": (),
            "plug_ins": (),
        },
    )


def names(facts: Facts) -> list[str]:
    return [trap.name for trap in traps_in(facts, RULES)]


def test_a_healthy_machine_has_no_trap(healthy: Facts) -> None:
    assert names(healthy) == []


@pytest.mark.parametrize(("name", "changes"), PROVOKED)
def test_a_trap_is_found_and_no_other(name: str, changes: Changes, healthy: Facts) -> None:
    (trap,) = traps_in(changed(healthy, changes), RULES)
    assert trap.name == name
    assert len(trap.what.split()) >= 5
    assert trap.advice


def test_every_trap_is_provoked() -> None:
    folder = Path(metaweight.doctor.__file__).parent
    sources = "".join(path.read_text() for path in folder.glob("*_traps.py"))
    assert set(re.findall(r'Trap\(\s*"([a-z0-9-]+)"', sources)) == {name for name, _ in PROVOKED}


def test_warnings_come_first(healthy: Facts) -> None:
    both = changed(
        healthy, {"settings": {"hash_seed": "random", "anomaly": True}, "machine": {"libc": "glibc"}}
    )
    assert [(trap.name, trap.warns) for trap in traps_in(both, RULES)] == [
        ("anomaly", True),
        ("malloc", False),
        ("hash-seed", False),
    ]


def test_threads_say_how_many_fit(healthy: Facts) -> None:
    few = changed(healthy, {"settings": {"threads": 8}, "machine": {"usable_cpus": 2, "quota": 1.5}})
    (trap,) = traps_in(few, RULES)
    assert "8 threads" in trap.what
    assert "1.5 CPUs" in trap.what
    assert "OMP_NUM_THREADS=2" in trap.advice
    (trap,) = traps_in(changed(healthy, {"settings": {"processes": 3, "threads": 4}}), RULES)
    assert "3 processes with 4 threads each share 4 CPUs" in trap.what
    assert "OMP_NUM_THREADS=1" in trap.advice


def test_some_memory_is_told_to_go_back(healthy: Facts) -> None:
    told: Changes = {
        "machine": {"libc": "glibc 2.36"},
        "settings": {"variables": {"MALLOC_MMAP_THRESHOLD_": "1"}},
    }
    assert names(changed(healthy, told)) == []


# what is really set


@pytest.fixture
def _torch_as_it_was() -> Iterator[None]:
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    yield
    torch.set_default_dtype(dtype)
    torch.set_float32_matmul_precision(precision)
    torch.set_flush_denormal(False)
    torch.autograd.set_detect_anomaly(False)
    torch.set_grad_enabled(True)
    torch.set_default_device(None)


def really(healthy: Facts) -> list[str]:
    """Traps of this process's settings as they are now, but for those that any machine may have."""
    now = settings_here()
    common = {
        "variables": {},
        "hash_seed": "0",
        "runtimes": healthy.settings.runtimes,
        **{name: "utf-8" for name in ("encoding", "output_encoding", "filesystem_encoding")},
    }
    machine = {"usable_cpus": max(healthy.machine.usable_cpus, 4)}
    return names(
        changed(
            msgspec.structs.replace(healthy, settings=now),
            {"settings": {**common, "processes": now.processes}, "machine": machine},
        )
    )


@pytest.mark.usefixtures("_torch_as_it_was")
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_what_is_really_set_is_seen(healthy: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAWEIGHT_DATA", raising=False)
    assert really(healthy) == []
    torch.autograd.set_detect_anomaly(True)
    assert really(healthy) == ["anomaly"]
    torch.autograd.set_detect_anomaly(False)
    torch.set_grad_enabled(False)
    assert really(healthy) == ["gradients"]
    torch.set_grad_enabled(True)
    with torch.inference_mode():
        assert really(healthy) == ["gradients"]
    torch.set_default_dtype(torch.bfloat16)
    assert really(healthy) == ["default-dtype"]
    torch.set_default_dtype(torch.float32)
    torch.set_default_device("meta")
    assert really(healthy) == ["default-device"]
    torch.set_default_device(None)
    torch.set_float32_matmul_precision("medium")
    assert really(healthy) == ["matmul-precision"]
    torch.set_float32_matmul_precision("highest")
    if torch.set_flush_denormal(True):  # else this processor cannot
        assert really(healthy) == ["denormals"]
    torch.set_flush_denormal(False)
    torch.set_num_threads(5)
    assert really(healthy) == ["threads"]
    torch.set_num_threads(1)
    monkeypatch.setenv("METAWEIGHT_DATA", "/no/such/folder")
    assert really(healthy) == ["data-folder"]
    monkeypatch.delenv("METAWEIGHT_DATA")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    assert really(healthy) == ["processes"]


@pytest.mark.usefixtures("_torch_as_it_was")
def test_the_report_says_what_is_really_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_float32_matmul_precision("high")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("METAWEIGHT_DATA", "/no/such/folder")
    assert main(["doctor", "--no-self-test"]) == 0  # warnings are no failure
    text = capsys.readouterr().out
    assert "  matmul-precision: products in float32 have the precision 'high'" in text
    assert "    -> torch.set_float32_matmul_precision('highest')" in text
    assert "  data-folder: METAWEIGHT_DATA names a folder that is not there" in text
    assert "/no/such/folder" not in text  # a path is nobody's business
    assert "hash seed 7" in text
    assert re.search(r"^\d+ warnings; no self-test was run$", text, re.MULTILINE)


def test_encodings_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch, healthy: Facts) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    monkeypatch.setattr(locale, "getpreferredencoding", lambda _=True: "ascii")
    now = settings_here()
    (trap,) = traps_in(changed(healthy, {"settings": {"encoding": now.encoding}}), RULES)
    assert "ascii" in trap.what
    (trap,) = traps_in(changed(healthy, {"settings": {"output_encoding": now.output_encoding}}), RULES)
    assert "standard output: cp1252" in trap.what


def test_the_machine_is_really_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: Facts
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (900, hard))
    try:
        machine = machine_here()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (machine.open_files, machine.compiler, machine.temporary.writable) == (900, None, False)
    assert machine.bf16_pace > 0
    assert machine.memory is not None
    assert machine.memory > 1 << 28
    found = changed(
        healthy, {"machine": {n: getattr(machine, n) for n in ("open_files", "compiler", "temporary")}}
    )
    assert sorted(names(found)) == ["compiler", "open-files", "temporary-folder"]


def test_places_under_the_home_folder_do_not_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tmp").mkdir()
    place = place_of(tmp_path / "tmp")
    assert (place.path, place.writable) == ("~/tmp", True)
    assert list((tmp_path / "tmp").iterdir()) == []
