"""A teacher in a package of its own."""

import torch
from torch import Tensor, nn

import metaweight as mw


@mw.register_teacher("margin")
class Margin(mw.Teacher):
    """Weight each sample from its logit margin; [U] -> [U]."""

    def __init__(self, spec: mw.StateSpec, hidden: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, state: mw.StudentState) -> Tensor:
        top = state.outputs.topk(2, dim=-1).values
        seen = torch.stack([state.loss, top[:, 0] - top[:, 1]], dim=-1)
        return 2 * self.net(seen).squeeze(-1).sigmoid()
