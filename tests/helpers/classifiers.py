"""Small networks of class scores with what their files record, and labelled images, as IDX files too."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import cv2
import numpy as np

from recognition.utils.run_paths import classes_path, config_path
from tests.helpers.small_network import SHAPE, SIZE, make_values, write_checkpoint, write_ncnn, write_onnx

import mxnet as mx

NAMES = tuple(f'class {letter}' for letter in 'hgfedcba')  # not in the order of the alphabet
KINDS = {'mxnet': 'checkpoint', 'onnxruntime': 'onnx', 'openvino': 'onnx', 'ncnn': 'ncnn'}


def record(prefix, head='classifier', shape=SHAPE, names=NAMES, **settings):
    """Write what a checkpoint records beside it."""
    cfg = {'net_output': head, 'net_name': 'fresnet', 'image_shape': shape, **settings}
    config_path(prefix).write_text(json.dumps(cfg))
    if names:
        classes_path(prefix).write_text(''.join(f'{name}\n' for name in names))
    return prefix


def write_files(folder: Path, kind='class scores'):
    """Write the small network as a classifier, in all files that engines read; return its values and them by kind."""
    values = make_values()
    told = {'kind': kind, 'classes': json.dumps(NAMES), 'params_sha256': 'known'}
    files = {
        'checkpoint': write_checkpoint(record(folder / 'model'), 7, values),
        'onnx': str(write_onnx(folder / 'net.onnx', values, metadata=told)),
        'ncnn': str(write_ncnn(folder / 'net.ncnn', values)),
    }
    (folder / 'net.ncnn.json').write_text(json.dumps({**told, 'image_shape': SHAPE}))
    return values, files


def write_grey(prefix, shape=(14, 12, 1), groups=1):
    """Write a network of one convolution, without a record, and return its checkpoint of epoch 1."""
    x = mx.sym.Convolution(
        mx.sym.var('data'), num_filter=4, kernel=(3, 3), num_group=groups, no_bias=True, name='conv0'
    )
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=SIZE, name='fc1')
    height, width, channels = shape
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, channels, height, width))[0]))
    rng = np.random.RandomState(0)
    args = {name: mx.nd.array(rng.normal(0, 0.1, shapes[name])) for name in shapes if name != 'data'}
    mx.model.save_checkpoint(str(prefix), 1, symbol, args, {})
    return f'{prefix},1'


def labelled(folder: Path, values, count=5):
    """Write images into folders of what the network says of them, the first into a wrong one; return both."""
    drawn = np.random.default_rng(3).integers(0, 256, (100 * count, *SHAPE), dtype=np.uint8)
    said = values.embed(drawn).argmax(axis=1)
    chosen = np.concatenate([np.flatnonzero(said == number)[:count] for number in range(SIZE)])
    assert len(chosen) == count * SIZE
    for number, (image, label) in enumerate(zip(drawn[chosen], said[chosen])):
        where = NAMES[label if number else (label + 1) % SIZE]
        (folder / where).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / where / f'{number:02}.png'), image[:, :, ::-1])
    return drawn[chosen], said[chosen]


def idx_bytes(values):
    """Return an array uint8 as an IDX file."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f'>{values.ndim}I', *values.shape) + values.tobytes()


def write_idx(folder, name, images, labels, images_end='', labels_end=''):
    """Write a file of images, whose path is returned, and its file of labels; an end of .gz has it compressed."""
    path = folder / f'{name}-images-idx3-ubyte{images_end}'
    beside = folder / f'{name}-labels-idx1-ubyte{labels_end}'
    for file, values in ((path, images), (beside, labels)):
        content = idx_bytes(values)
        file.write_bytes(gzip.compress(content) if file.suffix == '.gz' else content)
    return path
