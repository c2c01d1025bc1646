"""Files of other networks than the one that is asked for: each is refused in one sentence that names what is wrong."""

from __future__ import annotations

import pytest

from config import resolve
from config.errors import CheckpointError
from recognition.weights.keras.mapping import read_keras
from tests.helpers.keras_layouts import ARCHIVE, DENSE, MODEL, NAMED, NUMBERED, WEIGHTS, config_of, refused

pytestmark = pytest.mark.usefixtures('hdf5_here')


@pytest.mark.parametrize('network', ['r50', 'd121', 'd2l_densenet'])
def test_networks_that_keras_does_not_have(network, path):
    with pytest.raises(CheckpointError, match=r'net_name=.* is not a network of Keras.*keras_resnet50_elu'):
        read_keras(path, resolve(network))


@pytest.mark.parametrize(
    ('name', 'network'),
    [
        (WEIGHTS, 'keras_densenet121'),
        (WEIGHTS, 'keras_xception'),
        (NUMBERED, 'keras_resnet50'),
        (NUMBERED, 'keras_xception'),
        (ARCHIVE, 'keras_resnet50_elu'),
        (NAMED, 'article_xception'),
        ('keras_densenet121.keras-2.12.0.weights', 'keras_densenet169'),
        ('keras_resnet50.keras-2.15.0.numbered', 'keras_resnet50_elu'),
    ],
)
def test_another_network(name, network, layout, path):
    refused(layout(name).write(path), config_of(network))


@pytest.mark.parametrize('name', [WEIGHTS, NAMED, NUMBERED, ARCHIVE])
def test_missing_layer(name, layout, path):
    """A layer with a name is named; one with a number cannot be known, for its number says nothing."""
    made = layout(name)
    layer = 'block14_sepconv1' if name == NAMED else 'separable_conv2d_150'
    made.remove(layer)
    words = (
        ("lacks the layer 'block14_sepconv1'",) if name == NAMED else ('33 numbered layers SeparableConv2D',)
    )
    refused(made.write(path), config_of(made.network), *words)


def test_extra_layers_by_name(layout, path):
    made = layout(WEIGHTS)
    made.add('lstm', {'kernel': (4, 12), 'recurrent_kernel': (3, 12), 'bias': (12,)})
    made.add('my_norm', {'gamma': (4,), 'beta': (4,)})
    refused(made.write(path), config_of(made.network), "no rule for its layer 'lstm', layer 'my_norm'")


def test_extra_layer_of_a_class_that_is_counted(layout, path):
    made = layout(WEIGHTS)
    made.add('conv2d_300', {'kernel': (1, 1, 2, 2)})
    refused(made.write(path), config_of(made.network), '6 numbered layers Conv2D where the network has 5')


@pytest.mark.parametrize(
    ('dataset', 'shape', 'words'),
    [
        ('layers/group_normalization/vars/0', (4,), "no rule for its layer 'group_normalization'"),
        ('layers/dropout/seed_generator/vars/0', (2,), "no rule for its layer 'dropout'"),
        ('layers/lstm/cell/vars/0', (4, 12), "no rule for its layer 'lstm'"),
        ('layers/conv2d_9/vars/0', (1, 1, 2, 2), '6 numbered layers Conv2D'),
        ('layers/dense_1/vars/0', (2, 2), '2 numbered layers Dense'),
        ('layers/conv2d/vars/1', (32,), "layer 'conv2d' holds '0', '1' where a Conv2D with kernel is wanted"),
        ('layers/conv2d/lora/0', (32,), "'lora/0'"),
    ],
)
def test_extra_weights_by_number(dataset, shape, words, layout, path):
    made = layout(NUMBERED)
    made.datasets[dataset] = 'extra'
    made.shapes['extra'] = shape
    refused(made.write(path), config_of(made.network), words)


@pytest.mark.parametrize(
    ('layer', 'weight', 'shape', 'words'),
    [
        ('conv2d_199', 'kernel', (3, 3, 32, 3), 'its kernel is (3, 3, 32, 3) instead of (3, 3, 3, 32)'),
        ('conv2d_202', 'bias', (128,), 'its bias is (128,) instead of (256,)'),
        ('separable_conv2d_136', 'depthwise_kernel', (3, 3, 64, 2), '(3, 3, 64, 2) instead of (3, 3, 64, 1)'),
        ('batch_normalization_242', 'moving_variance', (64,), '(64,) instead of (32,)'),
        (DENSE, 'kernel', (2048, 10), '(num_classes=10 builds the classifier of these weights)'),
        (DENSE, 'kernel', (1000, 2048), '(1000, 2048) instead of (2048, 1000)'),
        (DENSE, 'bias', (10,), 'its bias is (10,)'),
    ],
)
def test_wrong_shapes(layer, weight, shape, words, layout, path):
    made = layout(WEIGHTS)
    made.shapes[f'{layer}|{weight}'] = shape
    refused(made.write(path), config_of(made.network), f'layer {layer!r}', words)


