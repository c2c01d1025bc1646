"""Weights of Keras under our names, from files as Keras wrote them."""

from __future__ import annotations

import numpy as np
import pytest

from config.preprocessing import MODES
from recognition.checkpoint.matching import load_weights
from recognition.weights.keras.mapping import read_keras
from symbols import get_block
from tests.helpers.keras_layouts import (
    ARCHIVE,
    DENSE,
    MODEL,
    NAMED,
    NUMBERED,
    OLDER,
    WEIGHTS,
    config_of,
    refused,
)
from tests.helpers.keras_numbers import drawn

import mxnet as mx

pytestmark = pytest.mark.usefixtures('hdf5_here')


# Layouts (tests/reference/keras/layouts) of one network follow each other: its values are drawn once.
LAYOUTS = (
    'article_xception.keras-2.12.0.weights',
    'article_xception.keras-2.12.0.model',
    'article_xception.keras-2.12.0.archive',
    'article_xception.keras-2.15.0.numbered',
    'article_xception.keras-3.15.1.numbered',
    'article_xception.keras-3.15.1.model',
    'article_xception.keras-3.15.1.archive',
    'keras_xception.keras-1.2.2.weights',
    'keras_xception.keras-1.2.2.model',
    'keras_xception.keras-2.12.0.model',
    'keras_xception.keras-2.15.0.numbered',
    'keras_xception.keras-3.15.1.numbered',
    'keras_xception.keras-3.15.1.archive',
    'keras_resnet50.keras-2.15.0.numbered',
    'keras_densenet121.keras-2.12.0.weights',
)


def error_of(values, network, theirs):
    """Return how far the output with these weights is from Keras's, as a share of its largest value."""
    net = get_block(config_of(network))
    load_weights(net, values, ctx=mx.cpu())
    images = np.random.RandomState(5).randn(4, 112, 112, 3).astype(np.float32)[:2]
    output = net(mx.nd.array(images.transpose(0, 3, 1, 2))).asnumpy()
    return np.abs(output - theirs).max() / np.abs(theirs).max()


class Right:
    """The values of the last network that was asked for: as drawn, and as read from the first file of it."""

    def __init__(self, folder):
        self._folder, self._reference = folder, None

    def values(self, layout):
        if layout.reference != self._reference:
            self._reference, self.read = layout.reference, None
            self._drawn = drawn(self._folder, layout.reference)
        return self._drawn

    def output(self):
        return np.load(self._folder / f'{self._reference}.npz')['y']


@pytest.fixture(scope='module')
def right(reference):
    return Right(reference / 'keras')


def layouts():
    """Return the layouts; slow are those of the networks that alone have one file here, and of another's versions."""
    slow = ('keras_resnet50', 'keras_densenet121', 'keras_xception.keras-2.15', 'keras_xception.keras-3')
    return [pytest.param(name, marks=pytest.mark.slow if name.startswith(slow) else []) for name in LAYOUTS]


@pytest.mark.parametrize('name', layouts())
def test_all_layouts_give_the_numbers_of_keras(name, layout, right, path):
    """The first file of a network by the network's output, the others by the values of the first."""
    made = layout(name)
    made.write(path, right.values(made))
    values = read_keras(path, config_of(made.network))
    if right.read is None:
        assert error_of(values, made.network, right.output()) <= 1e-4
        right.read = values
    assert list(values) == list(right.read)
    for parameter, value in values.items():
        assert value.dtype == np.float32
        assert value.flags.c_contiguous
        np.testing.assert_array_equal(value, right.read[parameter], err_msg=parameter)


def test_every_recorded_layout_is_tested(reference):
    files = {path.name for path in (reference / 'keras' / 'layouts').glob('*.json')}
    assert files == {f'{name}.json' for name in (*LAYOUTS, *OLDER)}  # the latter in test_older_names.py


@pytest.mark.parametrize('classifier', ['predictions', 'probs', 'fc1000', 'dense', 'dense_7'])
def test_names_of_the_classifier(classifier, layout, path):
    made = layout('keras_xception.keras-1.2.2.weights')
    made.remove('predictions')
    made.add(classifier, {'kernel': (2048, 1000), 'bias': (1000,)})
    assert read_keras(made.write(path), config_of(made.network))['fc1_weight'].shape == (1000, 2048)


