"""Networks here, exported and read back: every value where it was, or the same outputs."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError
from config.presets import FAMILIES
from recognition.checkpoint.matching import set_parameters
from recognition.checkpoint.network import load_embedding
from recognition.weights.onnx.candidates import identify
from recognition.weights.onnx.reader import load_file, read_onnx, settings_for
from symbols import get_block
from tests.helpers.narrow import SMALLEST, small
from tests.helpers.onnx import rewritten as other

import mxnet as mx

LIMIT = 1e-5  # of the largest value
QUICK = ('resnet', 'mobilefacenet', 'vargfacenet', 'xception')
FAMILY_PRESETS = [
    pytest.param(SMALLEST[family], marks=[] if family in QUICK else [pytest.mark.slow]) for family in FAMILIES
]
HEADS = [
    *('E', 'GDC'),
    *(pytest.param(h, marks=pytest.mark.slow) for h in ('F', 'G', 'H', 'J', 'GAP', 'SFC', 'gnap')),
]
RESNETS = [{'net_unit': 3, 'net_se': True}]
OTHERS = [{'net_unit': unit, 'net_se': unit == 1} for unit in (1, 2)]
OTHERS += [{'net_input': 0}, {'net_input': 2}, {'net_act': 'relu'}, {'net_act': 'elu'}, {'num_layers': 518}]
RESNETS += [pytest.param(each, marks=pytest.mark.slow) for each in OTHERS]
SHAPE = (48, 48, 3)
NARROW = {'net_multiplier': 0.125, 'bn_mom': 0}
PIXELS = ('input_mean', 'input_scale', 'input_order', 'bn_eps')


def config(preset='r18', **settings):
    return small(preset, **{'image_shape': SHAPE, **settings})


def read(path, network='r18', **settings):
    """Return what an import does: the config and the values by name."""
    file = load_file(path)
    named = resolve(network, **settings)
    cfg = resolve(network, **{**settings_for(file, named), **settings})
    return cfg, read_onnx(path, cfg)


def embed(cfg, values, images):
    net = get_block(cfg)
    set_parameters(net, {name: mx.nd.array(value) for name, value in values.items()}, mx.cpu())
    return net(images).asnumpy()


def assert_same(path, cfg, values, images, data=None):
    """Compare with onnxruntime on images in 0..255; data: as the file takes them."""
    expected = other.run(path, images.asnumpy() if data is None else data)
    found = embed(cfg, values, images)
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() <= LIMIT * np.abs(expected).max()


def held_by(prefix):
    return {name: value.asnumpy() for name, value in load_embedding(prefix, 1).values.items()}


@pytest.mark.parametrize('preset', FAMILY_PRESETS)
def test_an_exported_network_comes_back_to_the_bit(preset, save, tmp_path):
    cfg = small(preset)
    prefix = save(cfg)
    model = other.numbered(other.exported(prefix, tmp_path / 'a.onnx', cfg.image_shape))
    path = other.save(model, tmp_path / 'b.onnx')
    settings = {key: cfg[key] for key in ('net_multiplier', 'bn_mom')}
    found, values = read(path, preset, **settings)
    unread = ('emb_size',) if cfg.net_output == 'classifier' else ('num_classes',)
    assert {key: found[key] for key in cfg if found[key] != cfg[key] and key not in unread} == {}
    expected = held_by(prefix)
    assert set(values) == set(expected)
    for name, value in values.items():
        fixed = name == 'fc1_gamma' and (value == 1).all()  # is not read
        assert fixed or np.array_equal(value, expected[name]), name


@pytest.mark.parametrize('preset', FAMILY_PRESETS)
def test_a_folded_network_computes_the_same(preset, save, tmp_path, make_images):
    cfg = small(preset)
    path = tmp_path / 'a.onnx'
    other.exported(save(cfg), path, cfg.image_shape, fold=True)
    found, values = read(path, preset, net_multiplier=cfg.net_multiplier)
    assert [found[key] for key in PIXELS[:3]] == [cfg[key] for key in PIXELS[:3]]
    assert_same(path, found, values, make_images(cfg.image_shape))


@pytest.mark.parametrize('spelled', [False, True], ids=['plain', 'spelled out'])
def test_folded_batch_norms_are_open_again(spelled, save, tmp_path, make_images):
    """Gamma 1, beta the bias, mean 0 and variance 1 - eps, and the pixels that the file leaves to its caller inside."""
    cfg = config(bn_eps=1e-5)
    model = other.fold(other.outside(other.bare(other.exported(save(cfg), tmp_path / 'a.onnx', SHAPE))))
    biases = other.arrays(model)
    model = other.spelled_out(model) if spelled else other.numbered(model)
    path = other.save(model, tmp_path / 'b.onnx')
    found, values = read(path, net_multiplier=0.125)
    assert (found.bn_eps, found.input_mean, found.input_scale) == (1e-5, 127.5, 1 / 127.5)
    for name in ('bn0', 'stage1_unit1_bn2', 'stage2_unit1_sc'):
        assert np.array_equal(values[f'{name}_beta'], biases[f'{name}_folded'])
        assert (values[f'{name}_gamma'] == 1).all()
        assert (values[f'{name}_moving_mean'] == 0).all()
        assert (values[f'{name}_moving_var'] == np.float32(1 - 1e-5)).all()
    assert np.array_equal(values['pre_fc1_bias'], biases['fc1_folded'])
    assert not values['fc1_beta'].any()
    assert (
        values['stage1_unit1_bn1_moving_mean'] != 0
    ).any()  # before a convolution that pads it cannot be folded
    images = make_images(SHAPE)
    assert_same(path, found, values, images, ((images.asnumpy() - 127.5) / 127.5).astype(np.float32))


@pytest.mark.parametrize(
    'pixels',
    [{'input_mean': 0.0, 'input_scale': 1.0}, {'input_mean': (104.0, 117, 124), 'input_order': 'bgr'}],
)
def test_what_the_caller_and_the_file_do_to_pixels_is_inside(pixels, save, tmp_path, make_images):
    """A network with another mean than its caller's takes off the rest itself."""
    path = tmp_path / 'a.onnx'
    other.exported(save(config(**pixels)), path, SHAPE, pixels='outside')
    found, values = read(path, net_multiplier=0.125)
    assert found.input_scale == pytest.approx(1 / 127.5)
    assert found.input_mean == pytest.approx(pixels['input_mean'], abs=1e-4)
    assert found.input_order == pixels.get('input_order', 'rgb')
    images = make_images(SHAPE)
    assert_same(path, found, values, images, ((images.asnumpy() - 127.5) / 127.5).astype(np.float32))


