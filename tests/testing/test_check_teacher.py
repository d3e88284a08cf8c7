"""A teacher that breaks a rule is caught by that rule, and one that keeps them all is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.testing import ContractError, check_teacher
from metaweight.testing.rules import changed


class Fine(mw.Teacher):
    """Keeps every rule: 2 sigmoid of a line in the loss, and a mean of the losses that it has seen."""

    sees = "loss"
    level: Tensor

    def __init__(self, spec: mw.StateSpec, slope: float = 0.1) -> None:
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.tensor(slope)), nn.Parameter(torch.tensor(0.2))
        self.register_buffer("level", torch.zeros(()))

    def score(self, state: mw.StudentState) -> Tensor:
        return self.slope * (state.loss.clamp(max=10) - self.level) + self.offset

    def forward(self, state: mw.StudentState) -> Tensor:
        return (2 * self.score(state).sigmoid()).to(state.loss)

    def track(self, state: mw.StudentState) -> None:
        self.level = 0.9 * self.level + 0.1 * state.loss.mean().clamp(max=10).to(self.level)


class Fixed(Fine):
    """Keeps every rule without learning."""

    learns = False

    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__(spec)
        self.requires_grad_(False)


class OfStates(Fine):
    """Keeps every rule; reads hidden states of classes, and refuses what it cannot read."""

    sees = "states"

    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__(spec)
        if spec.sentences or not spec.features:
            raise ValueError("reads one hidden state a unit: name a tap, taps=('layer3',)")
        self.tap = list(spec.features)[-1]

    def score(self, state: mw.StudentState) -> Tensor:
        if state.real is not None:
            raise ValueError("was built for classes, not for sentences")
        return super().score(state) + state.features[self.tap].sum(dim=1).tanh()


class ByGradient(mw.Teacher):
    """Keeps every rule; its weights come from the gradient."""

    sees = "gradient"

    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__()

    def forward(self, state: mw.StudentState) -> Tensor:
        return torch.ones_like(state.loss)

    def from_hypergradient(self, hypergradient: Tensor) -> Tensor:
        return (-hypergradient).clamp_min(0)


@pytest.mark.parametrize("teacher", [Fine, Fixed, OfStates, ByGradient])
def test_a_teacher_that_keeps_its_contract_passes(teacher: type[mw.Teacher]) -> None:
    check_teacher(teacher)


class Bare(Fine):
    def __init__(self, spec: mw.StateSpec, width: int) -> None:
        super().__init__(spec)


class Tapped(Fine):
    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__(spec)
        self.width = next(iter(spec.features.values()))


class Counting(Fine):
    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__(spec)
        if spec.samples is None:
            raise ValueError("the number of samples is not known, samples=N")


class TakesAnyNumber(Fine):
    needs_samples = True


class OfLabels(Fine):
    sees = "surface"

    def score(self, state: mw.StudentState) -> Tensor:
        return super().score(state) * state.outputs.gather(1, state.targets[:, None]).squeeze(1).clamp(-3, 3)


class Square(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        return super().forward(state)[:, None]


class Single(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        return super().forward(state).float()


class Negative(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        return super().forward(state) - 2


class Infinite(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        return super().forward(state) / (state.index % 5 != 4).to(state.loss)


class Spread(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        apart = state.loss - state.loss.mean()
        return super().forward(state) * (apart / apart.norm()).abs()


class Exponential(Fine):
    def score(self, state: mw.StudentState) -> Tensor:
        return (self.slope * state.loss + self.offset).exp().log()


class Rooted(Fine):
    def score(self, state: mw.StudentState) -> Tensor:
        return (self.slope.square() * state.loss).sqrt() + self.offset


class Noting(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        self.level += 1
        return super().forward(state)


class Overwriting(Fine):
    def track(self, state: mw.StudentState) -> None:
        state.loss.clamp_(max=0.5)


class Dicing(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        return super().forward(state) * torch.rand(len(state)).to(state.loss)


class Turning(Fine):
    """Other weights at every call, by what is no buffer."""

    calls = 0

    def forward(self, state: mw.StudentState) -> Tensor:
        self.calls += 1
        return super().forward(state) / self.calls


class FirstCounts(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        return super().forward(state) * torch.linspace(0.5, 1, len(state)).to(state.loss)


class Forgetful(Fine):
    """What it has seen is no buffer."""

    seen = 0.0

    def score(self, state: mw.StudentState) -> Tensor:
        return super().score(state) + self.seen

    def track(self, state: mw.StudentState) -> None:
        self.seen += 0.1


class Detached(Fine):
    def forward(self, state: mw.StudentState) -> Tensor:
        return super().forward(state).detach()


class Idle(Fine):
    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__(spec)
        self.unused = nn.Linear(2, 2)


class InPlace(Fine):
    """Its memory is changed under an older graph."""

    def score(self, state: mw.StudentState) -> Tensor:
        return self.slope * (state.loss.clamp(max=10) - self.level) * self.level + self.offset

    def track(self, state: mw.StudentState) -> None:
        self.level.add_(0.1)


class Untaught(Fine):
    learns = False


class Teachable(Fixed):
    learns = True


class Peeping(Fine):
    def score(self, state: mw.StudentState) -> Tensor:
        return super().score(state) + state.outputs.flatten(1).amax(dim=1).tanh()


class Remembering(Fine):
    """Says that it sees the loss, and remembers hidden states."""

    def track(self, state: mw.StudentState) -> None:
        for value in state.features.values():
            self.level = self.level + value.mean().clamp(-1, 1).to(self.level)


class Boasting(Fine):
    sees = "states"


class Misspelt(Fine):
    sees = "state"


class Inverted(ByGradient):
    def from_hypergradient(self, hypergradient: Tensor) -> Tensor:
        return -hypergradient


class Trained(ByGradient):
    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__(spec)
        self.scale = nn.Parameter(torch.ones(()))


class ReadsPadding(Fine):
    sees = "surface"

    def score(self, state: mw.StudentState) -> Tensor:
        return super().score(state) + state.outputs.flatten(1).amax(dim=1).tanh()


class Echoing(Fine):
    """Suggests the given label."""

    silence = ""

    def suggest(self, state: mw.StudentState) -> mw.Suggestion:
        return mw.Suggestion(state.targets, torch.ones_like(state.loss))


class Greedy(Echoing):
    def suggest(self, state: mw.StudentState) -> mw.Suggestion:
        return mw.Suggestion((state.targets + 1) % state.outputs.shape[1], 2 + state.loss)


class Everywhere(Echoing):
    def suggest(self, state: mw.StudentState) -> mw.Suggestion:
        return mw.Suggestion((state.targets + 1) % state.outputs.shape[1], torch.ones_like(state.loss))


BROKEN = [
    (Bare, "options_have_defaults", "got none for width"),
    (nn.Linear, "options_have_defaults", "metaweight.Teacher"),
    (Tapped, "taps_are_asked_for", "StopIteration"),
    (Counting, "samples_are_asked_for", "say True"),
    (TakesAnyNumber, "samples_are_asked_for", "say False"),
    (OfLabels, "sentences_are_taken_or_refused", "RuntimeError"),
    (Square, "weights_are_one_a_unit", r"\(7, 1\) .* for 7 units"),
    (Single, "weights_are_one_a_unit", "float32 .* for losses of torch.float64"),
    (Negative, "weights_are_one_a_unit", "got a minimum of -"),
    (Infinite, "weights_are_one_a_unit", "NaN or infinity"),
    (Spread, "a_batch_has_any_size", "NaN or infinity"),
    (Exponential, "extreme_states_are_weighed", "NaN"),
    (Rooted, "extreme_states_are_weighed", "gradient of NaN"),
    (Noting, "weighing_changes_nothing", "changes level"),
    (Overwriting, "weighing_changes_nothing", "change the state's loss"),
    (Dicing, "weighing_changes_nothing", "global generator"),
    (Turning, "weighing_changes_nothing", "got other weights"),
    (FirstCounts, "the_order_of_a_batch_does_not_matter", "got weights off by"),
    (Forgetful, "a_loaded_teacher_goes_on_alike", "a parameter or a buffer"),
    (Detached, "gradients_reach_every_parameter", "no gradient"),
    (Idle, "gradients_reach_every_parameter", "unused.weight, unused.bias never moves"),
    (InPlace, "gradients_reach_every_parameter", "modified by an inplace operation"),
    (Untaught, "gradients_reach_every_parameter", "leave out learns = False"),
    (Teachable, "gradients_reach_every_parameter", "set learns = False"),
    (Peeping, "sight_is_what_it_says", "says 'loss', its weights follow surface"),
    (Remembering, "sight_is_what_it_says", "says 'loss', its weights follow states"),
    (Boasting, "sight_is_what_it_says", "says 'states', its weights do not follow it"),
    (Misspelt, "sight_is_what_it_says", "says 'state'; say one of nothing, loss"),
    (Echoing, "suggestions_are_classes", "another than the given one"),
    (Greedy, "suggestions_are_classes", "clamp them"),
    (Everywhere, "suggestions_are_classes", "no class of its own"),
    (Inverted, "a_gradient_gives_weights", "one weight >= 0"),
    (Trained, "gradients_reach_every_parameter", "nobody trains its .'scale'"),
    (ReadsPadding, "padding_does_not_matter", "state.real"),
]


@pytest.mark.parametrize(("teacher", "rule", "told"), BROKEN, ids=[case[0].__name__ for case in BROKEN])
def test_a_broken_rule_is_named_with_what_was_got(teacher: type, rule: str, told: str) -> None:
    with pytest.raises(ContractError, match=told) as caught:
        check_teacher(teacher)
    assert caught.value.rule == rule
    assert str(caught.value).startswith(f"teacher {teacher.__name__}")


def test_a_teacher_that_is_not_meant_for_sentences_is_not_asked_about_them() -> None:
    check_teacher(OfLabels, sentences=False)


def test_what_two_states_do_not_share_has_changed() -> None:
    one, two = torch.ones(2), torch.zeros(2)
    assert changed({"a": one, "b": one, "c": one}, {"a": one, "b": two, "d": two}) == ["b", "c", "d"]
