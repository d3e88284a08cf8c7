"""The page itself: a study's sections poured into the template."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup

from metaweight.core.atomic import whole_file
from metaweight.core.shown import shown
from metaweight.core.version import __version__
from metaweight.report.charts.costs import cost_panels
from metaweight.report.charts.curves import curve_notes, curve_of, curve_panels
from metaweight.report.charts.panel import Panel
from metaweight.report.charts.sample_weights import loss_panels, quartile_panels
from metaweight.report.charts.shares import attention_panels, share_style
from metaweight.report.charts.svg import svg
from metaweight.report.html import environment
from metaweight.report.page import headline as sentences
from metaweight.report.page.answers import Answer, answers_of
from metaweight.report.page.comparison import blocks
from metaweight.report.page.deeds import Deeds, deeds_of
from metaweight.report.page.fates import fate_blocks
from metaweight.report.page.gallery import Wall, wall
from metaweight.report.page.glossary import GLOSSARY, OF_SAMPLES, explained
from metaweight.report.page.glyphs import swatch
from metaweight.report.page.legends import facts, table_notes
from metaweight.report.page.origin import origin
from metaweight.report.page.samples import DOTS, WeightView, weight_views
from metaweight.report.page.study import Study
from metaweight.report.page.suspicion import Suspicion, suspicion_of
from metaweight.report.statistics.advice import advice
from metaweight.report.troubles import Troubles

PAGE = "report.html"


def write_page(study: Study, out: Path | str | None = None, *, troubles: Troubles | None = None) -> Path:
    """Write the page of a run or a grid and say where: ``out``, or report.html in its folder.

    The folder's own report.html is written anew.  ``troubles``: see ``render``.  Raises FileExistsError where
    another file is in the way.
    """
    own = study.folder / PAGE
    path = own if out is None else Path(out)
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder: name the file, for instance {path / PAGE}")
    if path.exists() and path.resolve() != own.resolve():
        raise FileExistsError(f"{path} is there already: choose another name")
    page = render(study, troubles, folder=path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def render(study: Study, troubles: Troubles | None = None, *, folder: Path | None = None) -> str:
    """The page as text: no file and no address is needed to look at it.  It is for ``folder``, by default the
    study's own: links to files start there.

    In the place of a picture that cannot be drawn stands why; ``troubles`` learn of it too.
    """
    troubles = Troubles() if troubles is None else troubles
    views, damaged = weight_views(study)
    curve = curve_of(study)
    attention, layers = troubles.attempt(
        "the page's charts of attention", lambda: attention_panels(study), lambda _: ([], ())
    )
    weighed = [view for view in views if not view.flat and view.lowest]
    suspicion = troubles.attempt("the suspects", lambda: _suspicion(study), lambda _: None)
    deeds = troubles.attempt("what single samples did", lambda: _deeds(study), lambda _: None)
    answers = troubles.attempt("single rows that were asked about", lambda: _answers(study), lambda _: [])
    templates = _templates(troubles)
    return templates.get_template("report.html.jinja").render(
        study=study,
        version=__version__,
        css=_own("report.css", templates),
        js=_own("report.js", templates),
        answer=explained(sentences.headline(study, views, suspicion)),
        suspicion=suspicion,
        suspects_lead=""
        if suspicion is None
        else suspicion.lead(f"{suspicion.run.arm}: " if study.grid else ""),
        deeds=deeds,
        answers=answers,
        deeds_said=[] if deeds is None else explained([deeds.lead, *deeds.verdict]),
        place=""
        if suspicion is None
        else _way(suspicion.run.folder, study.folder if folder is None else folder),
        glossary={
            word: text
            for word, text in GLOSSARY.items()
            if deeds is not None or answers or word not in OF_SAMPLES
        },
        state=sentences.state_of(study),
        troubles=sentences.troubles(study),
        weight_notes=[*damaged, *sentences.weight_notes(views)],
        base=study.base,
        dots=DOTS,
        blocks=blocks(study),
        facts=facts(study),
        table_notes=table_notes(study),
        legend=[(arm, style, swatch(style)) for style, arm in enumerate(study.arms)],
        curve=curve,
        curves=_panels(troubles, "curves", lambda: curve_panels(study, curve)) if curve else (),
        curve_notes=curve_notes(study, curve) if curve else (),
        weights=_by_noise(_panels(troubles, "weights over time", lambda: quartile_panels(views))),
        losses=_by_noise(_panels(troubles, "weights against losses", lambda: loss_panels(views))),
        kinds=list(dict.fromkeys(kind for view in views for kind in view.kinds)),
        fates=fate_blocks(study),
        attention=_by_noise(attention),
        layers=[(name, share_style(number)) for number, name in enumerate(layers)],
        costs=_panels(troubles, "cost", lambda: cost_panels(study)),
        walls=_walls(troubles, study, weighed, listed=suspicion is not None and not study.grid),
        origin=origin(study),
        missing=list(troubles.found),
    )


def _templates(troubles: Troubles) -> Environment:
    templates = environment("metaweight.report.page")

    def drawn(panel: Panel) -> Markup:
        def instead(why: str) -> Markup:
            return Markup('<p class="note">{}</p>').format(shown(why))

        return troubles.attempt(f"a chart of the page, {panel.label},", lambda: svg(panel), instead)

    templates.filters["svg"] = drawn
    templates.filters["explained"] = lambda text: explained([text])[0]
    templates.filters["first_upper"] = lambda text: text[:1].upper() + text[1:]  # BLEU stays BLEU
    return templates


def _suspicion(study: Study) -> Suspicion | None:
    """Of the only run; of a grid that of the arm to use, where wrong labels are the data's own."""
    if not study.grid:
        return suspicion_of(study.runs[0])
    arm = advice(study.results, study.compared, study.groups).arm if study.results else None
    for run in study.runs:
        if run.arm == arm and run.config.noise == "none" and run.state == "finished":
            return suspicion_of(run)
    return None


