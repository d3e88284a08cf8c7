"""A page for each teacher, engine, remedy, loss and task: what it declares, its docstring, its evidence."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kept import RESULTS, Table, tables
from made import MADE, write

from metaweight import engines, remedies, teachers
from metaweight.core.markdown import markdown_table
from metaweight.core.options import options_of
from metaweight.student import losses
from metaweight.tasks import tasks

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = MADE / "reference" / "made"
SEES = {
    None: "it does not say",
    "nothing": "nothing of the student",
    "loss": "the student's loss",
    "surface": "the student's outputs beside its loss",
    "states": "the student's hidden states",
    "gradient": "the batch's own meta-gradient",
}
MOST = 8
"""Tables of evidence on a page."""


def teacher_pages() -> Iterator[tuple[str, str]]:
    """Name, text."""
    for name in sorted(teachers.names()):
        part = teachers.registry[name]
        facts = {
            "It sees": SEES[part.sees],
            "It learns from meta-gradients": _yes(part.learns),
            "It looks at the trusted samples itself": _yes(part.wants_meta),
            "The student trains on the trusted samples too, by default": _yes(part.trains_on_meta),
            "It keeps something of every sample": _yes(part.needs_samples),
            "Its meta-gradient is centred": {True: "over the batch", False: "not", "class": "in each class"}[
                part.centered
            ],
            "It rates rows it never saw": (part.unrated and f"no: {part.unrated}") or "yes",
        }
        yield name, _page(name, part, facts, teachers.options(name), f'mw.build_teacher("{name}", spec)')


def engine_pages() -> Iterator[tuple[str, str]]:
    """Name, text."""
    for name in sorted(engines.names()):
        part = engines.registry[name]
        can = part.abilities
        facts = {
            "Inner steps": "any number" if can.steps is None else str(can.steps),
            "Exact": _yes(can.exact),
            "Samples may couple (BatchNorm)": _yes(can.coupled),
            "Weights per token": _yes(can.tokens),
            "Fused attention": _yes(not can.written_out_attention),
            "Inner steps can be the real ones (windows, `online`)": _yes(can.ends_window),
            "Parameters may be sharded": _yes(can.sharded),
        }
        text = _page(name, part, facts, engines.options(name), f'mw.Reweighter(..., engine="{name}")')
        yield name, text.replace("```\n\n", f"```\n\n{_sentence(part.summary)}\n\n", 1)


def remedy_pages() -> Iterator[tuple[str, str]]:
    """Name, text."""
    for name in sorted(remedies.remedies.names()):
        part = remedies.remedies[name]
        facts = {
            "It is told which samples are bad (a bound, no remedy)": _yes(part.uses_truth),
            "It looks at whole batches": _yes(part.whole_batches),
        }
        yield name, _page(name, part, facts, remedies.remedy_options(name), f"--remedy {name}")


def loss_pages() -> Iterator[tuple[str, str]]:
    """Name, text."""
    for name in sorted(losses.losses.names()):
        yield name, _page(name, losses.losses[name], {}, losses.loss_options(name), f"--loss {name}")


def task_pages() -> Iterator[tuple[str, str]]:
    """Name, text."""
    for name in tasks.names():
        task = tasks[name]
        facts = {"Kinds of bad data in a comparison": ", ".join(f"`{noise}`" for noise in task.noises) or "-"}
        yield name, _page(name, type(task), facts, options_of(task.config), f"--task {name}")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 2) -> str:
    """A table whose cells may hold code and links."""
    return markdown_table(headings, rows, left=left).replace("\\`", "`").replace("\\(", "(")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _page(name: str, part: Any, facts: Mapping[str, str], options: Mapping[str, Any], used: str) -> str:
    parts = [f"# `{name}`", f"```text\n{used}\n```", docstring(part)]
    if facts:
        parts.append(_table(("", ""), [*facts.items()]))
    if options:
        kept = [(f"`{option}`", _shown(default)) for option, default in options.items()]
        parts += ["## Options", _table(("option", "default"), kept)]
    if found := [*evidence(name)]:
        parts += ["## Evidence", *found]
    return "\n\n".join(parts) + "\n"


def _shown(default: Any) -> str:
    if default is inspect.Parameter.empty or default is dataclasses.MISSING:
        return "to be given"
    text = f"{default!r}" if not callable(default) else getattr(default, "__name__", repr(default))
    return f"`{text}`"


def docstring(part: Any) -> str:
    """As Markdown: literals in one backtick, lists as they are."""
    text = inspect.getdoc(part) or ""
    return text.replace("``", "`")


def evidence(name: str) -> Iterator[str]:
    """Lines of kept tables that begin with ``name``, each under the link to its table."""
    for path in _told(sorted(RESULTS.glob("*/table.md")), name)[:MOST]:
        for table in tables(path):
            if rows := _rows(table, name):
                yield f"[{path.parent.name}](../../../evidence/results/{path.parent.name}.md)"
                heads = [heading or " " for heading in table.headings]
                yield markdown_table(heads, [[cell.replace("|", "/") for cell in row] for row in rows[:6]])
                break


def _told(paths: Sequence[Any], name: str) -> list[Any]:
    """Those that have ``name``, tables of the default and of speed first."""
    has = [path for path in paths if any(_rows(table, name) for table in tables(path))]
    return sorted(has, key=lambda p: (not p.parent.name.startswith(("default", "speed")), p.parent.name))


def _rows(table: Table, name: str) -> list[tuple[str, ...]]:
    return [row for row in table.rows if any(_begins(row[start], name) for start in table.starts)]


def _begins(cell: str, name: str) -> bool:
    return cell == name or cell.startswith((f"{name}, ", f"{name} "))


KINDS = {
    "teachers": (teacher_pages, "Ways to weigh samples."),
    "engines": (engine_pages, "Ways to the meta-gradient."),
    "remedies": (remedy_pages, "What to do about bad data without a teacher, for comparison."),
    "losses": (loss_pages, "Losses of a unit."),
    "tasks": (task_pages, "From data to a student to figures."),
}


def make(_: Sphinx) -> None:
    """Write a folder of pages for each kind, with its index."""
    for kind, (pages, about) in KINDS.items():
        names, summaries = [], []
        for name, text in pages():
            write(FOLDER / kind / f"{name}.md", text)
            names.append(name)
            sentence = text.split("\n\n")[2].split("\n\n")[0].replace("\n", " ")
            summaries.append((f"[`{name}`]({name}.md)", sentence))
        listed = "\n".join(names)
        table = _table(("name", "what it does"), summaries)
        write(
            FOLDER / kind / "index.md",
            f"# {kind.capitalize()}\n\n{about} Registered under these names; yours count alike.\n\n"
            f"{table}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
