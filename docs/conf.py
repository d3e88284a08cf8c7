"""How Sphinx makes the site: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from metaweight.core.version import __version__ as release  # noqa: F401

project = "metaweight"
author = copyright = "metaweight authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "kept_role",
    "evidence",
    "parts",
    "commands",
    "api",
    "schemas",
]
exclude_patterns = ["_ext", "pictures"]
suppress_warnings = ["myst.header"]  # a kept table begins where its suite begins
# types of annotations; what pages name by py:obj has to be there
nitpick_ignore_regex = [("py:(class|data|exc|meth|attr|func|mod)", ".*"), ("py:obj", r".*\.[A-Z]")]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
default_role = "code"  # docstrings set names in single backticks at times
html_theme = "furo"
html_title = "metaweight"
html_static_path = ["static"]
html_css_files = ["own.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
