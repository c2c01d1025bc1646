"""The order in which Keras holds our layers, against its own graphs."""

from __future__ import annotations

import json
import re

import pytest

from config import ConfigError, resolve
from symbols.keras_layers import KERAS_NAMES, keras_layers, model_layers

GRAPHS = {
    'densenet121_112': 'keras_densenet121',
    'resnet50_112': 'keras_resnet50',
    'resnet50_elu_seed_224': 'keras_resnet50_elu',
    'xception_112': 'keras_xception',
    'xception_seed_112': 'article_xception',
}
WITH_WEIGHTS = ('Conv2D', 'SeparableConv2D', 'BatchNormalization', 'Dense')


def keras_graph(reference, tag):
    """Return the names of Keras's layers by class, in the order of model.layers."""
    layers = json.loads((reference / 'keras' / f'{tag}.json').read_text('utf-8'))['layers']
    found = {}
    for layer in layers:
        if layer['type'] in WITH_WEIGHTS:
            found.setdefault(layer['type'], []).append(layer['name'])
    return found


def automatic_number(layer):
    match = re.fullmatch(r'(?:separable_)?(?:conv2d|batch_normalization|dense)_(\d+)', layer)
    return int(match[1]) if match else None


@pytest.mark.parametrize('tag', GRAPHS)
def test_model_layers_are_in_keras_order(tag, reference):
    """What Keras names is where its graph has it, and the numbered layers fill the rest in the order of numbers."""
    cfg = resolve(GRAPHS[tag])
    theirs, ours = keras_graph(reference, tag), model_layers(cfg)
    numbered = keras_layers(cfg)
    assert set(theirs) == set(ours)
    for keras_class, layers in theirs.items():
        places = {automatic_number(layer): i for i, layer in enumerate(layers)}
        places.pop(None, None)
        names = [KERAS_NAMES.get(layer, layer) for layer in ours[keras_class]]
        assert len(names) == len(layers)
        for place, (name, layer) in enumerate(zip(names, layers)):
            assert name == layer or place in places.values()
        in_number_order = [ours[keras_class][places[number]] for number in sorted(places)]
        assert in_number_order == numbered.get(keras_class, [])


def test_a_units_third_convolution_is_numbered_before_its_shortcut(reference):
    """conv2d_149 follows the branch's second activation, and conv2d_150 the pooling: read off the graph."""
    graph = json.loads((reference / 'keras' / 'resnet50_elu_seed_224.json').read_text('utf-8'))['layers']
    inputs = {layer['name']: layer['inputs'] for layer in graph}
    assert (inputs['conv2d_149'], inputs['conv2d_150']) == (['elu_100'], ['max_pooling2d_24'])
    layers = keras_layers(resolve('keras_resnet50_elu'))
    first = 146
    assert layers['Conv2D'][149 - first : 151 - first] == ['conv2_block1_3_conv', 'conv2_block1_0_conv']
    assert layers['BatchNormalization'][3:5] == ['conv2_block1_3_bn', 'conv2_block1_0_bn']
    assert layers['Dense'] == ['fc1']


def test_keras_applications_numbers_the_shortcuts_of_xception_alone():
    assert keras_layers(resolve('keras_resnet50')) == keras_layers(resolve('keras_densenet121')) == {}
    blocks = (2, 3, 4, 13)
    assert keras_layers(resolve('keras_xception')) == {
        'Conv2D': [f'block{block}_shortcut_conv' for block in blocks],
        'BatchNormalization': [f'block{block}_shortcut_bn' for block in blocks],
    }


def test_shortcuts_come_before_the_third_layers_in_keras_applications_resnet():
    layers = model_layers(resolve('keras_resnet50'))
    for keras_class, kind in (('Conv2D', 'conv'), ('BatchNormalization', 'bn')):
        start = layers[keras_class].index(f'conv3_block1_1_{kind}')
        unit = [f'conv3_block1_{part}_{kind}' for part in (1, 2, 0, 3)]
        assert layers[keras_class][start : start + 5] == [*unit, f'conv3_block2_1_{kind}']


@pytest.mark.parametrize(
    'overrides', [{'net_output': 'E'}, {'net_act': 'prelu'}, {'image_shape': (112, 112, 3)}]
)
def test_neither_head_nor_activation_nor_size_changes_the_order(overrides):
    for preset in ('keras_resnet50_elu', 'article_xception'):
        assert keras_layers(resolve(preset, **overrides)) == keras_layers(resolve(preset))


@pytest.mark.parametrize('preset', ['r50', 'd121', 'd2l_densenet'])
def test_other_networks_are_not_keras_ones(preset):
    with pytest.raises(
        ConfigError, match='is not a network of Keras; those are keras_densenet, keras_resnet, xception'
    ):
        keras_layers(resolve(preset))
