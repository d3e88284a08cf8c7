"""TorchOpt: its MetaSGD moves the live module, whose state is put back afterwards."""

from __future__ import annotations

import torch
import torchopt
from torchopt import pytree

import metaweight as mw
from benchmarks.speed.peers.base import Gradient, Step, Task, second_order


def prepare(task: Task) -> Step:
    """As TorchOpt's own learning-to-reweight example, with the momentum of the real optimizer."""
    student, teacher = task.student, task.teacher
    group = task.optimizer.param_groups[0]
    options = {key: group[key] for key in ("lr", "momentum", "weight_decay") if key in group}
    virtual = torchopt.MetaSGD(student.module, **options)
    parameters, _ = pytree.tree_flatten_as_tuple(virtual.param_containers_groups[0])
    # an update of zeros makes the state; only the first update of all leaves the momentum factor out
    zeros = tuple(torch.zeros_like(p) for p in parameters)
    _, state = virtual.impl.update(zeros, virtual.impl.init(parameters), params=parameters, inplace=False)
    virtual.load_state_dict([state])

    def step(train: mw.Batch, meta: mw.Batch) -> Gradient:
        before = torchopt.extract_state_dict(student.module, by="reference", detach_buffers=True)
        buffers = [task.optimizer.state[p].get("momentum_buffer") for p in parameters]
        if all(b is not None for b in buffers):
            virtual.load_state_dict([pytree.tree_unflatten(pytree.tree_structure(state), buffers)])
        with second_order():
            forward = student(train)
            virtual.step((teacher(forward.state()) * forward.loss).mean())
            gradient = torch.autograd.grad(student(meta).loss.mean(), task.wrt)
        torchopt.recover_state_dict(student.module, before)
        task.teach(gradient)
        task.real_step(train)
        return gradient

    return step