def test_numbers_begin_anywhere(layout, path, right):
    """`conv2d`, `conv2d_1`, ..., `conv2d_10` are in the order of their numbers, which is not that of the alphabet."""
    made = layout(WEIGHTS)
    values = right.values(made)
    layers = made.groups['']['layer_names']
    names = {}
    for kind in ('conv2d', 'separable_conv2d', 'batch_normalization', 'dense'):
        known = [layer for layer in layers if layer.rpartition('_')[0] == kind]
        numbers = [''] + [f'_{number}' for number in range(1, len(known))]
        names.update({layer: kind + number for layer, number in zip(known, numbers)})
    made.groups['']['layer_names'] = [names.get(layer, layer) for layer in layers]
    for layer, name in names.items():
        for role, dataset in made.of_layer(layer).items():
            made.datasets[f'{name}/{name}/{role}:0'] = made.datasets.pop(dataset)
        attributes = made.groups.pop(layer)['weight_names']
        made.groups[name] = {'weight_names': [weight.replace(layer, name) for weight in attributes]}
    renamed = read_keras(made.write(path, values), config_of(made.network))
    original = read_keras(layout(WEIGHTS).write(path, values), config_of(made.network))
    for parameter, value in original.items():
        np.testing.assert_array_equal(renamed[parameter], value)


@pytest.mark.parametrize('name', [WEIGHTS, NUMBERED, ARCHIVE])
def test_without_the_classifier(name, layout, path):
    """include_top=False: the classifier's values are not there, and whoever wants them says so."""
    made = layout(name)
    made.remove(DENSE)
    cfg = config_of(made.network)
    values = read_keras(made.write(path), cfg)
    assert set(get_block(cfg).collect_params()) - set(values) == {'fc1_weight', 'fc1_bias'}


@pytest.mark.parametrize('name', [WEIGHTS, ARCHIVE])
def test_another_head_gets_the_backbone(name, layout, path):
    made = layout(name)
    values = read_keras(made.write(path), config_of(made.network, net_output='E', emb_size=64))
    assert 'block14_sepconv2_pw_weight' in values
    assert not [parameter for parameter in values if parameter.startswith('fc1')]


@pytest.mark.parametrize('mode', MODES)
def test_each_mode_of_keras_can_be_put_inside(mode, layout, path):
    made = layout(NAMED)
    assert read_keras(made.write(path), config_of(made.network, **MODES[mode]))


def test_what_is_no_mode_of_keras_is_refused_but_for_an_article(layout, path):
    made = layout(NAMED)
    made.write(path)
    words = "input_mean=127.5, input_scale=1.0, input_order='rgb' do not go with"
    refused(path, config_of(made.network, input_mean=127.5), words, 'torch, caffe, tf, none')
    refused(path, config_of(made.network, **{**MODES['caffe'], 'input_order': 'rgb'}), "input_order='rgb'")
    made = layout(WEIGHTS)
    made.write(path)
    assert read_keras(path, config_of(made.network, input_scale=1 / 255))
    refused(path, config_of(made.network, padding='symmetric'), "its network has padding='tf_same'")
    refused(path, config_of(made.network, net_input=1), 'its network has net_input=0')


def test_a_model_that_pools_by_the_maximum_goes_with_net_pool_max_alone(layout, path):
    made = layout(ARCHIVE)
    (pooling,) = (each for each in made.config['config']['layers'] if 'Global' in each['class_name'])
    pooling['class_name'] = 'GlobalMaxPooling2D'
    made.write(path)
    assert 'fc1_weight' in read_keras(path, config_of(made.network, net_pool='max'))
    refused(path, config_of(made.network), f"layer '{DENSE}' is connected otherwise than fc1")


def test_eps_of_the_config(layout, path):
    """The network is built with the eps of the file, if it is asked to."""
    made = layout(MODEL)
    for layer in made.config['config']['layers']:
        if 'epsilon' in layer['config']:
            layer['config']['epsilon'] = 1e-5
    refused(made.write(path), config_of(made.network), 'with bn_eps=1e-05')
    assert read_keras(path, config_of(made.network, bn_eps=1e-5))
