"""A sealed file says of itself whether a byte of it was changed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from metaweight.core.seal import DIGEST, MARK, SealedFile, seal_fits


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "sealed"
    with path.open("wb") as file:
        sealed = SealedFile(file)
        for part in (b"some ", b"content"):
            assert sealed.write(part) == len(part)
        sealed.close()
    whole = path.read_bytes()
    assert whole.startswith(b"some content")
    assert seal_fits(path) is True
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert seal_fits(path) is not True
        path.write_bytes(whole[:place])
        assert seal_fits(path) is not True
    assert seal_fits(path) is None
    path.write_bytes(b"x" + whole)
    assert seal_fits(path) is False
    path.write_bytes(MARK + bytes(DIGEST))
    assert seal_fits(path) is False


def test_a_failed_write_is_remembered() -> None:
    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError("full")

    sealed = SealedFile(Full())
    assert sealed.failure is None
    with pytest.raises(OSError, match="full"):
        sealed.write(b"x")
    assert str(sealed.failure) == "full"
