"""All that is found out about an installation and its machine before anything is judged or tried."""

from __future__ import annotations

from metaweight.core.records import Record
from metaweight.doctor.higher_source import HigherSource, higher_here
from metaweight.doctor.machine import Machine, machine_here
from metaweight.doctor.plug_ins import PlugIn, plug_ins_here
from metaweight.doctor.run_folders import OtherForm, other_forms
from metaweight.doctor.settings import Settings, settings_here
from metaweight.doctor.versions import Versions, versions_here


class Facts(Record, frozen=True, kw_only=True):
    """Of one process at one time."""

    versions: Versions
    machine: Machine
    settings: Settings
    higher: HigherSource
    runs: tuple[OtherForm, ...]
    """Of other versions, in the working directory."""
    plug_ins: tuple[PlugIn, ...]


def facts_here() -> Facts:
    """Found out now; settings first, for what comes after them loads libraries."""
    settings = settings_here()
    return Facts(
        versions=versions_here(),
        machine=machine_here(),
        settings=settings,
        higher=higher_here(),
        runs=other_forms(),
        plug_ins=plug_ins_here(),
    )
