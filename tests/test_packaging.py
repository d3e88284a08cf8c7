"""What is shipped: the wheel's files, and version and pins that are written in more than one place."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import distribution
from tools.lowest import lowest, requirements

ROOT = Path(__file__).parent.parent
TYPED = {"metaweight/py.typed", "metaweight/__init__.pyi"}
SHIPPED = ["setup.cfg", "setup.py", "LICENSE", "README.md", "Makefile"]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def version() -> str:
    """``__version__`` as the package's source states it."""
    tree = ast.parse((ROOT / "metaweight" / "core" / "version.py").read_text())
    (value,) = (
        n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__version__"
    )
    return str(ast.literal_eval(value))


def make(*arguments: str, cwd: Path = ROOT) -> str:
    """What ``make -s`` prints, free of the settings of a make that runs these tests."""
    command = ["make", "-s", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    return done.stdout


def modules(folder: Path) -> set[str]:
    return {str(path.relative_to(folder.parent)) for path in folder.rglob("*.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of this repository that has a data set lying in every folder."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("metaweight", "tests", "benchmarks"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
        (source / folder / "labels.npz").write_bytes(b"data")
    (source / "metaweight" / "data" / "labels.npz").write_bytes(b"data")
    for name in SHIPPED:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    templates = {f"metaweight/report/page/templates/report.{end}" for end in ("css", "html.jinja", "js")}
    templates |= {f"metaweight/report/choosing/templates/check.{end}" for end in ("html.jinja", "js")}
    assert held == modules(ROOT / "metaweight") | TYPED | templates


def test_the_lists_of_make_dist_let_this_wheel_through(wheel: zipfile.ZipFile) -> None:
    assert distribution.of_wheel(wheel.namelist()) == []
    inner = [name for name in wheel.namelist() if ".dist-info/" not in name]
    beside = ["LICENSE", "README.md", "setup.cfg", "setup.py", "PKG-INFO", "metaweight.egg-info/SOURCES.txt"]
    assert distribution.of_sdist([f"metaweight-1/{name}" for name in (*inner, *beside)]) == []


@pytest.mark.parametrize(
    "stranger",
    [
        *(
            "metaweight/data/labels.npz",
            "tests/test_packaging.py",
            "runs/a/table.md",
            "benchmarks/__init__.py",
        ),
        *("metaweight/__pycache__/x.pyc", "metaweight/report/page/templates/report.png", "tools/lowest.py"),
    ],
)
def test_what_does_not_belong_into_a_release_is_named(stranger: str) -> None:
    for found in (distribution.of_wheel([stranger]), distribution.of_sdist([f"metaweight-1/{stranger}"])):
        assert found[0] == f"{stranger} does not belong there"
        assert {"metaweight/py.typed lacks", "metaweight/__init__.pyi lacks"} <= set(found)
        assert any(one.endswith("LICENSE lacks") for one in found)


def test_lowest_versions_are_those_of_the_metadata(metadata: Message) -> None:
    bounds = lowest((ROOT / "setup.cfg").read_text())
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    for_users = {
        r.name: r
        for r in required
        if r.marker is None or not {"dev", "docs", "release"} & set(str(r.marker).split(chr(34)))
    }
    assert bounds.keys() == for_users.keys()
    for name, version in bounds.items():
        assert for_users[name].specifier.contains(version)
        assert f">={version}" in str(for_users[name].specifier)


def test_extras_of_the_developers_bound_what_users_install_alike() -> None:
    found = requirements((ROOT / "setup.cfg").read_text())
    ours = {Requirement(line).name: line for line in found.pop("dev")}
    theirs = {Requirement(line).name: line for lines in found.values() for line in lines}
    assert {name: line for name, line in ours.items() if theirs.get(name, line) != line} == {}


@pytest.mark.parametrize("line", ["torch", "torch>=2.4", "torch<3", "torch>=2.4,<3; python_version<'4'"])
def test_a_requirement_without_both_bounds_is_refused(line: str) -> None:
    setup = f"[options]\ninstall_requires =\n    {line}\n[options.extras_require]\n"
    with pytest.raises(ValueError, match="is to be NAME>=LOWEST,<"):
        lowest(setup)


def test_wheel_has_licence_command_and_version(wheel: zipfile.ZipFile, metadata: Message) -> None:
    stem = f"metaweight-{version()}.dist-info"
    points = configparser.ConfigParser()
    points.read_string(wheel.read(f"{stem}/entry_points.txt").decode())
    assert dict(points["console_scripts"]) == {"metaweight": "metaweight.cli.main:main"}
    assert metadata["Version"] == version()
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_pinned_torch_is_one_that_the_wheel_accepts(metadata: Message) -> None:
    required = {r.name: r for r in map(Requirement, metadata.get_all("Requires-Dist"))}
    (pinned,) = re.findall(r"^TORCH := torch==(\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned == "2.13.0"
    assert required["torch"].specifier.contains(pinned)
    assert str(required["higher"].specifier) == "<0.3,>=0.2.1"


def test_version_is_the_same_everywhere() -> None:
    cited = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == [version()]
    headings = re.findall(r"^## \[(\S+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:] in ([], [version(), *headings[2:]])


@needs_make
def test_help_has_a_line_for_every_target() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^  make (\S+) +\S", make(), re.MULTILINE) == phony.split()


@needs_make
def test_bench_image_hands_on_its_options() -> None:
    options = ["DATA=cifar10", "PROFILE=full", "ARGS=--jobs 2"]
    shown = make("-n", "-o", ".venv/.installed", "bench-image", *options)
    command = "metaweight compare --grid benchmarks/image/profiles/cifar10.toml --profile full --jobs 2"
    assert shown.strip() == f".venv/bin/{command}"


@needs_make
def test_an_old_python_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for name in ("Makefile", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python-old"
    old.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c \"import sys; sys.version_info = (3, 10); $2\"\n")
    old.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError) as error:
        make("install", f"PYTHON={old}", cwd=tmp_path)
    assert "Python 3.11 or newer" in error.value.stderr
    assert "try make PYTHON=" in error.value.stderr
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_clean_leaves_run_folders(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = {tmp_path / "runs" / "a" / "table.md", tmp_path / "benchmarks" / "results" / "table.md"}
    gone = {tmp_path / "build" / "lib" / "x.py", tmp_path / "metaweight" / "__pycache__" / "x.pyc"}
    for path in kept | gone | {tmp_path / "tests" / "test_x.py"}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    make("clean", cwd=tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.parent.exists() for path in gone)