def _deeds(study: Study) -> Deeds | None:
    """Of the only run."""
    return None if study.grid else deeds_of(study.runs[0])


def _answers(study: Study) -> list[Answer]:
    """Of the only run."""
    return [] if study.grid else answers_of(study.runs[0])


def _way(place: Path, origin: Path) -> str:
    """The address of the folder ``place`` on a page in the folder ``origin``."""
    way = Path(os.path.relpath(place.resolve(), origin.resolve()))
    return "".join(f"{quote(part)}/" for part in way.parts)


def _panels(troubles: Troubles, what: str, make: Callable[[], list[Panel]]) -> list[Panel]:
    return troubles.attempt(f"the page's charts of {what}", make, lambda _: [])


def _wall(troubles: Troubles, study: Study, view: WeightView) -> Wall | None:
    title = f"{view.run.arm}, noise {view.run.noise}" if study.grid else ""
    return troubles.attempt(f"the samples of {view.run.name}", lambda: wall(view, title), lambda _: None)


def _walls(troubles: Troubles, study: Study, views: list[WeightView], *, listed: bool) -> list[Wall]:
    """Cards of every run; of one whose suspects are ``listed``, only if there is something to look at."""
    walls = [one for view in views if (one := _wall(troubles, study, view)) is not None]
    seen = [any(c.exhibit.picture or c.exhibit.source for c in one.cards) or one.note for one in walls]
    return [one for one, shows in zip(walls, seen, strict=True) if shows or not listed]


def _by_noise(panels: Sequence[Panel]) -> dict[str, list[Panel]]:
    noises = dict.fromkeys(panel.noise for panel in panels)
    return {noise: [panel for panel in panels if panel.noise == noise] for noise in noises}


def _own(name: str, templates: Environment) -> Markup:
    """A file of this package as it is."""
    assert templates.loader is not None
    return Markup(templates.loader.get_source(templates, name)[0])
