"""What tests of the config share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def as_it_was(central_config):
    """Let no test leave another central config."""