@pytest.mark.parametrize('head', HEADS)
def test_the_head_is_recognised(head, save, tmp_path):
    cfg = config(net_output=head)
    model = other.numbered(other.bare(other.exported(save(cfg), tmp_path / 'a.onnx', SHAPE)))
    network, settings = identify(load_file(other.save(model, tmp_path / 'b.onnx')), NARROW)
    found = resolve(network, **settings)
    expected = 'FC' if head == 'G' and found.net_output == 'FC' else head  # a dropout is not in the graph
    assert resolve('r18', net_output=expected).net_output in (cfg.net_output, found.net_output)
    assert load_file(tmp_path / 'b.onnx').graph.width() == found.emb_size == cfg.emb_size


@pytest.mark.parametrize('settings', RESNETS, ids=str)
def test_the_resnet_is_recognised(settings, save, tmp_path, make_images):
    cfg = config(**settings)
    model = other.numbered(other.bare(other.exported(save(cfg), tmp_path / 'a.onnx', SHAPE)))
    path = other.save(model, tmp_path / 'b.onnx')
    network, found = identify(load_file(path), NARROW)
    found = resolve(network, **found)
    assert {key: found[key] for key in settings} == settings
    assert_same(path, found, read_onnx(path, found), make_images(SHAPE))


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ('r18', 'y1', 'm05', 'mnas025', 'vargfacenet', 'xception')
]


