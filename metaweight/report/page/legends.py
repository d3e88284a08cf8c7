"""What stands beside the figures of the page: how they were got, and what is not known."""

from __future__ import annotations

from metaweight.report.page.comparison import NONE
from metaweight.report.page.study import Study
from metaweight.report.unknown import NOISE, unknown_note

UNKNOWN = "not known"


def facts(study: Study) -> list[tuple[str, str, str]]:
    """(name, text, signature) of each figure of a study's only run; none for a grid."""
    if study.grid:
        return []
    run = study.runs[0]
    signed = {} if run.result is None else study.presentation.signatures(run.result.details)
    named = _names(study)
    return [
        (
            named.get(name, name.replace("_", " ")),
            f"{value:.4g}" if value is not None else UNKNOWN if name == NOISE else NONE,
            signed.get(name, ""),
        )
        for name, value in run.figures.items()
        if value is not None or name in (NOISE, study.main.figure)  # else the task has it of other targets
    ]


def _names(study: Study) -> dict[str, str]:
    """Figure -> what it is called where people see it: in a table's heading, else at the end of a run."""
    headlines = {one.figure: one.unknown[0] for one in study.presentation.headlines if one.unknown}
    return headlines | {column.figure: column.heading for column in study.columns}


def table_notes(study: Study) -> list[str]:
    """Signatures of the columns of a grid's table, and what is left out because nobody knows it."""
    headings = {column.figure: column.heading for column in study.columns}
    signed: dict[str, list[str]] = {}
    for result in study.results if study.grid else ():
        for figure, signature in study.presentation.signatures(result.details).items():
            names = signed.setdefault(signature, [])
            if figure in headings and headings[figure] not in names:
                names.append(headings[figure])
    signatures = [f"{' and '.join(names)}: {signature}" for signature, names in signed.items()]
    return [*signatures, *filter(None, [unknown_note(study.results)])]
