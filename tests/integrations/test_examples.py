"""The examples run as they stand, find what they say, and a package that is missing is named."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest
from slowly import slowly

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "package"),
    [
        *slowly(("hugging_face", "transformers"), ("lightning_module", "lightning")),
        ("own_loop", "torch"),
    ],
)
def test_an_example_finds_the_wrong_rows(
    name: str,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    (found,) = re.findall(
        r"^(\d+) of the first 50 suspects are wrong$", capsys.readouterr().out, re.MULTILINE
    )
    assert int(found) >= 40
    assert len(list(tmp_path.rglob("weights.csv"))) == 1
    pages = list(tmp_path.rglob("*.html"))
    assert pages
    assert all("training rows look wrong" in page.read_text() for page in pages)
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 25


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("huggingface", "transformers", "huggingface"),
        ("huggingface", "accelerate", "huggingface"),
        ("lightning", "lightning", "lightning"),
    ],
)
def test_a_missing_package_names_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"metaweight.integrations.{name}"
    for known in [one for one in sys.modules if one == package or one.startswith((f"{package}.", module))]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf"{package} is not installed: pip install 'metaweight\[{extra}\]'"
    ):
        importlib.import_module(module)
