"""What tests of the config share."""

from __future__ import annotations

import pytest

from config import config, default


@pytest.fixture(autouse=True)
def central_config(monkeypatch):
    """Give the central config back as it was."""
    monkeypatch.delenv('DMLC_NUM_WORKER', raising=False)
    before = dict(config), dict(default)
    yield
    for central, values in zip((config, default), before):
        central.clear()
        central.update(values)
