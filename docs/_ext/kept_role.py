"""The role ``kept`` for Sphinx; see ``kept``."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from kept import RESULTS, figure
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole


class Kept(SphinxRole):
    """The figure, linked to the page of its table."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """See ``SphinxRole``."""
        try:
            value = figure(self.text)
        except (KeyError, ValueError) as error:
            message = self.inliner.reporter.error(f"{{kept}}`{self.text}`: {error}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        folder = self.text.replace("\\|", "|").split("|")[0].strip()
        self.env.note_dependency(str(RESULTS / folder / "table.md"))
        place = addnodes.pending_xref(
            "",
            nodes.inline("", value, classes=["kept"]),
            refdomain="std",
            reftype="doc",
            refdoc=self.env.docname,
            reftarget=f"/evidence/results/{folder}",
            refexplicit=True,
            refwarn=True,
        )
        return [place], []


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.add_role("kept", Kept())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
