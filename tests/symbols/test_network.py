"""Whole networks, driven by the registry and the presets: names, shapes, and what a setting changes."""

from __future__ import annotations

import contextlib
import io
import re
from itertools import product
from math import prod

import numpy as np
import pytest

from config import ConfigError, network, resolve
from config.presets import FAMILIES, HEADS, READ_BY_SOME, TAKEN_BY_ALL
from symbols import get_symbol, list_backbones, list_heads
from symbols.audit.core import audit
from tests.helpers.families import assert_output, data_shape, families_and_heads, in_turn, node_names, small
from tests.helpers.narrow import SLOW_TO_BUILD, SMALLEST

import mxnet as mx

OTHER_VALUES = {  # of the keys that not every family reads
    'num_layers': (34, 50, 169),
    'net_unit': (1, 2, 4),
    'net_input': (0, 2),
    'net_se': (True,),
    'net_blocks': ((2, 4, 6, 2), (1, 0, 6, 2)),
    'densenet_dropout': (0.3,),
    'fp16': (True,),
    'net_variant': ('article', 'arcface_torch'),
    'padding': ('tf_same',),
    'densenet_blocks': ((2,), (1, 2, 3, 1, 1)),
    'densenet_growth': (8,),
    'densenet_init': (16,),
    'densenet_bottleneck': (2,),
    'resnet_kernel': (1, 5),
}
MULTIPLIERS = {'vargfacenet': (0.25, 0.5, 0.75)}  # it takes no others below 1


def multipliers(family):
    return MULTIPLIERS.get(family, (0.125, 0.3, 0.5))


def parameter_shapes(symbol, shape):
    arguments, _, _ = symbol.infer_shape(data=shape)
    named = dict(zip(symbol.list_arguments(), arguments))
    del named['data']
    return named


def count_parameters(symbol, shape):
    return sum(prod(shape) for shape in parameter_shapes(symbol, shape).values())


def summary_total(symbol, shape):
    """Return what mx.viz.print_summary prints as the total."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        mx.viz.print_summary(symbol, shape={'data': shape})
    return int(re.search(r'Total params: (\d+)', printed.getvalue()).group(1))


def test_every_family_has_a_preset():
    assert set(SMALLEST) == set(list_backbones())


def presets_and_heads():
    """Yield every preset with every head; quick are its own, and of each family's smallest preset some in turn."""
    smallest = [*SMALLEST.values()]
    quick = {each.values for each in in_turn(smallest, list_heads(), count=2) if not each.marks}
    for preset, head in product(network, list_heads()):
        own = resolve(preset).net_output in (head, *HEADS[head])
        yield pytest.param(preset, head, marks=[] if own or (preset, head) in quick else pytest.mark.slow)


@pytest.mark.parametrize(('preset', 'head'), list(presets_and_heads()))
def test_every_preset_with_every_head(preset, head):
    cfg = resolve(preset, net_output=head, net_act='relu', num_classes=9)
    symbol = get_symbol(cfg)
    assert_output(symbol, cfg)
    total = count_parameters(symbol, data_shape(cfg))
    audited = audit(symbol, {'data': data_shape(cfg)}).total
    _, _, states = symbol.infer_shape(data=data_shape(cfg))
    assert (audited.parameters, audited.auxiliary) == (total, sum(map(prod, states)))
    # print_summary is right for our networks, but for PReLU's slopes
    assert summary_total(symbol, data_shape(cfg)) == total
    source = mx.viz.plot_network(symbol, shape={'data': data_shape(cfg)}).source
    assert all(name in source for name in ('data', symbol.list_outputs()[0][: -len('_output')]))


@pytest.mark.parametrize('preset', SMALLEST.values())
def test_print_summary_misses_the_slopes_of_prelu_and_nothing_else(preset):
    cfg = resolve(preset, net_act='prelu')
    symbol = get_symbol(cfg)
    total = count_parameters(symbol, data_shape(cfg))
    without = count_parameters(get_symbol(resolve(preset, net_act='relu')), data_shape(cfg))
    assert total > without
    assert summary_total(symbol, data_shape(cfg)) == without


@pytest.mark.parametrize('letter', [letter for letters in HEADS.values() for letter in letters])
def test_insightfaces_letters_are_the_same_heads(letter):
    (name,) = (name for name, letters in HEADS.items() if letter in letters)
    assert (
        get_symbol(small('resnet', net_output=letter)).tojson()
        == get_symbol(small('resnet', net_output=name)).tojson()
    )


@pytest.mark.parametrize(('family', 'head'), list(families_and_heads(['gnap', 'sepconv_fc_bn'])))
def test_names_do_not_depend_on_what_was_built_before(family, head, monkeypatch):
    dropout = {'densenet_dropout': 0.1} if 'densenet_dropout' in FAMILIES[family].reads else {}
    cfg = small(family, net_output=head, **dropout)
    first = get_symbol(cfg).tojson()
    for other in list_backbones():
        if other not in SLOW_TO_BUILD or other == family:
            get_symbol(small(other, net_output='gnap', net_act='swish'))

    def counted(manager, name, hint):
        assert name is not None, f'a node is named by a counter: {hint}'
        return name

    monkeypatch.setattr(mx.name.NameManager, 'get', counted)
    again = get_symbol(cfg)
    assert again.tojson() == first
    names = node_names(again)
    assert len(set(names)) == len(names)


