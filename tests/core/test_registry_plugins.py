"""Names, typos, and teachers that come from another distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from slowly import slowly

import metaweight as mw
from metaweight.core.registry import Registry

HERE = Path(__file__).parent.parent


def test_names_are_checked_and_given_once() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("one-2", 1)
    registry.add("one-2", 1)  # the same part again: a module that is imported twice
    assert registry.names() == ("one-2",)
    for bad in ("One", "a_b", "", "a--b", "-a", "a b", 3):
        with pytest.raises(ValueError, match="lower-case words with hyphens"):
            registry.add(bad, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'one-2' is already registered"):
        registry.add("one-2", 2)
    with pytest.raises(KeyError, match=r"unknown thing 'one'. Did you mean 'one-2'\? Known: one-2"):
        _ = registry["one"]
    assert "one" not in registry
    assert registry.register("two")(5) == 5


def test_a_part_is_filed_for_a_while() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("one", 1)
    with registry.temporarily("two", 2) as part:
        assert (part, registry["two"]) == (2, 2)
    assert registry.names() == ("one",)
    with pytest.raises(ZeroDivisionError), registry.temporarily("two", 2):
        _ = 1 / 0
    assert registry.names() == ("one",)


@pytest.mark.parametrize("part", [1, 2])
def test_what_is_filed_for_a_while_displaces_nothing(part: int) -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("one", 1)
    with pytest.raises(ValueError, match="'one' is already registered"), registry.temporarily("one", part):
        pass
    assert registry["one"] == 1


def test_unknown_teachers_and_options_name_the_nearest() -> None:
    spec = mw.StateSpec({"tap": 4}, 3)
    with pytest.raises(KeyError, match="Did you mean 'attention'"):
        mw.build_teacher("atention", spec)
    with pytest.raises(TypeError, match=r"no option 'witdh'. Did you mean 'width'"):
        mw.build_teacher("mlp", spec, witdh=3)
    with pytest.raises(TypeError, match="subclass of metaweight"):
        mw.register_teacher("not-a-teacher")(int)
    assert "not-a-teacher" not in mw.teachers.registry


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in distribution installed."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    shutil.copytree(
        HERE / "plugin", source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    )
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "lib"), str(source)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    return folder / "lib"


def python(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(HERE.parent)])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_an_installed_plugin_is_found_by_its_entry_point(site: Path) -> None:
    code = (
        "import metaweight as mw, sys; assert 'metaweight_margin' not in sys.modules; "
        "t = mw.build_teacher('margin', mw.StateSpec({}, 3), hidden=7); "
        "print(type(t).__name__, t.net[0].out_features, 'margin' in mw.teachers.names())"
    )
    done = python(site, code)
    assert done.stdout.split() == ["Margin", "7", "True"], done.stderr


@pytest.mark.slow
def test_the_command_line_lists_and_trains_with_the_plugin(site: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = (
        "import sys; from metaweight.cli.main import main; assert main(['teachers']) == 0; "
        "sys.exit(main(['train', '--teacher', 'margin', '--epochs', '1', '--warmup-epochs', '0', "
        f"'--train-size', '200', '--out', {str(run)!r}]))"
    )
    done = python(site, code)
    assert done.returncode == 0, done.stderr
    assert "margin" in done.stdout
    assert (run / "weights.csv").is_file()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        *slowly(
            (
                "margin = metaweight_margin:Nothing",
                "'margin' of distribution 'metaweight-margin-plugin' fails to load",
            )
        ),
        ("uniform = metaweight_margin:Margin", "'uniform' is already registered"),
    ],
)
def test_a_broken_or_shadowing_plugin_is_an_error(
    site: Path, tmp_path: Path, entry: str, message: str
) -> None:
    broken = tmp_path / "lib"
    shutil.copytree(site, broken)
    (points,) = broken.glob("*.dist-info/entry_points.txt")
    points.write_text(f"[metaweight.teachers]\n{entry}\n")
    look = "try: mw.teachers.names()\nexcept Exception as error: print(error)\n"
    done = python(broken, "import metaweight as mw\n" + 2 * look)  # it stays an error at each look-up
    assert done.stdout.count(message) == 2, done.stderr
