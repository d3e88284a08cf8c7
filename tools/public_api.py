"""The public API as text, a line an object: ``python -m tools.public_api`` (``make api``) writes it anew.

With ``--print`` it goes to standard output, and no file is touched.

Python names are read by griffe, which runs none of the package; parts, commands and their options, which are
names too, come from the registries.  What counts as public stands in docs/develop/release.md.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent
LIST = ROOT / "tests" / "public_api.txt"
FRONT = ROOT / "metaweight" / "__init__.pyi"
MODULES = {
    "metaweight.data": "metaweight.data",
    "metaweight.data.text": "metaweight.data.text",
    "metaweight.engines": "metaweight.engines",
    "metaweight.engines.inner": "metaweight.engines.inner",
    "metaweight.huggingface": "metaweight.integrations.huggingface",
    "metaweight.influence": "metaweight.influence",
    "metaweight.lightning": "metaweight.integrations.lightning",
    "metaweight.losses": "metaweight.student.losses",
    "metaweight.models": "metaweight.models",
    "metaweight.remedies": "metaweight.remedies",
    "metaweight.tasks": "metaweight.tasks",
    "metaweight.teachers": "metaweight.teachers",
    "metaweight.testing": "metaweight.testing",
}
"""Public name -> the module that it is; beside the front door, ``metaweight`` itself."""
CALLED = {"__call__", "__contains__", "__enter__", "__exit__", "__getitem__", "__iter__", "__len__"}
"""Special methods that a user calls, by what they do."""
MARKS: dict[griffe.ParameterKind | None, str] = {
    griffe.ParameterKind.var_positional: "*",
    griffe.ParameterKind.var_keyword: "**",
}


def front_names(stub: str) -> dict[str, str]:
    """Public name -> dotted path of what the stub of a front door imports; modules are left out."""
    found: dict[str, str] = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom) and node.module not in (None, "integrations"):
            room = f"metaweight.{node.module}"
            found |= {alias.asname or alias.name: f"{room}.{alias.name}" for alias in node.names}
    return {name: path for name, path in found.items() if name != "losses"}


def public_names(module: griffe.Module) -> list[str]:
    """What a module says is public: its ``__all__``; without one what it defines itself."""
    if module.exports is not None:
        return sorted(str(name) for name in module.exports)
    own = (name for name, member in module.members.items() if not member.is_alias and not member.is_module)
    return sorted(name for name in own if not name.startswith("_"))


def signature(parameters: Sequence[griffe.Parameter]) -> str:
    """``(a, /, b=1, *rest, c=2, **more)``: names, kinds and defaults."""
    kinds, words = griffe.ParameterKind, list[str]()
    for place, parameter in enumerate(parameters):
        before = parameters[place - 1].kind if place else None
        if before is kinds.positional_only and parameter.kind is not kinds.positional_only:
            words.append("/")
        if parameter.kind is kinds.keyword_only and before not in (kinds.var_positional, kinds.keyword_only):
            words.append("*")
        mark = MARKS.get(parameter.kind, "")
        default = "" if mark or parameter.default is None else f"={_value(parameter)}"
        words.append(f"{mark}{parameter.name}{default}")
    if parameters and parameters[-1].kind is kinds.positional_only:
        words.append("/")
    return f"({', '.join(words)})"


def _value(parameter: griffe.Parameter) -> str:
    """A default as its source has it; a constant of the package by its value."""
    default = parameter.default
    if isinstance(default, griffe.ExprName) and default.name.isupper() and parameter.function is not None:
        try:
            return str(parameter.function.modules_collection[default.canonical_path].value)
        except (KeyError, griffe.NameResolutionError):
            pass
    return str(default)


def _bound(function: Any) -> list[griffe.Parameter]:
    """Without the ``self`` or ``cls`` that Python gives."""
    parameters = list(function.parameters)
    return parameters if "staticmethod" in function.labels else parameters[1:]


def class_lines(name: str, kind: Any) -> Iterator[str]:
    """A class: how it is built, its public attributes and methods, those of bases in the package too."""
    members = kind.all_members
    maker = members.get("__init__") or members.get("__new__")
    yield f"{name}{signature(_bound(maker)) if maker is not None and maker.is_function else ''}"
    sources = "\n".join(one.source for one in (kind, *kind.mro()))
    given = re.findall(r"\bself\.([a-z]\w*_) *[:=]", sources)  # by ``fit``, as in scikit-learn
    yield from (f"{name}.{own}" for own in sorted({*given} - members.keys()))
    for own, member in sorted(members.items()):
        if own.startswith("_") and own not in CALLED:
            continue
        if member.is_function:
            yield f"{name}.{own}{signature(_bound(member))}"
        elif not member.is_class and not member.is_module:
            yield f"{name}.{own}"


def object_lines(name: str, found: Any, seen: dict[str, str]) -> Iterator[str]:
    """An object under its public ``name``; what has been listed already is named, and not listed again."""
    target = found.final_target if found.is_alias else found
    if target.is_module:  # a file of the same name hides what is imported from it
        target = target[name.rpartition(".")[2]]
    first = seen.setdefault(target.path, name)
    if first != name:
        yield f"{name} = {first}"
    elif target.is_class:
        yield from class_lines(name, target)
    elif target.is_function:
        yield f"{name}{signature(list(target.parameters))}"
    else:
        yield name


def python_lines(folder: Path = ROOT) -> Iterator[str]:
    """The front door, then the public modules, each name with its signature."""
    package: Any = griffe.load("metaweight", search_paths=[folder], resolve_aliases=True)
    seen: dict[str, str] = {}
    for name, path in sorted(front_names(FRONT.read_text()).items()):
        yield from object_lines(f"metaweight.{name}", package[path.removeprefix("metaweight.")], seen)
    for public, place in MODULES.items():
        module = package[place.removeprefix("metaweight.")]
        for name in public_names(module):
            yield from object_lines(f"{public}.{name}", module[name], seen)


def spelt(option: str, default: object) -> str:
    """``option=default``; without a default the name alone."""
    return option if default is dataclasses.MISSING else f"{option}={default!r}"


def option_lines(owner: str, options: Mapping[str, Any]) -> Iterator[str]:
    """``command rate: batch_size=None`` and so on."""
    yield from (f"{owner}: {spelt(*item)}" for item in sorted(options.items()))


def options_line(kind: str, name: str, options: Mapping[str, Any]) -> str:
    """A part by its name, ``teacher mw-net(width=100)``; what has no default is named alone."""
    return f"{kind} {name}({', '.join(spelt(*item) for item in sorted(options.items()))})"


def _without_empty(options: Mapping[str, Any]) -> dict[str, Any]:
    import inspect

    empty = inspect.Parameter.empty
    return {name: dataclasses.MISSING if value is empty else value for name, value in options.items()}


def part_lines() -> Iterator[str]:
    """The parts that are named by words, with their options."""
    from metaweight import data, engines, losses, models, remedies, teachers
    from metaweight.core.registry import Registry
    from metaweight.data.text import texts
    from metaweight.tasks.tabular.sets import tables
    from metaweight.tasks.text.sets import labelled_texts

    with_options: dict[str, tuple[Sequence[str], Callable[[str], Mapping[str, Any]]]] = {
        "teacher": (teachers.names(), teachers.options),
        "engine": (engines.names(), engines.options),
        "remedy": (remedies.remedies.names(), remedies.remedy_options),
        "loss": (losses.losses.names(), losses.loss_options),
        "model": (models.models.names(), models.model_options),
    }
    for kind, (names, options) in with_options.items():
        yield from (options_line(kind, name, _without_empty(options(name))) for name in sorted(names))
    plain: dict[str, Registry[Any]] = {
        "noise": data.noises,
        "image set": data.datasets,
        "text set": texts,
        "table": tables,
    }
    for kind, registry in {**plain, "labelled text set": labelled_texts}.items():
        yield from (f"{kind} {name}" for name in sorted(registry.names()))


def command_lines() -> Iterator[str]:
    """The commands with their options, a line each; those of a run are the task's."""
    from metaweight.cli.ahead import Ahead
    from metaweight.cli.completion import ALL
    from metaweight.tasks import tasks

    for name, build in sorted(ALL.items()):
        yield f"command {name}"
        yield from option_lines(f"command {name}", _fields(type(build(Ahead()))))
    for name in sorted(tasks.names()):
        yield from option_lines(f"run of {name}", _fields(tasks[name].config))


def _fields(kind: Any) -> dict[str, Any]:
    """Option -> default of a dataclass; its own objects, whose spelling is no promise, are named alone."""
    found = {}
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        plain = isinstance(default, str | int | float | bool | None | tuple | list | dict)
        found[field.name] = default if plain else dataclasses.MISSING
    return found


def listed() -> str:
    """All of it, a line an object."""
    return "".join(f"{line}\n" for line in (*python_lines(), *part_lines(), *command_lines()))


def main(arguments: Sequence[str]) -> int:
    """Write or print the list; 0."""
    if "--print" in arguments:
        sys.stdout.write(listed())
        return 0
    LIST.write_text(listed(), encoding="utf-8")
    print(f"{LIST.relative_to(ROOT)} is written: git diff shows what has changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
