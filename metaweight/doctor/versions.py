"""What is installed, beside what metaweight asks for."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Literal

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from metaweight.core.records import Record
from metaweight.core.version import __version__
from metaweight.training.environment import state_of_source

NAME = "metaweight"
FIRST = ("torch", "higher", "datasets", "numpy", "pandas", "scikit-learn", "sacrebleu", "sentencepiece")
"""Distributions that are listed before all others; those looked for where metaweight is not installed."""
DEVELOPERS = ("dev", "docs", "release")
"""Extras that nobody needs who uses the library."""
COMPANIONS = ("torchvision", "torchaudio")
"""Distributions that fit one torch each, and do not import with another."""
State = Literal["fits", "too old", "too new", "not installed", "unknown"]


class Package(Record, frozen=True):
    """A distribution, and how it stands to what metaweight asks for."""

    name: str
    version: str | None
    """None: not installed."""
    asked: str
    """Bounds on the version, ``>=2.4,<3``; empty where nothing is asked."""
    extra: str | None
    """The extra of metaweight that asks for it; None: it is always needed."""
    state: State


class Versions(Record, frozen=True, kw_only=True):
    """Of metaweight, of Python and of all that they stand on."""

    metaweight: str
    commit: str | None
    """Of the checkout that it is imported from; None where it is from none."""
    modified: bool | None
    """Whether tracked files of that checkout are others than the commit's."""
    installed: bool
    """Whether metaweight has metadata here: without, nobody knows what it asks for."""
    python: str
    python_asked: str
    torch_build: str
    """CPU, CUDA 12.8 or ROCm 6.4."""
    packages: tuple[Package, ...]
    companions: tuple[Package, ...]
    """Of ``COMPANIONS`` those that are here: ``asked`` is what they ask of torch, ``state`` that of torch."""


def versions_here(distribution: str = NAME) -> Versions:
    """Of this process's Python; ``distribution``: whose metadata says what is asked for.

    Optional packages are listed where they are installed, needed ones always.
    """
    commit, modified = state_of_source()
    try:
        about = metadata(distribution)
    except PackageNotFoundError:
        about = None
    lines = [] if about is None else about.get_all("Requires-Dist") or []
    asked = list(_requirements(lines)) if about is not None else [(Requirement(name), None) for name in FIRST]
    places = {name: place for place, name in enumerate(FIRST)}
    asked.sort(key=lambda one: (one[1] is not None, places.get(one[0].name, len(places))))
    packages = [_package(requirement, extra) for requirement, extra in asked]
    return Versions(
        metaweight=__version__,
        commit=commit,
        modified=modified,
        installed=about is not None,
        python=platform.python_version(),
        python_asked=about["Requires-Python"] if about is not None and "Requires-Python" in about else "",
        torch_build=_torch_build(),
        packages=tuple(one for one in packages if one.extra is None or one.version is not None),
        companions=tuple(_companions()),
    )


def _companions() -> Iterator[Package]:
    for name in COMPANIONS:
        try:
            asked = [one for one in map(Requirement, requires(name) or []) if one.name == "torch"]
        except PackageNotFoundError:
            continue
        for one in asked[:1]:
            state = state_of(torch.__version__, one.specifier)
            yield Package(name, version(name), str(one.specifier), None, state)


def _requirements(lines: Iterable[str]) -> Iterator[tuple[Requirement, str | None]]:
    """Those that hold on this machine, each once, with the extra that asks; not those of developers."""
    once: set[str] = set()
    for requirement in map(Requirement, lines):
        extra = _extra(requirement)
        if extra in DEVELOPERS or requirement.name in once:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra or ""}):
            once.add(requirement.name)
            yield requirement, extra


def _extra(requirement: Requirement) -> str | None:
    """The extra that a requirement is of, as the end of its marker names it: ``extra == "lightning"``."""
    marker = "" if requirement.marker is None else str(requirement.marker)
    return marker.rpartition("extra == ")[2].strip("\"' )") if "extra == " in marker else None


def _package(requirement: Requirement, extra: str | None) -> Package:
    try:
        installed: str | None = version(requirement.name)
    except PackageNotFoundError:
        installed = None
    state = state_of(installed, requirement.specifier)
    return Package(requirement.name, installed, str(requirement.specifier), extra, state)


def state_of(installed: str | None, asked: SpecifierSet) -> State:
    """Whether a version is one of those asked for; builds of one's own (``2.13.0+cpu``) count as released."""
    if installed is None:
        return "not installed"
    try:
        own = Version(installed)
    except InvalidVersion:
        return "unknown"
    if asked.contains(own, prereleases=True):
        return "fits"
    below = [one for one in asked if one.operator in (">=", ">", "~=") and own < Version(one.version)]
    return "too old" if below else "too new"


def _torch_build() -> str:
    if torch.version.cuda is not None:
        return f"CUDA {torch.version.cuda}"
    return f"ROCm {torch.version.hip}" if torch.version.hip is not None else "CPU"
