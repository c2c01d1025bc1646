"""Files of parameters that promise more than they hold, and the forms that MXNet has had; MXNet itself is the judge."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.checkpoint.network import load_params
from recognition.checkpoint.params_file import LIST, LIST_MAGIC, OLD_SHAPES, check_sizes

import mxnet as mx

NAME = b'arg:a'
VALUES = np.arange(6, dtype=np.float32)


def write(path, array: bytes, count=1, names=1):
    name = struct.pack('<QQ', names, len(NAME)) + NAME
    path.write_bytes(LIST.pack(LIST_MAGIC, 0, count) + array + name)
    return path


def older(*, oldest: bool, shape=(2, 3), kind=0, values=VALUES) -> bytes:
    """Return an array as MXNet 0.7 wrote it, or the next version."""
    axes = [len(shape)] if oldest else [OLD_SHAPES, len(shape)]
    head = struct.pack(f'<{len(axes)}I{len(shape)}{"I" if oldest else "q"}', *axes, *shape)
    return head + struct.pack('<iii', 1, 0, kind) + values.tobytes()


@pytest.mark.parametrize('oldest', [True, False])
def test_files_of_older_versions_are_read(tmp_path, oldest):
    path = write(tmp_path / 'm-0000.params', older(oldest=oldest))
    check_sizes(path)
    np.testing.assert_array_equal(mx.nd.load(str(path))['arg:a'].asnumpy(), VALUES.reshape(2, 3))
    np.testing.assert_array_equal(load_params(tmp_path / 'm', 0)[0]['a'].asnumpy(), VALUES.reshape(2, 3))


@pytest.mark.parametrize('numpy_shapes', [False, True])
def test_every_type_that_mxnet_saves(tmp_path, numpy_shapes):
    with mx.util.np_shape(numpy_shapes):
        kinds = ('float32', 'float64', 'float16', 'uint8', 'int32', 'int8', 'int64', 'bool')
        arrays = {f'arg:{kind}': mx.nd.ones((2, 3), dtype=kind) for kind in kinds}
        if numpy_shapes:
            arrays['arg:scalar'] = mx.nd.ones(())
            arrays['arg:none'] = mx.nd.ones((0, 3))
        mx.nd.save(str(tmp_path / 'm-0000.params'), arrays)
        check_sizes(tmp_path / 'm-0000.params')


def test_the_most_axes_and_bfloat16(tmp_path):
    """MXNet's own arrays have 32 axes at most; of the types, 12 is bfloat16 (mshadow/base.h)."""
    path, ones = tmp_path / 'm-0000.params', (1,) * 31
    check_sizes(write(path, older(oldest=False, shape=(*ones, 6))))
    check_sizes(write(path, older(oldest=False, kind=12, values=VALUES.astype(np.float16))))
    with pytest.raises(ValueError, match='33 axes'):
        check_sizes(write(path, older(oldest=False, shape=(*ones, 1, 6))))


@pytest.mark.parametrize(
    'content',
    [
        {'array': older(oldest=False, shape=(2**40, 3))},
        {'array': older(oldest=True, shape=(2**31, 3))},
        {'array': older(oldest=False, shape=(-2, -3))},
        {'array': older(oldest=False)[:-1]},
        {'array': older(oldest=False), 'count': 2**60},
        {'array': older(oldest=False), 'names': 2**60},
        {'array': struct.pack('<I', 2**31)},
    ],
)
def test_promises_are_refused_before_mxnet_makes_room(tmp_path, monkeypatch, content):
    write(tmp_path / 'm-0000.params', **content)
    monkeypatch.setattr(mx.nd, 'load', lambda path: pytest.fail('MXNet was asked'))
    with pytest.raises(CheckpointError, match=r'm-0000\.params is damaged or not a file of MXNet parameters'):
        load_params(tmp_path / 'm', 0)


def test_a_sparse_array_is_refused(tmp_path):
    mx.nd.save(str(tmp_path / 'm-0000.params'), {'arg:a': mx.nd.ones((2, 3)).tostype('row_sparse')})
    with pytest.raises(CheckpointError, match='damaged or not a file of MXNet parameters'):
        load_params(tmp_path / 'm', 0)
