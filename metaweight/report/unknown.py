"""What is said where nobody knows which samples are bad."""

from __future__ import annotations

from collections.abc import Sequence

from metaweight.tasks.outcome import Result

NOISE = "realised_noise"


def unknown_noises(results: Sequence[Result]) -> list[str]:
    """The kinds of noise under which it is not known which training samples are bad."""
    noises = dict.fromkeys(result.noise for result in results)
    known = {result.noise for result in results if result.figures.get(NOISE, 0.0) is not None}
    return [noise for noise in noises if noise not in known]


def unknown_note(results: Sequence[Result]) -> str:
    """Why figures and pictures of the bad samples are left out; empty where none are."""
    noises = unknown_noises(results)
    if not noises:
        return ""
    where = "" if len(noises) == len({result.noise for result in results}) else f" under {', '.join(noises)}"
    return (
        f"Which training samples are bad is not known{where}. What needs to know it is left out: AUROC of "
        "the weights, what became of wrong labels, how the weights of good and bad samples differ."
    )
