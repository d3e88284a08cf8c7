"""The lowest versions that setup.cfg allows, as pip's constraints: ``python -m tools.lowest`` prints them.

``make test-lowest`` installs by them.  It needs the standard library alone, for it runs before anything is
installed.
"""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

SETUP = Path(__file__).parent.parent / "setup.cfg"
TOOLS = {"dev", "docs", "release"}
"""Extras of those who work on the package: their tools need not be old, what users install too has to be."""
_BOUNDED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<lowest>[0-9.]+),<[0-9.]+")


def requirements(setup: str) -> dict[str, list[str]]:
    """Extra -> its requirements as setup.cfg has them; "" for what everybody gets."""
    parsed = configparser.ConfigParser()
    parsed.read_string(setup)
    found = {"": parsed["options"]["install_requires"]}
    found |= dict(parsed["options.extras_require"])
    return {
        extra: [line for line in text.splitlines() if line and not line.startswith("#")]
        for extra, text in found.items()
    }


def lowest(setup: str) -> dict[str, str]:
    """Distribution -> the lowest version of it that a user may have, for all extras but those of developers.

    Raises ValueError for a requirement without both bounds, and for two lower bounds of one distribution.
    """
    found: dict[str, str] = {}
    for extra, lines in requirements(setup).items():
        for line in lines if extra not in TOOLS else ():
            bounds = _BOUNDED.fullmatch(line)
            if bounds is None:
                raise ValueError(f"setup.cfg: {line!r} is to be NAME>=LOWEST,<FIRST THAT IS NOT KNOWN")
            name, version = bounds["name"], bounds["lowest"]
            if found.setdefault(name, version) != version:
                raise ValueError(f"setup.cfg: {name} has two lower bounds, {found[name]} and {version}")
    return found


def main() -> int:
    for name, version in lowest(SETUP.read_text(encoding="utf-8")).items():
        print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
