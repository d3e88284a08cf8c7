"""Whether a device is there, before anything is loaded or written."""

from __future__ import annotations

import torch


def require_device(name: str) -> None:
    """Raise ValueError where torch cannot put a tensor on the device ``name``."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here: {reason}; --device cpu always can") from error
