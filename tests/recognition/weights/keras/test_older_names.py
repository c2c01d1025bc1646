"""ResNet-50 under the names of Caffe's layers, as articles and keras_applications up to 1.0.8 have it."""

from __future__ import annotations

import json
from zlib import crc32

import numpy as np
import pytest

from recognition.checkpoint.matching import parts_of
from recognition.weights.keras.mapping import read_keras
from symbols.keras_layers import model_layers, older_names
from tests.helpers.keras_layouts import OLDER, config_of, refused
from tests.helpers.keras_numbers import AXES, key_of, write_weights

pytestmark = pytest.mark.usefixtures('hdf5_here')

FORMS = ('weights', 'model', 'archive', 'numbered with names', 'numbered')
PARTS = {
    'conv': ('Conv2D', {'kernel': 'weight', 'bias': 'bias'}),
    'dense': ('Dense', {'kernel': 'weight', 'bias': 'bias'}),
}
PARTS['bn'] = ('BatchNormalization', {'gamma': 'gamma', 'moving_variance': 'moving_var'})
WIDE = 'conv2_block1_'  # the unit whose third layers and shortcut have the same shapes


@pytest.fixture
def form(layout):
    """Return a function: form -> what Keras writes in it, by what it wrote as a whole model and as numbered weights."""

    def make(name):
        made = layout(OLDER[name.startswith('numbered')])
        if name == 'weights':
            root = 'model_weights'
            made.config = None
            made.groups = {path[len(root) :].strip('/'): held for path, held in made.groups.items() if path}
            made.datasets = {path[len(root) + 1 :]: key for path, key in made.datasets.items()}
        elif name == 'archive':  # the config of the model and the weights as they are numbered
            numbered = layout(OLDER[1])
            made.is_archive, made.groups, made.datasets = True, numbered.groups, numbered.datasets
        elif name == 'numbered':  # before Keras noted the names
            made.groups = {}
        return made

    return make


def number_of(key):
    """Return the number that stands for all values of a weight of Keras's."""
    return crc32(key.encode()) % 10007 / 16


def expected(reference, cfg):
    """Return that number for each of our parameters, by the order of Keras's graph."""
    row = json.loads((reference / 'keras' / 'resnet50_elu_seed_224.json').read_text('utf-8'))
    found = {}
    for keras_class, roles in PARTS.values():
        theirs = [layer['name'] for layer in row['layers'] if layer['type'] == keras_class]
        layers = model_layers(cfg)[keras_class]
        assert len(theirs) == len(layers)
        for name, ours in zip(theirs, layers):
            found.update({f'{ours}_{our}': number_of(f'{name}|{role}') for role, our in roles.items()})
    return found


def plain(made):
    """Make the layout that of Keras 2.2.3's network: a relu, and padding in front of the pooling."""
    for layer in made.config['config']['layers'] if made.config else ():
        if layer['class_name'] == 'ELU':
            layer.update(class_name='ReLU', config={'name': layer['config']['name'], 'max_value': None})
        if layer['class_name'] == 'MaxPooling2D':
            layer['config']['padding'] = 'same'
    return made


@pytest.mark.parametrize('name', FORMS)
def test_the_network_of_articles_in_all_layouts(name, form, path, reference):
    cfg = config_of('keras_resnet50_elu')
    values = read_keras(form(name).write(path, number=number_of), cfg)
    wanted = expected(reference, cfg)
    assert len(values) == 320
    assert len(wanted) == 214
    for parameter, number in wanted.items():
        assert (values[parameter] == np.float32(number)).all(), parameter
    assert wanted[f'{WIDE}0_conv_weight'] != wanted[f'{WIDE}3_conv_weight']


@pytest.mark.parametrize('name', FORMS)
def test_the_network_of_older_keras_in_all_layouts(name, form, path, reference):
    made = plain(form(name))
    cfg = config_of('keras_resnet50', bn_eps=1e-3)
    values = read_keras(made.write(path, number=number_of), cfg)
    for parameter, number in expected(reference, config_of('keras_resnet50_elu')).items():
        assert (values[parameter] == np.float32(number)).all(), parameter
    if name == 'numbered':  # nothing says how old it is, and the shapes do not fit the newer order
        refused(path, config_of('keras_resnet50'), 'its kernel is')
    else:
        refused(path, config_of('keras_resnet50'), 'bn_eps=', '0.001')


