"""What the tests of networks share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope='session')
def internal_shapes():
    """Return a function: symbol, input shape -> the shape of every node's output by the output's name."""

    def shapes_of(symbol, shape=(1, 3, 112, 112)):
        internals = symbol.get_internals()
        _, shapes, _ = internals.infer_shape(data=shape)
        return dict(zip(internals.list_outputs(), shapes))

    return shapes_of
