"""How a study was made: what its arms differ in, versions, commit, command."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metaweight.report.choices import Chosen, chosen, read_choices
from metaweight.report.page.study import Study
from metaweight.tasks import tasks


@dataclass(frozen=True)
class Origin:
    """Plain text, by name."""

    facts: tuple[tuple[str, str], ...]
    """Of the first start."""
    chosen: tuple[tuple[str, str, str], ...]
    """(option, value, default) of what the runs share and that is not the default."""
    arms: tuple[tuple[str, str], ...]
    """Arm -> options in which it differs from the shared ones."""
    noises: tuple[tuple[str, str], ...]
    """Kind of noise -> the same."""
    starts: tuple[tuple[str, str], ...]
    """(time, command) of every start."""
    tuned_by: str = ""
    """The figure of the validation set that options were chosen by; empty where they were given."""
    tuned: tuple[Chosen, ...] = ()
    """What was chosen, noise by noise and arm by arm."""


def origin(study: Study) -> Origin:
    """From the manifests, and the task's defaults."""
    first = study.manifests[0]
    config = first["config"]
    base = config["base"] if study.grid else config
    defaults = dataclasses.asdict(tasks[study.task].config())
    choices = read_choices(study.folder)
    return Origin(
        tuple((name, text) for name, text in _facts(first) if text),
        tuple(_chosen(defaults, base, study)),
        tuple(_overrides(config.get("overrides", {}))),
        tuple(_overrides(config.get("noise_overrides", {}))),
        tuple((str(m.get("started", "")), _command(m)) for m in study.manifests),
        "" if choices is None else choices.figure,
        () if choices is None else chosen(choices),
    )


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = about.get("versions", {})
    changed = ", with changes of its own" if about.get("modified") else ""
    processes = about.get("processes", 1)
    return [
        ("started", str(about.get("started", ""))),
        ("commit", f"{about.get('commit') or ''}{changed}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("processor", str(about.get("cpu", ""))),
        ("GPUs", ", ".join(map(str, about.get("gpus", ())))),
        ("threads", str(about.get("threads", ""))),
        *([("processes", str(processes))] if processes > 1 else []),
        ("platform", str(about.get("platform", ""))),
    ]


def _command(about: Mapping[str, Any]) -> str:
    return shlex.join(map(str, about.get("command", ())))


def _chosen(defaults: Mapping[str, Any], base: Mapping[str, Any], study: Study) -> list[tuple[str, str, str]]:
    # each cell of a grid has its own
    varied = {"teacher", "noise", "noise_rate", "seed"} if study.grid else set()
    return [
        (name, _text(value), _text(defaults[name]))
        for name, value in base.items()
        if name in defaults and name not in varied and _text(value) != _text(defaults[name])
    ]


def _overrides(tables: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        (name, ", ".join(f"{key} = {_text(value)}" for key, value in table.items()))
        for name, table in tables.items()
    ]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
