"""The memory benchmark on a small network: its figures, and a contender that fails."""

from __future__ import annotations

import pytest

from config.errors import ConfigError, FaceSymbolsError
from tools.bench import memory


@pytest.mark.slow
def test_each_network_is_run_in_each_way():
    rows = memory.measure(1, networks=['mnas025'], batch=2, told=lambda words: None)
    assert [row.name for row in rows] == ['mnas025, training', 'mnas025, recompute', 'mnas025, inference']
    for row in rows:
        assert row.figures['GB foretold'] > 0
        assert row.figures['GB measured'] > 0
        assert row.figures['seconds'] > 0
        assert list(row.ratios) == ['GB measured', 'seconds']
    assert rows[0].ratios == {'GB measured': 1, 'seconds': 1}
    assert rows[0].figures['GB foretold'] > rows[2].figures['GB foretold']


def test_a_contender_that_fails_is_told():
    with pytest.raises(FaceSymbolsError, match='r19, training ended with status 1'):
        memory._run('r19', 'training', 2)


def test_mistakes_are_told_before_anything_is_run():
    with pytest.raises(ConfigError, match='r19'):
        memory.measure(1, networks=['r18', 'r19'])
    with pytest.raises(ConfigError, match='batch=0'):
        memory.measure(1, batch=0)