def test_the_activation_is_that_of_the_article_or_a_relu(form, path):
    made = form('weights')
    made.write(path)
    assert read_keras(path, config_of('keras_resnet50_elu', net_act='relu'))
    refused(path, config_of('keras_resnet50_elu', net_act='tanh'), "has net_act='elu' or net_act='relu'")
    refused(path, config_of('keras_resnet50', bn_eps=1e-3, net_act='elu'), "its network has net_act='relu'")


def test_a_pooling_without_the_padding_is_told_apart(form, path):
    """keras_applications pads since 1.0.6; before that the network was the article's."""
    made = plain(form('model'))
    pooling = made.layer('max_pooling2d')
    pooling['config']['padding'] = 'valid'
    words = 'conv2_block1_1_conv is here: it reads max with strides 2 2(relu(conv1_bn)), and'
    refused(
        made.write(path),
        config_of('keras_resnet50', bn_eps=1e-3),
        words,
        'reads max with strides 2 2 padded(',
    )
    assert read_keras(path, config_of('keras_resnet50_elu', net_act='relu'))
    pooling['inbound_nodes'][0]['args'][0]['config']['keras_history'][0] = 'pool1_pad'
    padding = {'class_name': 'ZeroPadding2D', 'config': {'name': 'pool1_pad', 'padding': [[1, 1], [1, 1]]}}
    nodes = [{'args': [{'config': {'keras_history': ['re_lu', 0, 0]}}], 'kwargs': {}}]
    first = next(layer for layer in made.config['config']['layers'] if layer['class_name'] == 'ReLU')
    nodes[0]['args'][0]['config']['keras_history'][0] = first['config']['name']
    made.config['config']['layers'].append({**padding, 'inbound_nodes': nodes})
    path.unlink()
    made.layer(first['config']['name']).update(class_name='Activation')
    first['config'] = {'name': first['config']['name'], 'activation': 'one\n' * 99}
    text = refused(made.write(path), config_of('keras_resnet50', bn_eps=1e-3), r'padded(one\none')
    assert len(text) < len(str(path)) + 400
    path.unlink()
    first['config']['activation'] = 'relu'
    assert read_keras(made.write(path), config_of('keras_resnet50', bn_eps=1e-3))
    refused(path, config_of('keras_resnet50_elu', net_act='relu'), 'is connected otherwise than')


def test_an_article_may_have_the_newer_names(path):
    cfg = config_of('keras_resnet50_elu', net_multiplier=0.0625, num_classes=3)
    own = parts_of(cfg)
    shapes = {**own.backbone, **own.head}
    theirs = {
        key_of(name): np.zeros([shape[axis] for axis in AXES[len(shape)]], np.float32)
        for name, shape in shapes.items()
    }
    assert read_keras(write_weights(path, theirs), cfg).keys() == shapes.keys()


def test_a_layer_under_both_names_is_refused(form, path):
    made = form('weights')
    made.add('conv1_conv', {'kernel': (7, 7, 3, 64), 'bias': (64,)})
    refused(made.write(path), config_of('keras_resnet50_elu'), "two layers for conv1_conv: layer 'conv1' and")


def test_all_layers_but_the_classifier_have_an_older_name():
    cfg = config_of('keras_resnet50')
    layers = [layer for layers in model_layers(cfg).values() for layer in layers]
    assert sorted([*older_names(cfg).values(), 'fc1']) == sorted(layers)
    assert older_names(cfg)['res5c_branch2b'] == 'conv5_block3_2_conv'
    assert older_names(cfg)['bn4a_branch1'] == 'conv4_block1_0_bn'
    assert (
        older_names(config_of('keras_resnet50', num_layers=152))['res4z_branch2a'] == 'conv4_block26_1_conv'
    )
    assert older_names(config_of('keras_densenet121')) == {}
