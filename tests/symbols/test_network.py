"""Whole networks, driven by the registry and the presets: names, shapes, and one set of numbers in every form."""

from __future__ import annotations

import contextlib
import io
import json
import re
from itertools import product
from math import prod

import numpy as np
import pytest

from config import ConfigError, network, resolve
from config.presets import FAMILIES, HEADS, READ_BY_SOME, TAKEN_BY_ALL
from symbols import get_block, get_symbol, list_activations, list_backbones, list_heads
from symbols.audit import audit

import mxnet as mx
from mxnet.gluon import HybridBlock, SymbolBlock

OTHER_VALUES = {  # of the keys that not every family reads
    'num_layers': (34, 50, 169),
    'net_unit': (1, 2, 4),
    'net_input': (0, 2),
    'net_se': (True,),
    'net_blocks': ((2, 4, 6, 2), (1, 0, 6, 2)),
    'densenet_dropout': (0.3,),
    'fp16': (True,),
    'net_variant': ('article',),
    'padding': ('tf_same',),
}
NO_EMBEDDING = ('bn_dropout', 'classifier')
SMALLEST = {name: next(iter(family.presets)) for name, family in FAMILIES.items()}
SMALL_IMAGE = (41, 52, 3)  # odd and not square
HALVED_FIVE_TIMES = (
    'keras_densenet',
    'plain_densenet',
)  # rounding down, which leaves one position of that image
LARGER_IMAGE = (73, 90, 3)
MULTIPLIERS = {'vargfacenet': (0.25, 0.5, 0.75)}  # it takes no others below 1
SLOW_TO_BUILD = ('densenet', 'keras_densenet')
LIKE_OTHERS = ('keras_densenet', 'mnasnet', 'mobilenet')  # the latter two are like mobilefacenet


def multipliers(family):
    return MULTIPLIERS.get(family, (0.125, 0.3, 0.5))


def small(family, **overrides):
    """Return the config of a narrow network of a family, whose statistics become those of one batch."""
    image = LARGER_IMAGE if family in HALVED_FIVE_TIMES else SMALL_IMAGE
    settings = {'emb_size': 24, 'num_classes': 7, 'image_shape': image, 'bn_mom': 0}
    settings['net_multiplier'] = multipliers(family)[0]
    return resolve(SMALLEST[family], **{**settings, **overrides})


def data_shape(cfg, count=1):
    height, width, channels = cfg.image_shape
    return (count, channels, height, width)


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


def mirrored_kernels(symbol, shape):
    """Return the values of kernels mirrored for padding='tf_same', which print_summary takes for an input as well."""
    shapes = parameter_shapes(symbol, shape)
    suffix = '_kernel'
    return sum(prod(shapes[f'{n[: -len(suffix)]}_weight']) for n in node_names(symbol) if n.endswith(suffix))


def node_names(symbol):
    return [node['name'] for node in json.loads(symbol.tojson())['nodes']]


def assert_output(symbol, cfg):
    """Check the output's name and shape for a batch of 3."""
    _, (shape,), _ = symbol.infer_shape(data=data_shape(cfg, 3))
    (name,) = symbol.list_outputs()
    if cfg.net_output == 'bn_dropout':
        assert name == 'dropout0_output'
        assert len(shape) == 4
        assert shape[0] == 3
    else:
        width = cfg.num_classes if cfg.net_output == 'classifier' else cfg.emb_size
        assert (name, shape) == ('fc1_output', (3, width))


def test_every_family_has_a_preset():
    assert set(SMALLEST) == set(list_backbones())


