"""Imported networks on photographs in RGB, 0..255, against Keras with its preprocess_input: the same probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from recognition.checkpoint.matching import parts_of
from recognition.checkpoint.network import load_network
from recognition.commands.import_weights import main
from recognition.data.images import channels_first
from tests.helpers.keras_layouts import OLDER, WEIGHTS, config_of
from tests.helpers.keras_numbers import AXES, drawn, key_of, value_of, write_weights

import mxnet as mx

pytestmark = pytest.mark.usefixtures('hdf5_here')

SIDE = 112
# A layout of each network whose layers have numbers, or other names than here, and options of the import.
LAYOUTS = {
    'keras_resnet50': ('keras_resnet50.keras-2.15.0.numbered', []),
    'keras_resnet50_elu': (OLDER[0], ['--preprocessing', 'caffe']),
    'keras_xception': ('keras_xception.keras-3.15.1.archive', []),
    'article_xception': (WEIGHTS, ['--preprocessing', 'tf']),
}
# What is divided by how much, so that pixels in -128..128 come to numbers that a softmax tells apart.
SMALLER = {
    'keras_resnet50': {'conv1_conv|kernel': 64, 'predictions|kernel': 16},
    'keras_resnet50_elu': {'conv2d_146|kernel': 64},
}
QUICK = ('keras_densenet121', 'keras_resnet50', 'keras_xception')
PRESETS = (*QUICK, 'keras_densenet169', 'keras_densenet201', 'keras_resnet50_elu', 'article_xception')


def photographs():
    """Return two images of 7 by 7 squares, uint8 (2, 112, 112, 3)."""
    colours = np.random.RandomState(11).randint(0, 256, (2, SIDE // 16, SIDE // 16, 3))
    return np.kron(colours, np.ones((1, 16, 16, 1), int)).astype(np.uint8)


def write(preset, path, layout, folder):
    """Write the weights of a preset as a file of Keras, and return the options of its import."""
    if preset not in LAYOUTS:  # a DenseNet
        own = parts_of(config_of(preset))
        shapes = {**own.backbone, **own.head}.items()
        theirs = {key_of(name): tuple(shape[axis] for axis in AXES[len(shape)]) for name, shape in shapes}
        write_weights(path, {key: value_of(key, shape) for key, shape in theirs.items()})
        return []
    name, options = LAYOUTS[preset]
    made = layout(name)
    values = drawn(folder, made.reference)
    for key, divisor in SMALLER.get(preset, {}).items():
        values[key] = values[key] / np.float32(divisor)
    made.write(path, values)
    return options


def probabilities(prefix, images):
    net = load_network(prefix, 0, image_shape=(SIDE, SIDE, 3))
    return mx.nd.softmax(net(mx.nd.array(channels_first(images)))).asnumpy()


@pytest.mark.parametrize(
    'preset', [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow) for each in PRESETS]
)
def test_the_probabilities_are_those_of_keras(preset, path, layout, reference, tmp_path):
    options = write(preset, path, layout, reference / 'keras')
    size = ['--config', f'image_shape={SIDE},{SIDE},3']
    main(['keras', str(path), '--network', preset, *size, '--output', str(tmp_path / 'net'), *options])
    theirs = np.load(reference / 'keras' / 'photographs.npz')[preset]
    images = photographs()
    found, other = np.split(probabilities(tmp_path / 'net', np.concatenate([images, images[..., ::-1]])), 2)
    assert (found.argmax(1) == theirs.argmax(1)).all()
    assert np.abs(found - theirs).max() <= min(1e-5, 1e-4 * theirs.max())
    assert np.abs(other - theirs).max() >= 0.05 * theirs.max()  # of BGR
