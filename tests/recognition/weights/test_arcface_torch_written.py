"""State dicts for arcface_torch: which numbers are moved where, and how they come back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from config import CheckpointError, resolve
from recognition.weights.arcface_torch import (
    SETTINGS,
    kept_config,
    kept_provenance,
    read_arcface_torch,
    state_of,
    write_arcface_torch,
)
from recognition.weights.iresnet import rules_of
from recognition.weights.torch.state_dict import read_records, read_state_dict
from recognition.weights.torch.writer import write_state_dict
from tests.helpers.iresnets import EMB, UNITS, iresnet

OWN = resolve('r18', emb_size=EMB)  # InsightFace's settings: eps 2e-5, pixels by 1 / 128


def values_of(units=UNITS['iresnet18']):
    """Return random values by our names; the variances are as small as an eps, by which it is seen."""
    rng, shapes = np.random.RandomState(2), iresnet(units)
    return {
        ours: rng.uniform(1e-6, 1e-3, shapes[theirs]).astype(np.float32)
        for theirs, ours in rules_of(units)
        if ours
    }


@pytest.fixture(scope='module')
def values():
    return values_of()


@pytest.fixture
def path(tmp_path, values):
    write_arcface_torch(tmp_path / 'b.pth', values, OWN)
    return tmp_path / 'b.pth'


def changed(path, change=lambda state: None, **records):
    """Write a file again with another state and other records."""
    state, held = dict(read_state_dict(path)), read_records(path, 'facesymbols')
    change(state)
    held.update(records)
    write_state_dict(path, state, {f'facesymbols/{name}': content for name, content in held.items()})


def test_names_and_order_are_those_of_arcface_torch(values):
    state = state_of(values, OWN)
    assert {name: array.shape for name, array in state.items()} == iresnet(UNITS['iresnet18'])
    counters = {name for name in state if name.endswith('num_batches_tracked')}
    assert {state[name].dtype.name for name in counters} == {'int64'}
    assert {array.dtype.name for name, array in state.items() if name not in counters} == {'float32'}


def test_a_batch_norm_divides_by_the_same_number(values):
    state = state_of(values, OWN)
    for theirs, ours in rules_of(UNITS['iresnet18']):
        if theirs.endswith('running_var'):
            exact = values[ours].astype(np.float64) + 2e-5
            found = state[theirs].astype(np.float64) + 1e-5
            np.testing.assert_allclose(found, exact, rtol=1e-7)
            assert (state[theirs] != values[ours]).all()


def test_the_first_convolution_takes_scale_and_order_of_the_pixels(values):
    weight = values['conv0_weight'].astype(np.float64)
    assert np.array_equal(state_of(values, OWN)['conv1.weight'], (weight * 127.5 / 128).astype(np.float32))
    scales = (0.5, 1.0, 2.0)
    cfg = resolve('r18', emb_size=EMB, input_order='bgr', input_scale=scales)
    found = state_of(values, cfg)['conv1.weight']
    for channel, scale in enumerate(scales):  # of BGR
        expected = (weight[:, channel] * (scale * 127.5)).astype(np.float32)
        np.testing.assert_allclose(found[:, 2 - channel], expected, rtol=1e-6)


def test_a_fixed_gamma_is_1_whatever_it_holds(values):
    assert (values['fc1_gamma'] != 1).all()
    assert (state_of(values, OWN)['features.weight'] == 1).all()


def test_out_and_in_is_equal_to_the_bit(path, values):
    assert dict(kept_config(path, 18)) == dict(OWN)
    found = read_arcface_torch(path, OWN)
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in values.items()
    }


def test_with_arcface_torchs_settings_the_state_is_read(path, values):
    found = read_arcface_torch(path, resolve('r18', emb_size=EMB, **SETTINGS))
    assert np.array_equal(found['conv0_weight'], read_state_dict(path)['conv1.weight'])


@pytest.mark.parametrize('name', ['conv1.weight', 'layer2.1.bn2.running_var'])
def test_what_was_kept_is_left_where_the_state_was_changed(path, name):
    changed(path, lambda state: state.update({name: state[name] * np.float32(1.5)}))
    assert kept_config(path, 18) is None
    with pytest.raises(CheckpointError, match='bn_eps=None does not go with weights of arcface_torch'):
        read_arcface_torch(path, OWN)
    found = read_arcface_torch(path, resolve('r18', emb_size=EMB, **SETTINGS))
    ours = dict(rules_of(UNITS['iresnet18']))[name]
    assert np.array_equal(found[ours], read_state_dict(path)[name])


def test_other_weights_may_be_trained_on(path, values):
    """A parameter that is not rounded on the way out comes from the state."""
    changed(path, lambda state: state.update({'fc.bias': np.ones(EMB, np.float32)}))
    assert (read_arcface_torch(path, OWN)['pre_fc1_bias'] == 1).all()


def test_weights_of_arcface_torch_keep_nothing_but_their_config(tmp_path, values):
    cfg = resolve('r18', emb_size=EMB, **SETTINGS)
    ones = {**values, 'fc1_gamma': np.ones(EMB, np.float32)}
    write_arcface_torch(tmp_path / 'b.pth', ones, cfg)
    assert list(read_records(tmp_path / 'b.pth', 'facesymbols')) == ['config.json']
    found = read_arcface_torch(tmp_path / 'b.pth', cfg)
    assert all(np.array_equal(found[name], ones[name]) for name in ones)


@pytest.mark.parametrize(
    'records',
    [
        {'config.json': b'{'},
        {'config.json': b'{"net_name": "x"}'},
        {'conv0_weight': b'1234'},
        {'nothing_weight': b'1234'},
        {'config.json': json.dumps({**OWN, 'input_scale': [1.0, 2.0]}).encode()},
    ],
)
def test_a_damaged_record(path, records):
    changed(path, **records)
    with pytest.raises(
        CheckpointError, match=r'b\.pth is damaged: its record of the exported network'
    ) as caught:
        kept_config(path, 18)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'net_unit': 1}, 'net_unit=1 does not go with weights of arcface_torch, whose networks have 3'),
        ({'net_se': True}, 'net_se=True does not go with'),
        ({'net_output': 'GDC'}, "net_output='GDC' does not go with"),
        ({'input_mean': 0.0}, 'input_mean=0.0 does not go with'),
        ({'bn_eps': 1e-6}, r'bn_eps=1e-06 is less than the 1e-05 of arcface_torch'),
        ({'num_layers': 200}, r'3, 24, 36, 3 units in its stages, as none of iresnet18.*num_layers=198'),
        ({'num_layers': 74}, r'3, 6, 24, 3 units in its stages, as none of'),
    ],
)
def test_networks_that_arcface_torch_does_not_have(values, settings, words):
    with pytest.raises(CheckpointError, match=words):
        state_of(values, resolve('r18', emb_size=EMB, **settings))


def test_images_of_another_size_or_colour(values):
    sized = {**values, 'pre_fc1_weight': np.zeros((EMB, 512 * 64), np.float32)}
    with pytest.raises(CheckpointError, match=r'image_shape=\(128, 128, 3\) .* 112x112 images in colour'):
        state_of(sized, resolve('r18', emb_size=EMB, image_shape=(128, 128, 3)))
    grey = {**values, 'conv0_weight': np.zeros((64, 1, 3, 3), np.float32)}
    with pytest.raises(CheckpointError, match='images in colour'):
        state_of(grey, resolve('r18', emb_size=EMB, image_shape=(112, 112, 1)))


def test_license_and_origin_stay_beside_other_weights(path, values):
    told = {'license': 'MIT', 'origin': 'elsewhere'}
    assert kept_provenance(path) == {}
    write_arcface_torch(path, values, OWN, told)
    assert kept_provenance(path) == told
    assert kept_config(path, OWN['num_layers']) == OWN
    changed(path, lambda state: state.update({'fc.bias': state['fc.bias'] + 1}))
    assert kept_provenance(path) == told
    changed(path, **{'origin.json': b'{'})
    with pytest.raises(CheckpointError, match='record of license and origin is invalid'):
        kept_provenance(path)
