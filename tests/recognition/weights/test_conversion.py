"""A checkpoint whose parameters are a network's and whose layers are connected otherwise."""

from __future__ import annotations

import pytest

from config.errors import CheckpointError
from recognition.checkpoint.matching import Report
from recognition.checkpoint.network import Saved
from recognition.weights.conversion import Converted, embedding_difference
from tests.helpers.toy_network import SHAPE, network, parameters


def test_the_first_layer_that_differs_is_named():
    own = network()
    args, auxs = parameters(own)
    converted = Converted(own, args, auxs, Report((), (), (), {}))
    values = {**args, **auxs}
    assert embedding_difference(Saved(own, values, {}), converted, image_shape=SHAPE) == 0
    first = r'name another preset; the first layer that differs is relu0 \(Activation\): value \[.*\] for image \d is '
    with pytest.raises(CheckpointError, match=first + r'\S+ in the checkpoint and \S+ in the network here'):
        embedding_difference(Saved(network(activation='tanh'), values, {}), converted, image_shape=SHAPE)
