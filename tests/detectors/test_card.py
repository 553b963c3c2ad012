"""Checksums of files: kept while a file stays as it is, and never longer."""

import hashlib
import os

import pytest

from detectors import card


@pytest.mark.parametrize("age", [0, 3600])
def test_a_changed_file_has_another_checksum(tmp_path, age):
    path = tmp_path / "weights.bin"
    for k, content in enumerate((b"first", b"other", b"third")):
        path.write_bytes(content)
        settled = path.stat().st_mtime - age + k
        os.utime(path, (settled, settled))
        assert card.sha256_file(path) == hashlib.sha256(content).hexdigest()


def test_a_file_that_stays_is_read_once(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    os.utime(path, (1e9, 1e9))
    before = card._kept.cache_info()
    assert len({card.sha256_file(path) for _ in range(5)}) == 1
    after = card._kept.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 4)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        card.sha256_file(path)