@pytest.mark.parametrize('preset', ['mbf', *SLOW])
def test_the_preset_is_recognised_without_its_metadata(preset, save, tmp_path):
    cfg = small(preset)
    model = other.numbered(
        other.bare(other.exported(save(cfg), tmp_path / 'a.onnx', cfg.image_shape, fold=True))
    )
    given = {'net_multiplier': cfg.net_multiplier}
    network, settings = identify(load_file(other.save(model, tmp_path / 'b.onnx')), given)
    assert resolve(network, **settings).net_blocks == cfg.net_blocks
    assert resolve(network).net_name == cfg.net_name


@pytest.mark.parametrize('options', [{'normalise': True}, {'uint8_nhwc': True}], ids=str)
def test_the_options_of_an_export(options, save, tmp_path, make_images):
    cfg = config(input_order='bgr')
    path = tmp_path / 'a.onnx'
    other.exported(save(cfg), path, SHAPE, **options)
    network, settings = identify(load_file(path), NARROW)
    found = resolve(network, **settings)
    assert {key: found[key] for key in PIXELS[:3]} == {key: cfg[key] for key in PIXELS[:3]}
    images = make_images(SHAPE)
    values = read_onnx(path, found)
    if 'normalise' not in options:
        whole = images.asnumpy().astype(np.uint8)
        assert_same(path, found, values, mx.nd.array(whole), whole.transpose(0, 2, 3, 1))
        return
    ours = embed(found, values, images)
    expected = other.run(path, images.asnumpy())
    assert np.abs(ours / np.linalg.norm(ours, axis=1, keepdims=True) - expected).max() < 5e-6


def test_pixels_of_each_channel(save, tmp_path, make_images):
    cfg = config(input_mean=(100.0, 110.0, 120.0), input_scale=(0.02, 0.03, 0.04))
    path = tmp_path / 'a.onnx'
    other.bare(other.exported(save(cfg), path, SHAPE))
    found, values = read(path, net_multiplier=0.125)
    assert found.input_mean == cfg.input_mean
    assert found.input_scale == pytest.approx(cfg.input_scale)
    assert_same(path, found, values, make_images(SHAPE))


def test_a_gamma_that_the_network_has_fixed_goes_into_the_variance(save, tmp_path, make_images):
    model = other.bare(other.exported(save(config()), tmp_path / 'a.onnx', SHAPE))
    gamma = np.random.RandomState(0).uniform(0.5, 2, 24).astype(np.float32)
    path = other.save(other.put(model, fc1_fixed_gamma=gamma), tmp_path / 'b.onnx')
    found, values = read(path, net_multiplier=0.125)
    assert (values['fc1_gamma'] == 1).all()
    assert_same(path, found, values, make_images(SHAPE))
    with pytest.raises(CheckpointError, match=r'gamma in \S+ that is not above 0, and r18 has 1 in fc1$'):
        read_onnx(
            other.save(other.put(model, fc1_fixed_gamma=-gamma), tmp_path / 'c.onnx'), found, target='r18'
        )


def test_eps_of_several_kinds_go_into_the_variance(save, tmp_path, make_images):
    model = other.exported(save(config(bn_eps=1e-3)), tmp_path / 'a.onnx', SHAPE)
    norms = [node for node in model.graph.node if node.op_type == 'BatchNormalization']
    norms[0].attribute[0].f = 5e-3
    path = other.save(other.bare(model), tmp_path / 'b.onnx')
    found, values = read(path, net_multiplier=0.125)
    assert found.bn_eps is None
    assert_same(path, found, values, make_images(SHAPE))
