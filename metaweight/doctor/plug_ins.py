"""Parts of other packages that are found by entry point, and why those do not load that do not."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from metaweight.core.records import Record

PREFIX = "metaweight."


class PlugIn(Record, frozen=True):
    """A part of another package."""

    group: str
    """metaweight.teachers, ..."""
    name: str
    distribution: str
    """With its version."""
    error: str | None
    """Why it does not load; None where it does."""


def plug_ins_here() -> tuple[PlugIn, ...]:
    """Every one of the groups of metaweight, loaded; one that fails to load hides no other."""
    points = entry_points()
    groups = sorted(group for group in points.groups if group.startswith(PREFIX))
    return tuple(_loaded(point) for group in groups for point in points.select(group=group))


def _loaded(point: EntryPoint) -> PlugIn:
    origin = "unknown" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    try:
        point.load()
    except Exception as error:  # what another package raises is anything
        return PlugIn(point.group, point.name, origin, f"{type(error).__name__}: {error}")
    return PlugIn(point.group, point.name, origin, None)