SIZED = ('bn_dropout_fc_bn', 'gdc_fc_bn', 'sepconv_fc_bn')  # these heads read the size of the map
SIZES = ((112, 96), (97, 113), (224, 224))


@pytest.mark.parametrize(
    ('family', 'pair'), list(in_turn(list_backbones(), [*product(SIZED, SIZES)], count=4))
)
def test_faces_of_other_sizes(family, pair):
    head, size = pair
    cfg = small(family, net_output=head, image_shape=(*size, 3))
    assert_output(get_symbol(cfg), cfg)


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('family', list_backbones())
def test_images_with_other_channels(family, channels):
    cfg = small(family, image_shape=(112, 112, channels))
    assert_output(get_symbol(cfg), cfg)


# Of an image; the other families round up and take any.
SMALLEST_SIDE = {'densenet': 15, 'keras_densenet': 29, 'plain_densenet': 29}


@pytest.mark.parametrize('size', [(1, 1), (8, 8), (14, 40), (40, 14), (15, 15), (28, 29), (29, 29)])
@pytest.mark.parametrize('family', list_backbones())
def test_a_tiny_image_builds_or_is_refused_in_one_sentence(family, size):
    cfg = small(family, image_shape=(*size, 3))
    if min(size) < SMALLEST_SIDE.get(family, 1):
        message = f'image_shape={(*size, 3)} is too small for net_name={cfg.net_name!r}'
        with pytest.raises(ConfigError, match=re.escape(message)):
            get_symbol(cfg)
    else:
        assert_output(get_symbol(cfg), cfg)


@pytest.mark.parametrize('factor', [0.5, 1, 2])
@pytest.mark.parametrize('family', list_backbones())
def test_gnap_with_embeddings_narrower_than_wide_as_and_wider_than_the_map(family, factor):
    cfg = small(family, net_output='gnap', emb_size=1)
    width = parameter_shapes(get_symbol(cfg), data_shape(cfg))['bn6f_gamma'][0]
    cfg.emb_size = int(width * factor)
    symbol = get_symbol(cfg)
    assert_output(symbol, cfg)
    arguments = symbol.list_arguments()
    assert ('pre_fc1_weight' in arguments, 'bn6w_gamma' in arguments) == (factor < 1, factor < 1)
    assert ('convx_weight' in arguments) == (factor > 1)


def families_and_widths():
    """Yield every family with its multipliers; slow is the last, which splits channels most evenly."""
    for family in list_backbones():
        *narrow, wide = multipliers(family)
        yield from ((family, multiplier) for multiplier in narrow)
        yield pytest.param(family, wide, marks=pytest.mark.slow)


@pytest.mark.parametrize(('family', 'multiplier'), list(families_and_widths()))
def test_networks_of_every_width_train(family, multiplier):
    """oneDNN cannot split gradients at any channel; relu is the activation that leaves them in its layout."""
    cfg = small(family, net_multiplier=multiplier, net_act='relu', net_output='sepconv_fc_bn')
    symbol = get_symbol(cfg)
    executor = symbol.simple_bind(mx.cpu(), data=data_shape(cfg, 2), grad_req='write')
    for name, array in executor.arg_dict.items():
        array[:] = mx.nd.random.normal(0, 0.1, array.shape) if name != 'fc1_gamma' else 1
    (embedding,) = executor.forward(is_train=True)
    executor.backward(mx.nd.random.normal(0, 1, embedding.shape))
    gradients = [
        gradient.asnumpy() for name, gradient in executor.grad_dict.items() if name.endswith('weight')
    ]
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize('settings', [None, {}, {'net_name': 'fresnet'}])
def test_a_config_without_a_depth_is_refused(settings, monkeypatch):
    monkeypatch.setattr('config.config.num_layers', None)
    with pytest.raises(ConfigError, match='num_layers=None does not go with'):
        get_symbol(settings)


def test_no_key_is_left_out_of_the_next_test():
    assert set(OTHER_VALUES) == {*READ_BY_SOME, *TAKEN_BY_ALL}


@pytest.mark.parametrize('key', sorted(OTHER_VALUES))
@pytest.mark.parametrize('family', sorted(SMALLEST))
def test_a_key_changes_the_network_or_is_refused(family, key):
    # arcface_torch's MobileFaceNet is InsightFace's at its width, and another one at others
    given = {'net_multiplier': 2.0} if key == 'net_variant' else {}
    base = resolve(SMALLEST[family], **given)
    graphs = set()
    for value in OTHER_VALUES[key]:
        with contextlib.suppress(ConfigError):
            cfg = resolve(SMALLEST[family], **given, **{key: value})
            graphs |= {get_symbol(cfg).tojson()} if value != base[key] else set()
    assert not graphs or graphs != {get_symbol(base).tojson()}


def test_a_classifier_without_a_number_of_classes_is_not_built():
    with pytest.raises(ConfigError, match="num_classes=0 does not go with net_output='classifier'"):
        get_symbol(resolve('r18', 'images', 'classes'))
