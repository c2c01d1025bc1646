"""A checkpoint whose parameters are a network's and whose layers are connected otherwise."""

from __future__ import annotations

import pytest

from config.errors import CheckpointError
from recognition.checkpoint.matching import Report
from recognition.checkpoint.network import Saved
from recognition.export.import_check import checkpoint_difference
from recognition.weights.conversion import Converted
from tests.helpers.toy_network import SHAPE, network, parameters


def test_the_first_layer_that_differs_is_named():
    own = network()
    args, auxs = parameters(own)
    converted = Converted(own, args, auxs, Report((), (), (), {}))
    values = {**args, **auxs}
    assert checkpoint_difference(Saved(own, values, {}), SHAPE, converted) == 0
    first = r'the first layer that differs is relu0 \(Activation\): value \[.*\] for image \d is \S+ in the checkpoint '
    with pytest.raises(CheckpointError, match=first + r'and \S+ in this network, .*; name another preset$'):
        checkpoint_difference(Saved(network(activation='tanh'), values, {}), SHAPE, converted)
