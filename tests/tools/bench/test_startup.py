from __future__ import annotations

import pytest

from config.errors import FaceSymbolsError
from tools.bench import startup


@pytest.mark.slow
def test_each_program_is_timed_beside_mxnet():
    rows = startup.measure(1, told=lambda _: None)
    assert [row.name for row in rows] == list(startup.PROGRAMS)
    assert all(row.figures['CPU seconds'] > 0.01 for row in rows)
    first, *_, last = rows
    assert first.figures['seconds on top'] == 0
    assert last.figures['seconds on top'] == last.figures['seconds'] - first.figures['seconds']


def test_a_program_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(startup, 'PROGRAMS', {'import nothing': 'import no_such_module'})
    with pytest.raises(FaceSymbolsError, match='import nothing ended with status 1; ModuleNotFoundError'):
        startup.measure(1, told=lambda _: None)
