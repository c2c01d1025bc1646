"""Arrays that are written as a PyTorch checkpoint, and how reading it is checked."""

from __future__ import annotations

import numpy as np
import pytest

from config import CheckpointError
from recognition.weights.torch.state_dict import read_state_dict

RNG = np.random.RandomState(5)
ARRAYS = {
    'conv.weight': RNG.randn(4, 3, 3, 3).astype('f4'),
    'bn.running_var': RNG.rand(4).astype('f4'),
    'fc.weight': RNG.randn(2, 4).astype('f2'),
    'double': RNG.randn(3, 2),
    'bn.num_batches_tracked': np.array(12345678901, 'i8'),
    'bytes': np.arange(250, 256, dtype='u1'),
}
FLOATS = {name: array for name, array in ARRAYS.items() if array.dtype == np.float32}


def message(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert '\n' not in text
    assert len(text) < 400 + len(str(path))
    return text


def check(found, expected) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
