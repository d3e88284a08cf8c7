"""What an iteration takes on many processes, on paper: ``python -m benchmarks.parallel.scaling``.

Each figure is a formula in the student's sizes; tests hold the factors against counts at small size.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from metaweight.core.atomic import whole_file
from metaweight.core.markdown import markdown_table

PAGE = Path("docs/explanation/scaling.md")
WHOLE, HALF = 4, 2
"""Bytes of a number in float32 and in bfloat16."""


@dataclass(frozen=True)
class Passes:
    """Of an engine with a schedule, in units that do not depend on the student's size."""

    train: float
    """Passes of the matrices over the train batch; a plain step takes 3, a forward pass 1."""
    attention: float
    """The same of attention's products, which have no parameters."""
    meta: float
    """Passes over the meta batch."""


@dataclass(frozen=True)
class Cost(Passes):
    """Where parameters are sharded, what is sent and held too."""

    gathers: int
    """Times that the parameters are gathered from their shards, in bfloat16."""
    exact: int
    """Times that they, or something of their size, are gathered in float32."""
    sums: int
    """Times that a gradient is summed up over processes."""
    copies: float
    """Shards of the parameters' size, beside parameters and optimizer, at the iteration's peak; AdamW."""
    deltas: bool = False
    """Whether the gradients of all layers' outputs are kept."""


COSTS = {
    "plain": Cost(3, 3, 0, 2, 0, 1, 1),
    "ghost, online": Cost(4, 3, 3, 4, 1, 2, 6, deltas=True),
    "ghost, lookahead": Cost(5, 3, 3, 4, 1, 3, 6, deltas=True),
    "difference, online": Cost(5, 5, 3, 0, 6, 2, 6),
    "difference, lookahead": Cost(7, 7, 3, 0, 7, 3, 6),
}
WHOLE_PARAMETERS = {
    "forward, online": Passes(5, 6, 3),
    "forward, lookahead": Passes(7, 8, 3),
    "double, online": Passes(5, 5, 3),
    "double, lookahead": Passes(7, 7, 3),
    "higher, online": Passes(6, 6, 3),
    "higher, lookahead": Passes(8, 8, 3),
}
"""Engines that take parameters as a whole."""


@dataclass(frozen=True)
class Transformer:
    """A decoder with gated feed-forward layers, as Llama is; embedding and head are not tied."""

    width: int = 4096
    layers: int = 32
    hidden: int = 11008
    words: int = 32000
    length: int = 4096
    """Tokens of a sequence."""

    @property
    def layer(self) -> int:
        """Parameters of a layer."""
        return 4 * self.width**2 + 3 * self.width * self.hidden + 2 * self.width

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layers * self.layer + 2 * self.words * self.width + self.width

    @property
    def matrices(self) -> int:
        """Those that a token is multiplied by."""
        return self.layers * (self.layer - 2 * self.width) + self.words * self.width

    @property
    def outputs(self) -> int:
        """Numbers that all layers with parameters give for a token."""
        own = 5 * self.width + 2 * self.hidden  # q, k, v, o, down; gate and up
        return self.layers * (own + 2 * self.width) + 2 * self.width + self.words

    def attention(self) -> int:
        """FLOPs of attention's products for a token in a forward pass, the masked half included."""
        return 4 * self.layers * self.length * self.width


@dataclass(frozen=True)
class Setting:
    """How it is trained; the defaults are those of the page."""

    student: Transformer = Transformer()
    processes: int = 64
    train: int = 8192
    """Tokens of the train batch in each process."""
    meta: int = 4096
    """Tokens of the meta batch in each process."""


def flops(cost: Passes, setting: Setting) -> float:
    """Of an iteration in each process."""
    student = setting.student
    train = 2 * student.matrices * cost.train + student.attention() * cost.attention
    meta = (2 * student.matrices + student.attention()) * cost.meta
    return train * setting.train + meta * setting.meta


def sent(cost: Cost, setting: Setting) -> float:
    """Bytes that each process sends in an iteration: rings, parameters in bfloat16, the rest in float32."""
    share = (setting.processes - 1) / setting.processes
    numbers = HALF * cost.gathers + WHOLE * cost.exact + WHOLE * cost.sums
    return share * numbers * setting.student.parameters


def held(cost: Cost, setting: Setting) -> tuple[float, float, float]:
    """Bytes in each process: shards of parameters and AdamW's states; what an iteration adds to them at its
    peak; what ``ghost`` keeps of the layers' output gradients beside a plain step's activations."""
    shard = WHOLE * setting.student.parameters / setting.processes
    # a layer at hand, the next one on its way, and a gradient before it is cut
    layers = (2 * HALF + WHOLE) * setting.student.layer
    kept = HALF * setting.student.outputs * setting.train if cost.deltas else 0
    return 3 * shard, cost.copies * shard + layers, kept


def page(setting: Setting) -> str:
    """The page, in Markdown."""
    student, plain = setting.student, flops(COSTS["plain"], setting)
    rows = []
    for name, cost in COSTS.items():
        resident, passing, kept = held(cost, setting)
        rows.append(
            (
                name,
                f"{flops(cost, setting) / 1e15:.2f}",
                f"{flops(cost, setting) / plain:.2f}",
                _size(sent(cost, setting)),
                _size(resident),
                _size(passing),
                _size(kept) if kept else "0",
            )
        )
    sharded = markdown_table(
        (
            *("engine, schedule", "PFLOP", "plain steps", "sent", "parameters and AdamW"),
            *("at the peak beside them", "output gradients"),
        ),
        rows,
    )
    whole = [(name, f"{flops(cost, setting) / plain:.2f}") for name, cost in WHOLE_PARAMETERS.items()]
    others = markdown_table(("engine, schedule", "plain steps"), whole)
    return TEXT.format(
        parameters=f"{student.parameters / 1e9:.2f}",
        processes=setting.processes,
        train=f"{setting.train:,}",
        meta=f"{setting.meta:,}",
        sharded=sharded,
        others=others,
        least=_size(4 * WHOLE * student.parameters),
    )


TEXT = """# What an iteration takes on many GPUs, on paper

A student of {parameters} thousand million parameters (a decoder of Llama's sizes) on {processes} processes
in `fully_shard`, a layer at a time; {train} train tokens and {meta} meta tokens in each process. Parameters
are kept in float32 and gathered in bfloat16 (`difference` needs all digits: in float32), gradients are
summed up in float32, the optimizer is AdamW. All figures are those of one process, and nothing was measured
on such a machine.

{sharded}

*PFLOP*: matrices and attention; recomputed activations come on top, for a plain step as well. *Sent*: by
rings. *At the peak beside them*: gradient, virtual parameters, the meta gradient and what the update makes
of them, in shards, and three layers that are gathered or not yet cut. *Output gradients*: what `ghost`
keeps, in bfloat16, beside the activations that a plain step keeps too.

Engines that take parameters as a whole are refused there. With whole parameters, AdamW's states and one
gradient each process would hold {least} before an engine asks for anything. Their FLOPs, to compare:

{others}

This page is written by `python -m benchmarks.parallel.scaling`. A test holds it, and holds its factors
against what small students take: FLOPs, bytes that are sent, and memory with 1, 2 and 4 processes.
"""


def _size(bytes_: float) -> str:
    return f"{bytes_ / 2**30:.1f} GiB"


def main() -> int:
    """Write the page."""
    with whole_file(PAGE) as file:
        file.write(page(Setting()).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
