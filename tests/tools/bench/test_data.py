from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from tools.bench import data


@pytest.fixture
def faces(tmp_path, monkeypatch):
    people = np.random.default_rng(0).integers(0, 256, (6, 1, data.SIZE, data.SIZE), np.uint8)
    monkeypatch.setattr(data, 'load_photographs', lambda: list(people))
    monkeypatch.setattr(data, 'COPIES', 4)
    monkeypatch.setattr(data, 'BATCH', 8)
    return tmp_path


def test_every_reader_is_measured_on_the_same_faces(faces):
    rows = data.measure(1, images=8, told=lambda _: None)
    assert [row.name for row in rows][:2] == ['FaceLoader, 2 workers', 'FaceLoader, 1 workers']
    assert len(rows) == 6
    assert all(row.figures['images/s'] > 0 for row in rows)


def test_the_readers_beside_ours_read_the_images(faces):
    data.write_faces(faces)
    for reader in (data.record_iter, data.one_by_one):
        (first, *_) = islice(reader(faces), 1)
        images = first.data[0] if hasattr(first, 'data') else first[0]
        assert images.shape == (8, 3, data.SIZE, data.SIZE)
        assert images.asnumpy().std() > 10
