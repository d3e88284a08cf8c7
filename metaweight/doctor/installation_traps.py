"""Traps in what is installed and in what other versions have left."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from metaweight.doctor.facts import Facts
from metaweight.doctor.higher_source import TESTED
from metaweight.doctor.traps import Rule, Trap


def unknown_bounds(facts: Facts) -> Iterator[Trap]:
    """metaweight that is imported from a folder."""
    if not facts.versions.installed:
        what = "metaweight is imported from a folder and not installed: which versions it asks for is unknown"
        yield Trap("not-installed", True, what, "pip install --editable FOLDER")


def versions(facts: Facts) -> Iterator[Trap]:
    """What does not fit together."""
    asked = facts.versions.python_asked
    if not SpecifierSet(asked).contains(Version(facts.versions.python), prereleases=True):
        what = f"Python {facts.versions.python} is not one that metaweight runs on ({asked})"
        yield Trap("python", True, what, "make an environment with another Python")
    for package in facts.versions.packages:
        if package.state == "unknown":
            what = f"{package.name} has the version {package.version}, which cannot be compared"
            yield Trap("version", False, what, f"metaweight asks for {package.name}{package.asked}")
        elif package.state != "fits":
            here = "" if package.version is None else f" {package.version}"
            what = f"{package.name}{here} is {package.state}: metaweight asks for {package.asked}"
            yield Trap("version", True, what, f"pip install '{package.name}{package.asked}'")


def companions(facts: Facts) -> Iterator[Trap]:
    """Libraries that are compiled against one torch: importing them, or what imports them, fails."""
    for package in facts.versions.companions:
        if package.state != "fits":
            what = f"{package.name} {package.version} is for torch{package.asked}, and another torch is here"
            yield Trap(
                "companion", True, what, f"uninstall {package.name}, or install the one for this torch"
            )


def higher(facts: Facts) -> Iterator[Trap]:
    """A library that is copied from, whose code is not the one that is tested."""
    source = facts.higher
    if source.version != TESTED:
        what = f"higher {source.version or 'without a version'} is here; engines are tested against {TESTED}"
        advice = f"pip install higher=={TESTED}, or see what the self-test says"
        yield Trap("higher-version", True, what, advice)
    if source.changed:
        what = f"files of higher are not as they were installed: {', '.join(source.changed)}"
        yield Trap("higher-files", True, what, "pip install --force-reinstall --no-deps higher")
    if source.replaced:
        what = f"another module has replaced code of higher in this process: {', '.join(source.replaced)}"
        yield Trap("higher-patched", True, what, "leave that module out, or use another engine than 'higher'")


def plug_ins(facts: Facts) -> Iterator[Trap]:
    """Parts of other packages that do not load: every look-up among parts of their kind fails."""
    for plug_in in facts.plug_ins:
        if plug_in.error is not None:
            what = f"{plug_in.name} ({plug_in.group}, {plug_in.distribution}) does not load: {plug_in.error}"
            origin = plug_in.distribution.partition(" ")[0]
            advice = f"repair or uninstall {origin}: until then no part of its kind can be looked up"
            yield Trap("plug-in", True, what, advice)


def runs(facts: Facts) -> Iterator[Trap]:
    """Run folders of other versions."""
    words = {
        "newer": (
            "a newer version of metaweight wrote it",
            "upgrade metaweight to go on with it",
        ),
        "grid without a plan": ("an older version of metaweight ran this grid", "run it again"),
        "older": (
            "an older version of metaweight wrote its checkpoint",
            "nothing: metaweight train --resume goes on with it, and writes it anew in today's form",
        ),
    }
    for run in facts.runs:
        what, advice = words[run.form]
        yield Trap("run-folder", run.form != "older", f"runs/{run.name}: {what}", advice)


INSTALLATION: tuple[Rule, ...] = (unknown_bounds, versions, companions, higher, plug_ins, runs)
