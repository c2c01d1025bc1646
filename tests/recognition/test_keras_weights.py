"""Weights of Keras under our names: from files as Keras wrote them, and from files of other networks."""

from __future__ import annotations

import io
import json
import zipfile
from math import prod
from zlib import crc32

import h5py
import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError
from recognition import keras_files
from recognition.keras_weights import read_keras
from recognition.weights import load_weights
from symbols import get_block

import mxnet as mx

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
WEIGHTS = 'article_xception.keras-2.12.0.weights'
MODEL = 'article_xception.keras-2.12.0.model'
NUMBERED = 'article_xception.keras-2.15.0.numbered'
ARCHIVE = 'article_xception.keras-3.15.1.archive'
NAMED = 'keras_xception.keras-2.12.0.model'
DENSE = 'dense_6'  # the classifier of article_xception


class Layout:
    """What Keras wrote into a file, to be changed and written again."""

    def __init__(self, folder, name):
        content = json.loads((folder / 'layouts' / f'{name}.json').read_text('utf-8'))
        row = json.loads((folder / f'{content["reference"]}.json').read_text('utf-8'))
        self.network, self.reference = content['network'], content['reference']
        self.config, self.groups, self.datasets = (
            content.get('config'),
            content['groups'],
            content['datasets'],
        )
        self.is_archive = name.endswith('archive')
        self.shapes = {key: tuple(shape) for key, shape in row['weights']}

    def layer(self, name):
        """Return a layer of the config."""
        return next(layer for layer in self.config['config']['layers'] if layer['config']['name'] == name)

    def of_layer(self, layer):
        """Return the paths of the layer's weights by what they are."""
        keys = {key: path for path, key in self.datasets.items()}
        return {key.split('|')[1]: path for key, path in keys.items() if key.split('|')[0] == layer}

    def remove(self, layer):
        """Take a layer with its weights out, config and lists of names included."""
        for path in self.of_layer(layer).values():
            del self.datasets[path]
        for attributes in self.groups.values():
            if layer in attributes.get('layer_names', ()):
                attributes['layer_names'].remove(layer)
        self.groups.pop(layer, None)
        if self.config:
            self.config['config']['layers'].remove(self.layer(layer))

    def add(self, layer, weights):
        """Put a layer with weights {name: shape} behind the others in a file of weights by name."""
        self.groups['']['layer_names'].append(layer)
        self.groups[layer] = {'weight_names': [f'{layer}/{weight}:0' for weight in weights]}
        for weight, shape in weights.items():
            self.datasets[f'{layer}/{layer}/{weight}:0'] = f'{layer}|{weight}'
            self.shapes[f'{layer}|{weight}'] = shape

    def write(self, path, values=None):
        """Write the file; without values (a dict by key) they are 0, and take no room."""
        content = io.BytesIO() if self.is_archive else path
        with h5py.File(content, 'w') as file:
            for name, attributes in self.groups.items():
                group = file.require_group(name or '/')
                for key, value in attributes.items():
                    group.attrs[key] = [n.encode() for n in value] if isinstance(value, list) else value
            if self.config and not self.is_archive:
                file.attrs['model_config'] = json.dumps(self.config)
            for name, key in self.datasets.items():
                if values is None:
                    file.create_dataset(name, self.shapes[key], 'f4')
                else:
                    file[name] = values[key]
        if self.is_archive:
            with zipfile.ZipFile(path, 'w') as archive:
                archive.writestr('config.json', json.dumps(self.config))
                archive.writestr('model.weights.h5', content.getvalue())
        return path


def drawn(folder, reference):
    """Return the values that tests/reference/README.md prescribes, by key."""
    numbers = np.load(folder / f'{reference}.npz')
    values = {}
    for key, shape in json.loads((folder / f'{reference}.json').read_text('utf-8'))['weights']:
        weight = key.split('|')[1]
        rng = np.random.RandomState(crc32(key.encode()) & 0x7FFFFFFF)
        if weight.startswith('moving_'):
            value = numbers[key]
        elif weight == 'gamma':
            value = rng.uniform(0.7, 1.3, shape)
        elif weight in ('beta', 'bias'):
            value = rng.randn(*shape) * 0.1
        else:
            value = rng.randn(*shape) * np.sqrt(2 / prod(shape[: 2 if weight == 'depthwise_kernel' else -1]))
        values[key] = value.astype(np.float32)
    return values


def config_of(network, **overrides):
    return resolve(network, **{'image_shape': (112, 112, 3), **overrides})


def error_of(values, network, theirs):
    """Return how far the output with these weights is from Keras's, as a share of its largest value."""
    net = get_block(config_of(network))
    load_weights(net, values, ctx=mx.cpu())
    images = np.random.RandomState(5).randn(4, 112, 112, 3).astype(np.float32)[:2]
    output = net(mx.nd.array(images.transpose(0, 3, 1, 2))).asnumpy()
    return np.abs(output - theirs).max() / np.abs(theirs).max()


@pytest.fixture(autouse=True)
def hdf5_here(monkeypatch):
    """Spare the process that looks at a file first; test_keras_files.py is about it."""
    monkeypatch.setattr(keras_files, 'check_hdf5', lambda source, name: None)


@pytest.fixture
def layout(reference):
    """Return a function: name -> Layout of its own."""
    return lambda name: Layout(reference / 'keras', name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'weights.file'


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
    """Return the layouts; slow are those of the networks that alone have one file here."""
    slow = ('keras_resnet50', 'keras_densenet121')
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
    assert files == {f'{name}.json' for name in LAYOUTS}


def refused(path, cfg, *words):
    """Check that the file is refused in one sentence that has its name and these words."""
    with pytest.raises(CheckpointError) as caught:
        read_keras(path, cfg)
    text = str(caught.value)
    assert str(path) in text
    assert '\n' not in text
    for word in words:
        assert word in text
    return text


@pytest.mark.parametrize('network', ['r50', 'd121', 'd2l_densenet'])
def test_networks_that_keras_does_not_have(network, path):
    with pytest.raises(CheckpointError, match=r'net_name=.* is no network of Keras.*keras_resnet50_elu'):
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


def test_normalisation_can_be_put_inside_where_it_is_one_of_pixels(layout, path):
    made = layout(WEIGHTS)
    made.write(path)
    assert read_keras(path, config_of(made.network, input_mean=127.5, input_scale=1 / 127.5))
    refused(path, config_of(made.network, input_mean=127.5), 'input_mean=127.5 does not go with')
    refused(path, config_of(made.network, padding='symmetric'), "trained with padding='tf_same'")


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


def test_eps_of_the_config(layout, path):
    """The network is built with the eps of the file, if it is asked to."""
    made = layout(MODEL)
    for layer in made.config['config']['layers']:
        if 'epsilon' in layer['config']:
            layer['config']['epsilon'] = 1e-5
    refused(made.write(path), config_of(made.network), 'with bn_eps=1e-05')
    assert read_keras(path, config_of(made.network, bn_eps=1e-5))


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
