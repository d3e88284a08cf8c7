"""Look into a built wheel and sdist: ``python -m tools.distribution dist`` (``make dist``).

Each holds what is on its list and lacks nothing that has to be there; the wheel is then installed into an
empty folder and imported from there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

PACKAGE = (
    r"metaweight/([a-z0-9_]+/)*[a-z0-9_]+\.py",
    r"metaweight/__init__\.pyi",
    r"metaweight/py\.typed",
    r"metaweight/report/(choosing|page)/templates/[a-z]+\.(css|html\.jinja|js)",
)
WHEEL = (
    *PACKAGE,
    r"metaweight-[^/]+\.dist-info/(METADATA|RECORD|WHEEL|entry_points\.txt|top_level\.txt|licenses/LICENSE)",
)
SDIST = (
    *PACKAGE,
    r"metaweight\.egg-info/[A-Za-z-]+(_[a-z]+)?(\.txt)?",
    r"setup\.(py|cfg)|PKG-INFO|MANIFEST\.in|README\.md|CHANGELOG\.md|CITATION\.cff|LICENSE",
)
NEEDED = (
    *("metaweight/__init__.py", "metaweight/__init__.pyi", "metaweight/py.typed"),
    *(f"metaweight/report/page/templates/report.{end}" for end in ("css", "html.jinja", "js")),
    *(f"metaweight/report/choosing/templates/check.{end}" for end in ("html.jinja", "js")),
)
IMPORTED = """
import sys, metaweight
assert metaweight.__file__.startswith(sys.argv[1]), metaweight.__file__
from metaweight import *
from metaweight.report.html import environment
templates = environment("metaweight.report.page")
templates.loader.get_source(templates, "report.html.jinja")
print("imported", metaweight.__version__, "with", len(metaweight.teachers.names()), "teachers")
"""


def problems(names: Iterable[str], allowed: Sequence[str], needed: Iterable[str]) -> list[str]:
    """What of ``names`` is on no list, and what has to be there and is not."""
    names = {name for name in names if not name.endswith("/")}
    strangers = (name for name in sorted(names) if not any(re.fullmatch(one, name) for one in allowed))
    missing = (name for name in needed if name not in names)
    return [*(f"{name} does not belong there" for name in strangers), *(f"{name} lacks" for name in missing)]


def of_wheel(names: Iterable[str]) -> list[str]:
    """Problems of a wheel's files."""
    names = list(names)
    licences = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    return problems(names, WHEEL, (*NEEDED, *(licences or ["licenses/LICENSE"])))


def of_sdist(names: Iterable[str]) -> list[str]:
    """Problems of an sdist's files, by their names below its one folder."""
    inner = [name.partition("/")[2] for name in names]
    return problems(inner, SDIST, (*NEEDED, "LICENSE", "README.md", "setup.cfg", "setup.py"))


def files_of(archive: Path) -> list[str]:
    """Names of the files in a wheel or an sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            return opened.namelist()
    with tarfile.open(archive) as packed:
        return [member.name for member in packed.getmembers() if not member.isdir()]


def imported(wheel: Path) -> str:
    """What an import out of an empty folder says, into which the wheel alone was installed."""
    with tempfile.TemporaryDirectory() as scratch:
        place = str(Path(scratch).resolve() / "place")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*install, "--target", place, str(wheel)], check=True)
        environment = {**os.environ, "PYTHONPATH": place}
        command = [sys.executable, "-c", IMPORTED, place]
        done = subprocess.run(
            command, cwd=scratch, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()


def main(folder: str = "dist") -> int:
    """0; 1 where something is not as it should be, which is printed."""
    (wheel,), (sdist,) = (sorted(Path(folder).glob(ending)) for ending in ("*.whl", "*.tar.gz"))
    found = [f"{wheel.name}: {one}" for one in of_wheel(files_of(wheel))]
    found += [f"{sdist.name}: {one}" for one in of_sdist(files_of(sdist))]
    for one in found:
        print(one)
    if found:
        return 1
    print(f"{wheel.name}: {len(files_of(wheel))} files; {sdist.name}: {len(files_of(sdist))} files")
    print(imported(wheel))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
