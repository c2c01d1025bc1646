"""The memory benchmark on a small network: its figures, and a contender that fails."""

from __future__ import annotations

import pytest

from config.errors import FaceSymbolsError
from recognition.bench import memory


@pytest.mark.slow
def test_each_network_is_run_in_each_way(monkeypatch):
    monkeypatch.setattr(memory, 'NETWORKS', ('mnas025',))
    monkeypatch.setattr(memory, 'BATCH', 2)
    rows = memory.measure(1, told=lambda words: None)
    assert [row.name for row in rows] == ['mnas025, inference', 'mnas025, training', 'mnas025, recompute']
    for row in rows:
        assert row.figures['GB foretold'] > 0
        assert row.figures['GB measured'] > 0
        assert row.figures['seconds'] > 0
    assert rows[1].figures['GB foretold'] > rows[0].figures['GB foretold']


def test_a_contender_that_fails_is_told():
    with pytest.raises(FaceSymbolsError, match='r19, training ended with status 1'):
        memory._run('r19', 'training')
