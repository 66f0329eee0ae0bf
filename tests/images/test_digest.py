from __future__ import annotations

import os

import numpy as np
import pytest

from atlas_pipeline.images.digest import PIECE_BYTES, WHOLE_BYTES, read_exactly, sampled_digest


def digest_of(path, raw: bytes, start: int = 0) -> bytes:
    path.write_bytes(raw)
    with open(path, "rb") as file:
        return sampled_digest(file.fileno(), start, len(raw) - start)


def test_every_byte_of_a_small_file_counts(tmp_path):
    raw = bytearray(np.random.default_rng(0).bytes(WHOLE_BYTES))
    digests = {digest_of(tmp_path / "x", bytes(raw))}
    for at in (0, PIECE_BYTES, WHOLE_BYTES // 2, WHOLE_BYTES - 1):
        raw[at] ^= 1
        digests.add(digest_of(tmp_path / "x", bytes(raw)))
    assert len(digests) == 5


def test_of_a_large_file_its_size_and_three_pieces_count(tmp_path):
    size = 3 * WHOLE_BYTES
    raw = bytearray(np.random.default_rng(0).bytes(size))
    whole = digest_of(tmp_path / "x", bytes(raw))
    assert digest_of(tmp_path / "x", bytes(raw) + b"\0") != whole
    assert digest_of(tmp_path / "x", b"before" + bytes(raw), start=6) == whole
    for at, seen in ((0, True), (PIECE_BYTES, False), (size // 2, True), (size - 1, True)):
        raw[at] ^= 1
        assert (digest_of(tmp_path / "x", bytes(raw)) != whole) == seen
        raw[at] ^= 1


def test_a_file_that_ends_too_early(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    descriptor = os.open(tmp_path / "x", os.O_RDONLY)
    try:
        assert read_exactly(descriptor, 1, 4) == b"2345"
        with pytest.raises(EOFError, match="ends at byte 5, before byte 6"):
            read_exactly(descriptor, 2, 4)
    finally:
        os.close(descriptor)
