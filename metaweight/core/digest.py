"""Short digests of what a run is made from, so that a change of it can be named."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from torch import Tensor


def digest(*parts: Tensor | Iterable[str]) -> str:
    """32 hexadecimal digits of tensors (type, shape and values) and of texts, one by one, in their order."""
    whole = blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            whole.update(f"{part.dtype} {tuple(part.shape)}\n".encode())
            whole.update(part.detach().cpu().contiguous().numpy().data)
            continue
        for text in part:
            content = text.encode("utf-8", "surrogatepass")
            whole.update(f"{len(content)}:".encode() + content)
        whole.update(b"end")
    return whole.hexdigest()
