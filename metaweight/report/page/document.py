"""The page itself: a study's sections poured into the template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from metaweight.core.atomic import whole_file
from metaweight.core.version import __version__
from metaweight.report.charts.costs import cost_panels
from metaweight.report.charts.curves import curve_notes, curve_of, curve_panels
from metaweight.report.charts.panel import Panel
from metaweight.report.charts.sample_weights import loss_panels, quartile_panels
from metaweight.report.charts.shares import attention_panels, share_style
from metaweight.report.charts.svg import svg
from metaweight.report.page import headline as sentences
from metaweight.report.page.comparison import BASE, blocks
from metaweight.report.page.fates import fate_blocks
from metaweight.report.page.gallery import wall
from metaweight.report.page.glyphs import swatch
from metaweight.report.page.origin import origin
from metaweight.report.page.samples import DOTS, weight_views
from metaweight.report.page.study import Study

PAGE = "report.html"


def write_page(study: Study, out: Path | str | None = None) -> Path:
    """Write the page of a run or a grid and say where: ``out``, or report.html in its folder.

    The folder's own report.html is written anew.  Raises FileExistsError where another file is in the way.
    """
    own = study.folder / PAGE
    path = own if out is None else Path(out)
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder: name the file, for instance {path / PAGE}")
    if path.exists() and path.resolve() != own.resolve():
        raise FileExistsError(f"{path} is there already: choose another name")
    page = render(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def render(study: Study) -> str:
    """The page as text: no file and no address is needed to look at it."""
    views, damaged = weight_views(study)
    curve = curve_of(study)
    attention, layers = attention_panels(study)
    weighed = [view for view in views if not view.flat and view.lowest]
    walls = [wall(view, f"{view.run.arm}, noise {view.run.noise}" if study.grid else "") for view in weighed]
    environment = Environment(
        loader=PackageLoader("metaweight.report.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = svg
    environment.filters["first_upper"] = lambda text: text[:1].upper() + text[1:]  # BLEU stays BLEU
    return environment.get_template("report.html.jinja").render(
        study=study,
        version=__version__,
        css=_own("report.css", environment),
        js=_own("report.js", environment),
        answer=sentences.headline(study, views),
        state=sentences.state_of(study),
        troubles=sentences.troubles(study),
        weight_notes=[*damaged, *sentences.weight_notes(views)],
        base=BASE,
        dots=DOTS,
        blocks=blocks(study),
        legend=[(arm, style, swatch(style)) for style, arm in enumerate(study.arms)],
        curve=curve,
        curves=curve_panels(study, curve) if curve else (),
        curve_notes=curve_notes(study, curve) if curve else (),
        weights=_by_noise(quartile_panels(views)),
        losses=_by_noise(loss_panels(views)),
        kinds=list(dict.fromkeys(kind for view in views for kind in view.kinds)),
        fates=fate_blocks(study),
        attention=_by_noise(attention),
        layers=[(name, share_style(number)) for number, name in enumerate(layers)],
        costs=cost_panels(study),
        walls=walls,
        origin=origin(study),
    )


def _by_noise(panels: Sequence[Panel]) -> dict[str, list[Panel]]:
    noises = dict.fromkeys(panel.noise for panel in panels)
    return {noise: [panel for panel in panels if panel.noise == noise] for noise in noises}


def _own(name: str, environment: Environment) -> Markup:
    """A file of this package as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])
