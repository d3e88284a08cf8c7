"""A page as headless Chromium shows it, from file://, and what its scripts answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def look(page: str, probes: Mapping[str, tuple[str, int]], folder: Path, *, dark: bool = False) -> Any:
    """What each script, in a window of its own width, returns; fails where the console has an error.

    A dumped DOM is all that chromium gives back without a client, and its own window is never narrower than
    500 pixels: so each page lies in a frame of one page that collects the answers.
    """
    frames = []
    for name, (script, width) in probes.items():
        answer = f"JSON.stringify([{json.dumps(name)}, (() => {{ {script} }})()])"
        probe = f"<script>parent.postMessage({answer}, '*')</script></body>"
        (folder / f"{name}.html").write_text(page.replace("</body>", probe), encoding="utf-8")
        frames.append(
            f'<iframe src="{name}.html" style="width: {width}px; height: 900px; border: 0"></iframe>'
        )
    # the mark is put together, so that the dumped script does not look like an answer
    mark = "'@'.repeat(2)"
    collect = f"addEventListener('message', (event) => document.body.append({mark} + event.data + {mark}))"
    path = folder / "frames.html"
    path.write_text(f"<!doctype html><body><script>{collect}</script>{''.join(frames)}", encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=1400,900"),
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        *(f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    answers = dict(json.loads(unescape(text)) for text in re.findall("@@(.*?)@@", done.stdout, re.DOTALL))
    assert answers.keys() == probes.keys()
    return answers