def presets_and_heads():
    """Yield every preset with every head; slow are those of a family's bigger presets with a head not their own."""
    for preset, head in product(network, list_heads()):
        cfg = resolve(preset)
        quick = preset in SMALLEST.values() or head == cfg.net_output or cfg.net_output in HEADS[head]
        yield pytest.param(preset, head, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(('preset', 'head'), list(presets_and_heads()))
def test_every_preset_with_every_head(preset, head):
    cfg = resolve(preset, net_output=head, net_act='relu', num_classes=9)
    symbol = get_symbol(cfg)
    assert_output(symbol, cfg)
    total = count_parameters(symbol, data_shape(cfg))
    audited = audit(symbol, {'data': data_shape(cfg)}).total
    _, _, states = symbol.infer_shape(data=data_shape(cfg))
    assert (audited.parameters, audited.auxiliary) == (total, sum(map(prod, states)))
    # print_summary is right for our networks, but for PReLU's slopes and mirrored kernels
    assert summary_total(symbol, data_shape(cfg)) == total + mirrored_kernels(symbol, data_shape(cfg))
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


def families_and_heads(quick):
    """Yield every family with every head; slow are those heads that are not `quick`, but for the first family.

    Slow with every head but the first is a family that has the shape of another one.
    """
    for family, head in product(list_backbones(), list_heads()):
        fast = family == list_backbones()[0] or head in quick[: 1 if family in LIKE_OTHERS else None]
        yield pytest.param(family, head, marks=[] if fast else pytest.mark.slow)


@pytest.mark.parametrize(('family', 'head'), list(families_and_heads(['gnap', 'sepconv_fc_bn'])))
def test_names_do_not_depend_on_what_was_built_before(family, head, monkeypatch):
    dropout = {'densenet_dropout': 0.1} if 'densenet_dropout' in FAMILIES[family].reads else {}
    cfg = small(family, net_output=head, **dropout)
    first = get_symbol(cfg).tojson()
    for other in list_backbones():
        if other not in SLOW_TO_BUILD or head == 'gnap':
            get_symbol(small(other, net_output='gnap', net_act='swish'))

    def counted(manager, name, hint):
        assert name is not None, f'a node is named by a counter: {hint}'
        return name

    monkeypatch.setattr(mx.name.NameManager, 'get', counted)
    again = get_symbol(cfg)
    assert again.tojson() == first
    names = node_names(again)
    assert len(set(names)) == len(names)


def forward(symbol, images, arguments, states):
    """Return the output of a symbol bound to some values."""
    executor = symbol.simple_bind(mx.cpu(), data=images.shape, grad_req='null')
    executor.copy_params_from(arguments, states)
    return executor.forward(is_train=False, data=images)[0].asnumpy()


def every_form(net, symbol, images, prefix):
    """Return what a network with values gives as a block, as `symbol`, and exported and loaded again."""
    outputs = {'imperative': net(images).asnumpy()}
    net.hybridize()
    outputs['hybridised'] = net(images).asnumpy()

    values = {name: parameter.data() for name, parameter in net.collect_params().items()}
    states = {name: values[name] for name in symbol.list_auxiliary_states()}
    arguments = {name: value for name, value in values.items() if name not in states}
    assert set(arguments) == set(symbol.list_arguments()) - {'data'}
    outputs['symbol'] = forward(symbol, images, arguments, states)

    net.export(prefix)
    imported = SymbolBlock.imports(f'{prefix}-symbol.json', ['data'], f'{prefix}-0000.params')
    outputs['SymbolBlock.imports'] = imported(images).asnumpy()
    loaded, arguments, states = mx.model.load_checkpoint(prefix, 0)
    outputs['load_checkpoint'] = forward(loaded, images, arguments, states)
    return outputs


def assert_equal_outputs(outputs):
    expected = outputs['imperative']
    assert np.isfinite(expected).all()
    assert np.abs(expected).max() > 1e-3
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images of a batch differ
    for form, output in outputs.items():
        error = np.abs(output - expected).max()
        # what rounding there is grows in the batch norms, which see two images
        assert error <= 5e-5 * np.abs(expected).max(), f'{form} is off by {error}'


@pytest.mark.parametrize(
    ('family', 'head'), list(families_and_heads(['bn_dropout_fc_bn', 'gnap', 'sepconv_fc_bn']))
)
def test_one_set_of_numbers_for_every_head(family, head, make_network, make_images, tmp_path):
    cfg = small(family, net_output=head)
    images = make_images(cfg.image_shape)
    symbol = get_symbol(cfg)
    assert_output(symbol, cfg)
    assert_equal_outputs(every_form(make_network(cfg), symbol, images, str(tmp_path / 'net')))


def families_and_activations():
    """Yield every family with every activation; slow are those of a family that has the shape of another one."""
    for family, activation in product(list_backbones(), list_activations()):
        fast = family not in LIKE_OTHERS or activation == 'prelu'
        yield pytest.param(family, activation, marks=[] if fast else pytest.mark.slow)


@pytest.mark.parametrize(('family', 'activation'), list(families_and_activations()))
def test_one_set_of_numbers_for_every_activation(family, activation, make_network, make_images, tmp_path):
    # A batch norm of two embeddings at the end enlarges what the smallest maps lose to rounding.
    head = 'fc' if family in HALVED_FIVE_TIMES else 'gap_fc_bn'
    cfg = small(family, net_act=activation, net_output=head)
    net, images = make_network(cfg), make_images(cfg.image_shape)
    imperative = net(images).asnumpy()
    net.hybridize(static_alloc=True, static_shape=True)
    assert_equal_outputs({'imperative': imperative, 'static': net(images).asnumpy()})


def test_activations_differ(make_network, make_images):
    outputs = {}
    for activation in list_activations():
        cfg = small('resnet', net_act=activation, net_output='gap_fc_bn')
        outputs[activation] = make_network(cfg)(make_images(SMALL_IMAGE)).asnumpy()
    outputs.pop('prelu_channel')  # in a ResNet prelu has a slope for each channel, too
    distances = [np.abs(a - b).max() for i, a in outputs.items() for j, b in outputs.items() if i < j]
    assert min(distances) > 1e-3


@pytest.mark.parametrize('size', [(112, 96), (97, 113), (224, 224)])
@pytest.mark.parametrize('head', ['bn_dropout_fc_bn', 'gdc_fc_bn', 'sepconv_fc_bn'])  # these read its size
@pytest.mark.parametrize('family', list_backbones())
def test_faces_of_other_sizes(family, head, size):
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


@pytest.mark.parametrize('emb_size', [32, 64, 128])  # the map has 64 channels
def test_one_set_of_numbers_for_every_gnap(emb_size, make_network, make_images, tmp_path):
    cfg = small('resnet', net_output='gnap', emb_size=emb_size)
    images = make_images(cfg.image_shape)
    assert_equal_outputs(every_form(make_network(cfg), get_symbol(cfg), images, str(tmp_path / 'net')))


@pytest.mark.parametrize('family', list_backbones())
def test_a_network_takes_any_batch_size_and_the_symbol_too(family, make_network, make_images):
    cfg = small(family)
    net = make_network(cfg)
    net.hybridize()
    images = make_images(cfg.image_shape, count=5)
    five = net(images).asnumpy()
    one = net(images[:1]).asnumpy()
    np.testing.assert_allclose(one, five[:1], rtol=0, atol=2e-5 * np.abs(five).max())


@pytest.mark.parametrize(
    ('family', 'multiplier'), [(family, m) for family in list_backbones() for m in multipliers(family)]
)
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


class Outer(HybridBlock):
    """Somebody else's network, with ours as a part of it."""

    def __init__(self, cfg):
        super().__init__()
        with self.name_scope():
            self.left = get_block(cfg)
            self.head = mx.gluon.nn.Dense(3)

    def hybrid_forward(self, F, x):
        return self.head(self.left(x))


@pytest.mark.parametrize('family', list_backbones())
def test_inside_somebody_elses_network(family, make_images):
    cfg = small(family, net_output='gap_fc_bn', net_act='prelu')
    outer = Outer(cfg)
    outer.initialize()
    images = make_images(cfg.image_shape)
    imperative = outer(images).asnumpy()
    outer.hybridize()
    np.testing.assert_allclose(outer(images).asnumpy(), imperative, rtol=1e-4, atol=1e-5)
    names = node_names(outer(mx.sym.var('data')))
    assert len(set(names)) == len(names)
    own = set(get_block(cfg).collect_params())
    assert {name[len(outer.prefix) :] for name in outer.left.collect_params()} == own


@pytest.mark.parametrize('family', list_backbones())
def test_under_somebody_elses_attributes_and_name_managers(family, make_images):
    cfg = small(family)
    plain = get_symbol(cfg)
    with mx.AttrScope(ctx_group='first'):
        grouped = get_symbol(cfg)
    assert node_names(grouped) == node_names(plain)
    assert grouped.attr_dict()['fc1']['ctx_group'] == 'first'
    with mx.name.NameManager():
        assert get_symbol(cfg).tojson() == plain.tojson()
    with mx.name.Prefix('left_'):
        prefixed = get_symbol(cfg)
    assert prefixed.list_arguments() == plain.list_arguments()
    assert_same_shapes(prefixed, plain, data_shape(cfg))


def assert_same_shapes(one, other, shape):
    assert one.infer_shape(data=shape) == other.infer_shape(data=shape)


def test_two_networks_in_one_symbol_share_their_parameters_by_name():
    cfg = small('resnet')
    net = get_block(cfg)
    left, right = net(mx.sym.var('left')), net(mx.sym.var('right'))
    both = mx.sym.Group([left, right])
    assert len(both.list_arguments()) == len(left.list_arguments()) + 1


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
    base = resolve(SMALLEST[family])
    graphs = set()
    for value in OTHER_VALUES[key]:
        with contextlib.suppress(ConfigError):
            cfg = resolve(SMALLEST[family], **{key: value})
            graphs |= {get_symbol(cfg).tojson()} if value != base[key] else set()
    assert not graphs or graphs != {get_symbol(base).tojson()}
