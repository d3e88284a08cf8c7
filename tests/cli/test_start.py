"""What a start costs and shows: imports, help, version, modules of the user's own, shell completion."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from slowly import slowly

import metaweight as mw
from metaweight.cli.completion import ALL as COMMANDS
from metaweight.cli.main import main

ROOT = Path(__file__).parents[2]
PUBLIC = (
    *(
        "Batch",
        "Certificate",
        "CollapseWarning",
        "Execution",
        "HyperGradient",
        "Influence",
        "MetaweightError",
    ),
    *("LearningRate", "NonFiniteError", "WholeRun"),
    *(
        "Reweighter",
        "RunFolder",
        "StateSpec",
        "StepReport",
        "Student",
        "StudentState",
        "Suggestion",
        "Teacher",
    ),
    *(
        "TimeAxis",
        "Trainer",
        "Units",
        "WeightHistory",
        "__version__",
        "build_teacher",
        "data",
        "engines",
        "hypergradient",
    ),
    *("losses", "models", "pairs", "register_teacher", "teachers"),
)
BESIDE_TORCH = (
    "Fit",
    "Loop",
    "ReweightedClassifier",
    "ReweightedRegressor",
    "fit",
    "huggingface",
    "lightning",
    "load_checkpoint",
    "rate",
    "save_checkpoint",
)
"""Public names that take another library: no part of ``from metaweight import *``."""
HEAVY = (
    *("PIL", "babel", "cleanlab", "datasets", "jinja2", "matplotlib", "pandas", "rich", "sacrebleu", "scipy"),
    *("sentencepiece", "sklearn", "sympy", "torch._dynamo", "torch._inductor", "tyro"),
)
MARGIN = """
import metaweight as mw

@mw.register_teacher("halves")
class Halves(mw.Teacher):
    '''Weight the samples of the lower losses.'''

    def __init__(self, spec):
        super().__init__()

    def forward(self, state):
        return 2.0 * (state.loss <= state.loss.median())
"""
SIDE_BY_SIDE = """
from pathlib import Path
from metaweight.comparison.grid import Grid
from metaweight.comparison.workers import run_cells
from metaweight.core.plugins import import_modules
from metaweight.tasks.config import ImageConfig

import_modules(["my_halves"])
run = ImageConfig(train_size=100, epochs=1, warmup_epochs=0)
results = run_cells(Grid(run, ("halves",), ("none",), (0,)).cells(), Path("grid"), jobs=2)
print([result.failure for result in results])
"""
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What a new Python says, which finds the package in this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def metaweight(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return python("-m", "metaweight.cli", *arguments, cwd=cwd)


def imported(code: str, names: Sequence[str]) -> set[str]:
    """Those of the modules ``names`` that are there after ``code``."""
    done = python("-c", f"{code}\nimport sys\nprint('::', *(n for n in {names} if n in sys.modules))")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("::")[2].split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a module that registers the teacher ``halves``."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "my_halves.py").write_text(MARGIN)
    return folder


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completion of bash."""
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        main(["completion", "bash"])
    path = tmp_path_factory.mktemp("completion") / "metaweight"
    path.write_text(printed.getvalue())
    return path


def test_an_import_of_the_package_imports_nothing_yet() -> None:
    assert imported("import metaweight", ("torch", "numpy", *HEAVY)) == set()


def test_the_public_names_take_torch_and_nothing_heavy_beside_it() -> None:
    code = "from metaweight import *; teachers.names(); engines.names(); losses.losses.names()"
    assert imported(code, ("torch", *HEAVY)) == {"torch"}


def test_the_public_names_are_these() -> None:
    assert sorted(mw.__all__) == sorted(PUBLIC)
    assert dir(mw) == sorted((*PUBLIC, *BESIDE_TORCH))
    everything: dict[str, object] = {}
    exec("from metaweight import *", everything)
    assert {name: everything[name] for name in PUBLIC} == {name: getattr(mw, name) for name in PUBLIC}
    with pytest.raises(AttributeError, match="Studnet"):
        _ = mw.Studnet