@pytest.mark.parametrize('name', [NUMBERED, ARCHIVE])
def test_wrong_shape_of_a_number(name, layout, path):
    made = layout(name)
    made.shapes[f'{DENSE}|kernel'] = (2048, 10)
    refused(made.write(path), config_of(made.network), 'its kernel is (2048, 10) instead of (2048, 1000)')


def test_swapped_layers(layout, path):
    """Two layers whose shapes differ, under each other's name."""
    made = layout(WEIGHTS)
    one, other = made.of_layer('conv2d_199')['kernel'], made.of_layer('conv2d_200')['kernel']
    made.datasets[one], made.datasets[other] = made.datasets[other], made.datasets[one]
    refused(made.write(path), config_of(made.network), "layer 'conv2d_199'", '(3, 3, 32, 64)')


def test_layer_without_one_of_its_weights(layout, path):
    made = layout(WEIGHTS)
    made.groups['batch_normalization_242']['weight_names'].pop(0)
    refused(made.write(path), config_of(made.network), "layer 'batch_normalization_242' holds 'beta'")


def test_two_layers_of_one_name(layout, path):
    made = layout(WEIGHTS)
    for name in ('predictions', 'probs'):
        made.add(name, {'kernel': (2048, 1000), 'bias': (1000,)})
    cfg = config_of('keras_xception')
    refused(made.write(path), cfg, "two layers for fc1: layer 'predictions' and layer 'probs'")


def test_parameters_that_keras_does_not_have(layout, path):
    made = layout(WEIGHTS)
    refused(made.write(path), config_of(made.network, net_act='prelu'), "net_act='prelu' does not go with")


def test_class_of_a_named_layer(layout, path):
    made = layout(NAMED)
    made.layer('block1_conv1')['class_name'] = 'Conv2DTranspose'
    words = "layer 'block1_conv1' is a conv2d_transpose where a Conv2D is wanted"
    refused(made.write(path), config_of(made.network), words)


@pytest.mark.parametrize(
    ('layer', 'settings', 'words'),
    [
        ('batch_normalization_243', {'epsilon': 1e-5}, 'epsilon=1e-05 where block1_conv2_bn has 0.001'),
        ('conv2d_199', {'strides': [1, 1]}, 'strides (1, 1) where block1_conv1 has (2, 2)'),
        ('separable_conv2d_137', {'strides': [2, 2]}, 'strides (2, 2) where block2_sepconv2 has (1, 1)'),
        ('conv2d_199', {'activation': 'relu'}, "'batch_normalization_242' is connected otherwise"),
        ('re_lu_140', {'max_value': 6.0}, "'conv2d_200' is connected otherwise"),
        ('max_pooling2d_25', {'strides': [1, 1]}, 'is connected otherwise'),
    ],
)
def test_settings_of_the_model(layer, settings, words, layout, path):
    made = layout(MODEL)
    made.layer(layer)['config'].update(settings)
    refused(made.write(path), config_of(made.network), words)


@pytest.mark.parametrize('kind', ['ELU', 'Lambda', 'Rescaling'])
def test_another_layer_without_weights(kind, layout, path):
    made = layout(ARCHIVE)
    made.layer('re_lu_150')['class_name'] = kind
    words = (
        'is connected otherwise'
        if kind == 'ELU'
        else f"no rule for its layer 're_lu_150', a {kind.lower()!r}"
    )
    refused(made.write(path), config_of(made.network), words)


@pytest.mark.parametrize('name', [MODEL, ARCHIVE])
def test_another_order_of_building(name, layout, path):
    """Two layers of the same shape that were built the other way round: only the model can tell."""
    made = layout(name)
    one, other = made.layer('separable_conv2d_145'), made.layer('separable_conv2d_147')
    one['inbound_nodes'], other['inbound_nodes'] = other['inbound_nodes'], one['inbound_nodes']
    refused(made.write(path), config_of(made.network), 'is connected otherwise')


@pytest.mark.parametrize('inbound', [[[['re_lu_144', 0, 0, {}]]], [[['nowhere', 0, 0, {}]]]])
def test_config_that_leads_nowhere(inbound, layout, path):
    """In a circle, or to a layer that is not there."""
    made = layout(MODEL)
    made.layer('re_lu_144')['inbound_nodes'] = inbound
    refused(made.write(path), config_of(made.network), 'damaged')
