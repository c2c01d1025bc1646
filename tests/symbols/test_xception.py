"""What is special to Xception."""

from __future__ import annotations

import json
from math import prod

import pytest

from config import ConfigError, resolve
from symbols import get_symbol

FACE = (1, 3, 112, 112)
PAPER = (1, 3, 299, 299)


@pytest.fixture(scope='module')
def symbol():
    return get_symbol(resolve('xception', net_output='bn_dropout'))


def test_shapes_of_the_blocks(symbol, internal_shapes):
    shapes = internal_shapes(symbol)
    blocks = [shapes[f'block{index}_plus_output'][1:] for index in range(2, 14)]
    assert shapes['block1_conv2_act_output'] == (1, 64, 112, 112)
    assert blocks == [
        (128, 56, 56),
        (256, 28, 28),
        *[(728, 14, 14)] * 9,
        (1024, 7, 7),
    ]
    assert shapes['block14_sepconv2_act_output'] == (1, 2048, 7, 7)
    assert shapes['dropout0_output'] == (1, 2048, 7, 7)


def test_parameters_equal_the_articles_xception_with_its_classifier():
    """22,910,480 is the count of Keras's Xception with 1000 classes, moving statistics included."""
    symbol = get_symbol(resolve('xception', net_output='classifier', num_classes=1000))
    arguments, _, states = symbol.infer_shape(data=FACE)
    named = dict(zip(symbol.list_arguments(), arguments))
    del named['data']
    assert sum(map(prod, named.values())) + sum(map(prod, states)) == 22910480


def test_36_convolutions_as_the_paper_counts_them(symbol):
    nodes = json.loads(symbol.tojson())['nodes']
    convolutions = [node for node in nodes if node['op'] == 'Convolution']
    depthwise = [node for node in convolutions if node['attrs']['num_group'] != '1']
    shortcuts = [node for node in convolutions if node['name'].endswith('_shortcut_conv')]
    assert len(depthwise) == 34
    assert len(shortcuts) == 4
    assert len(convolutions) - len(depthwise) - len(shortcuts) == 36


def test_every_convolution_has_a_batch_norm_and_no_bias(symbol):
    attributes = symbol.attr_dict()
    assert not [name for name in symbol.list_arguments() if name.endswith('_bias')]
    norms = {name: a for name, a in attributes.items() if 'eps' in a and name != 'bn1'}
    assert len(norms) == 40
    assert {float(a['eps']) for a in norms.values()} == {1e-3}
    assert {a['fix_gamma'] for a in norms.values()} == {'False'}


def test_blocks_activate_first_but_for_the_first_one(symbol):
    names = [node['name'] for node in json.loads(symbol.tojson())['nodes']]
    first = [index for index in range(2, 14) if f'block{index}_sepconv1_act' in names]
    assert first == list(range(3, 14))
    assert 'block2_sepconv2_act' in names


def test_an_activation_of_the_users_choice_is_everywhere():
    symbol = get_symbol(resolve('xception', net_act='elu', net_output='gap_fc_bn'))
    nodes = json.loads(symbol.tojson())['nodes']
    activations = [node for node in nodes if node['op'] in ('Activation', 'LeakyReLU')]
    assert {(node['op'], node['attrs']['act_type']) for node in activations} == {('LeakyReLU', 'elu')}
    assert len(activations) == 2 + 1 + 2 * 2 + 8 * 3 + 2 + 2 + 1


def test_weight_decay_spares_betas():
    symbol = get_symbol(resolve('xception'))
    attributes = symbol.attr_dict()
    for name in symbol.list_arguments():
        if name != 'data':
            assert float(attributes[name]['__wd_mult__']) == name.endswith(('_weight', '_gamma')), name


@pytest.mark.parametrize(
    ('preset', 'stem', 'sizes'),
    [('keras_xception', (149, 147), (74, 37, 19, 10)), ('article_xception', (150, 150), (75, 38, 19, 10))],
)
def test_the_papers_stem_halves_the_image(preset, stem, sizes, internal_shapes):
    shapes = internal_shapes(get_symbol(resolve(preset, net_output='bn_dropout')), PAPER)
    assert tuple(shapes[f'block1_conv{index}_act_output'][2] for index in (1, 2)) == stem
    assert tuple(shapes[f'block{block}_pool_output'][2] for block in (2, 3, 4, 13)) == sizes
    assert shapes['dropout0_output'] == (1, 2048, 10, 10)


def test_faces_have_the_same_shapes_with_tensorflows_padding(symbol):
    padded = get_symbol(resolve('xception', net_output='bn_dropout', padding='tf_same'))
    assert padded.infer_shape(data=FACE) == symbol.infer_shape(data=FACE)
    assert padded.list_arguments() == symbol.list_arguments()
    assert padded.list_auxiliary_states() == symbol.list_auxiliary_states()


@pytest.fixture(scope='module')
def article():
    return get_symbol(resolve('article_xception'))


def test_the_articles_first_block_has_no_shortcut(article):
    names = [node['name'] for node in json.loads(article.tojson())['nodes']]
    added = [name for name in names if name.endswith('_plus')]
    assert added == [f'block{index}_plus' for index in range(3, 14)]
    assert 'block2_pool' in names
    assert not [name for name in names if name.startswith('block2_shortcut')]


def test_the_articles_shortcuts_have_biases_but_for_the_last(article):
    biases = [name for name in article.list_arguments() if name.endswith('_bias')]
    assert biases == ['block3_shortcut_conv_bias', 'block4_shortcut_conv_bias', 'fc1_bias']


def test_the_articles_batch_norms(article):
    norms = [name[: -len('_gamma')] for name in article.list_arguments() if name.endswith('_gamma')]
    assert norms == [
        *('block1_conv1_bn', 'block1_conv2_bn', 'block2_sepconv1_bn'),
        *(f'block{index}_shortcut_bn' for index in (3, 4, 13)),
        *('block14_sepconv1_bn', 'block14_sepconv2_bn'),
    ]
    separable = [name for name in article.list_arguments() if name.endswith('_pw_weight')]
    assert len(separable) - len([n for n in norms if 'sepconv' in n]) == 31


@pytest.mark.parametrize('variant', [None, 'article'])
def test_variants_for_faces_end_at_7x7(variant):
    symbol = get_symbol(resolve('xception', net_variant=variant, net_output='bn_dropout'))
    assert symbol.infer_shape(data=FACE)[1] == [(1, 2048, 7, 7)]


def test_a_stem_that_xception_has_not():
    with pytest.raises(ConfigError, match='net_input=2 does not go with'):
        resolve('xception', net_input=2)


def test_the_papers_stem_needs_seven_pixels():
    cfg = {'net_multiplier': 0.125, 'net_output': 'gap_fc_bn'}
    with pytest.raises(ConfigError, match='is too small for net_name'):
        get_symbol(resolve('keras_xception', image_shape=(6, 6, 3), **cfg))
    assert get_symbol(resolve('keras_xception', image_shape=(7, 7, 3), **cfg)).list_outputs() == [
        'fc1_output'
    ]