@pytest.mark.slow
def test_rooms_are_modules_however_they_are_imported() -> None:
    code = (
        "import metaweight, metaweight.engines as a; from metaweight import engines as b; import sys; "
        "assert a is b is metaweight.engines is sys.modules['metaweight.engines']; "
        "assert metaweight.losses is sys.modules['metaweight.student.losses']; print('same')"
    )
    assert python("-c", code).stdout.strip() == "same"


@pytest.mark.parametrize("name", [name for name in (*PUBLIC, *BESIDE_TORCH) if name[0].isupper()])
def test_public_classes_are_pickled_by_name(name: str) -> None:
    assert pickle.loads(pickle.dumps(getattr(mw, name))) is getattr(mw, name)


@pytest.mark.parametrize("line", ["", "--help", "--version", "trian", "--import my_halves"])
def test_help_and_version_do_without_torch(line: str) -> None:
    code = (
        "from metaweight.cli.main import main\n"
        f"try: main({line.split()})\nexcept SystemExit as stop: print('exit', stop.code)"
    )
    assert imported(code, ("torch", "numpy")) == set()


def test_help_names_commands_exit_codes_and_completion() -> None:
    done = metaweight()
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert all(f"• {name}" in text for name in COMMANDS)
    assert "List the engines that compute the meta-gradient" in text
    assert "0 done, 1 an error of ours, 2 a mistake of yours or runs that failed, 130 Ctrl-C" in text
    assert "METAWEIGHT_TRACEBACK=1" in text
    assert "metaweight completion --help" in text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    summary = " ".join((COMMANDS[name].__doc__ or "").split("\n\n")[0].split())
    assert summary in " ".join(capsys.readouterr().out.split())


def test_version_is_said_by_the_module_too() -> None:
    assert metaweight("--version").stdout.strip() == mw.__version__


def test_a_command_that_is_not_there_is_a_mistake() -> None:
    done = metaweight("trian")
    assert done.returncode == 2
    assert "Available subcommands: train, compare" in done.stderr


@pytest.mark.parametrize("line", ["--import my_halves teachers", *slowly("teachers --import=my_halves")])
def test_a_module_of_ones_own_brings_its_teacher(line: str, place: Path) -> None:
    done = metaweight(*line.split(), cwd=place)
    assert done.returncode == 0, done.stderr
    assert "Weight the samples of the lower losses." in done.stdout
    assert "halves" not in mw.teachers.names()


@pytest.mark.slow
def test_a_worker_has_the_modules_of_ones_own(place: Path) -> None:
    done = python("-c", SIDE_BY_SIDE, cwd=place)
    assert done.stdout.strip() == "[None]", done.stderr


def test_a_module_that_is_not_there_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--import", "my_havles", "teachers"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "metaweight: the module 'my_havles' that --import or METAWEIGHT_IMPORT names fails" in err
    assert "No module named 'my_havles'" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_holds_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["completion", shell])
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*COMMANDS, "--teacher-options", "--arms"))


def test_completion_has_the_options_of_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "bash", "--task", "translation"])
    assert "--joint-vocab" in capsys.readouterr().out


@needs_bash
def test_bash_accepts_its_completion(script: Path) -> None:
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_bash
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("metaweight tr", {"train", "translate"}),
        ("metaweight train --teacher-", {"--teacher-options", "--teacher-lr"}),
        ("metaweight report --o", {"--out"}),
    ],
)
def test_bash_completes_without_the_package(
    words: str, completed: set[str], script: Path, tmp_path: Path
) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)  # without the packages of this environment
    presses = f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; _tyro_metaweight"
    done = subprocess.run(
        ["bash", "-c", f'source {script}; {presses}; echo "${{COMPREPLY[@]}}"'],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == completed, done.stderr
