"""The Python reference: every public name, by what it is for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from made import MADE, write

from tools.public_api import MODULES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = MADE / "reference" / "made" / "python"
PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "your-data": (
        "Your data, in one call",
        ("fit", "Fit", "rate", "ReweightedClassifier", "ReweightedRegressor"),
    ),
    "your-loop": (
        "In a loop of yours",
        ("Loop", "Student", "Reweighter", "Batch", "pairs", "Execution", "TimeAxis", "StepReport"),
    ),
    "teachers": (
        "Teachers",
        ("Teacher", "build_teacher", "register_teacher", "StudentState", "StateSpec", "Suggestion", "Units"),
    ),
    "runs": (
        "Runs",
        ("Trainer", "LearningRate", "RunFolder", "WeightHistory", "save_checkpoint", "load_checkpoint"),
    ),
    "gradients": (
        "Meta-gradients",
        (
            *("hypergradient", "HyperGradient", "WholeRun", "Influence", "Certificate"),
            *("MetaweightError", "NonFiniteError", "CollapseWarning"),
        ),
    ),
}
"""Page -> title, and names of ``metaweight``."""
TITLES = {
    "metaweight.data": "Data",
    "metaweight.data.text": "Texts and sentence pairs",
    "metaweight.teachers": "More of teachers",
    "metaweight.engines": "Engines",
    "metaweight.engines.inner": "Optimizers of inner steps",
    "metaweight.influence": "Whole runs",
    "metaweight.losses": "Losses",
    "metaweight.remedies": "Remedies",
    "metaweight.tasks": "Tasks",
    "metaweight.testing": "Contracts for parts of your own",
    "metaweight.models": "Models",
    "metaweight.huggingface": "Hugging Face",
    "metaweight.lightning": "Lightning",
}
"""Public module -> title of its page; which modules are public says ``tools.public_api``."""


def placed() -> Iterator[tuple[str, str, list[str]]]:
    """Page, title and full names."""
    for page, (title, names) in PAGES.items():
        yield page, title, [f"metaweight.{name}" for name in names]
    taken = {name for _, listed in PAGES.values() for name in listed}
    for module, title in TITLES.items():
        found = importlib.import_module(MODULES[module])
        names = getattr(found, "__all__", None) or [
            name
            for name, value in vars(found).items()
            if not name.startswith("_") and getattr(value, "__module__", "").startswith(found.__name__)
        ]
        yield module.replace(".", "-"), title, [f"{module}.{name}" for name in names if name not in taken]


def missing() -> list[str]:
    """Public names of ``metaweight``, and public modules, that no page has."""
    import metaweight

    has = {f"metaweight.{name}" for _, names in PAGES.values() for name in names} | TITLES.keys()
    public = {f"metaweight.{name}" for name in metaweight._names} - {"metaweight.__version__"}
    return sorted((public | MODULES.keys()) - has)


def described(name: str) -> str:
    """The directive that shows one object."""
    place, _, last = name.rpartition(".")
    value = getattr(importlib.import_module(MODULES.get(place, place)), last)
    if inspect.isclass(value):
        options = ("members:", "inherited-members: object", "member-order: bysource")
        return "\n".join((f".. autoclass:: {name}", *(f"   :{option}" for option in options), ""))
    if inspect.isfunction(value):
        return f".. autofunction:: {name}\n"
    return f".. autodata:: {name}\n   :no-value:\n"


def skips(_: Sphinx, _what: str, name: str, value: Any, skip: bool, _options: Any) -> bool | None:
    """Whether a member is left out: what other libraries' classes bring is theirs to document."""
    value = getattr(value, "fget", None) or getattr(value, "__func__", value)
    home = getattr(value, "__module__", None) or getattr(
        getattr(value, "__objclass__", None), "__module__", ""
    )
    foreign = callable(value) and home.partition(".")[0] != "metaweight"
    return True if foreign else None


def readable(_: Sphinx, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings as reStructuredText: an indented block is code, and a star is a star."""
    for number, line in reversed([*enumerate(lines)]):
        before = next((text for text in reversed(lines[:number]) if text), "")
        begins = line.startswith("    ") and number > 0 and not lines[number - 1]
        if begins and not before.startswith(" ") and not before.endswith("::"):
            lines[number:number] = ["::", ""]
        elif not line.startswith("    "):
            lines[number] = line.replace("[*", "[\\*")


def make(_: Sphinx) -> None:
    """Write the pages.  Raises RuntimeError for a public name that has no place."""
    if left := missing():
        raise RuntimeError(f"public names without a page of the reference: {', '.join(left)}")
    listed = []
    for page, title, names in placed():
        listed.append(page)
        text = "\n".join(described(name) for name in names)
        write(FOLDER / f"{page}.rst", f"{title}\n{'=' * len(title)}\n\n{text}")
    toc = "\n".join(listed)
    write(FOLDER / "index.md", f"# Python\n\n`import metaweight as mw`\n\n```{{toctree}}\n\n{toc}\n```\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.connect("builder-inited", make)
    app.connect("autodoc-skip-member", skips)
    app.connect("autodoc-process-docstring", readable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
