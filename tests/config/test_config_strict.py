"""A config takes no key that is not known and no value that is not allowed, however it is set."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from config import ConfigError, FaceSymbolsError, complete, config, resolve
from symbols import get_block, get_symbol

ASSIGNMENTS = {
    'attribute': lambda cfg, name, value: setattr(cfg, name, value),
    'item': lambda cfg, name, value: cfg.__setitem__(name, value),
    'update': lambda cfg, name, value: cfg.update({name: value}),
    'ior': lambda cfg, name, value: cfg.__ior__({name: value}),
    'setdefault': lambda cfg, name, value: cfg.setdefault(name, value),
    'resolve': lambda cfg, name, value: resolve('r18', **{name: value}),
    'complete': lambda cfg, name, value: complete({**resolve('r18'), name: value}),
    'symbol': lambda cfg, name, value: get_symbol({**resolve('r18'), name: value}),
}


@pytest.mark.parametrize('assign', ASSIGNMENTS.values(), ids=ASSIGNMENTS)
@pytest.mark.parametrize(
    ('name', 'near'), [('emb_sise', 'emb_size'), ('net_nam', 'net_name'), ('numlayers', 'num_layers')]
)
def test_a_misspelt_key_is_refused_wherever_it_is_set(assign, name, near):
    cfg = resolve('r18')
    with pytest.raises(ConfigError, match=f"'{name}' is not a key of the config; did you mean '{near}'\\?"):
        assign(cfg, name, 1)
    assert cfg == resolve('r18')


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('net_act', 'prelo', "net_act='prelo' is not allowed: .*; did you mean 'prelu'\\?"),
        ('net_output', 'gdc', "net_output='gdc' is not allowed: .*sepconv_fc_bn, gnap, .*"),
        ('net_name', 'fresnett', "net_name='fresnett' is not allowed: .*; did you mean 'fresnet'\\?"),
        ('emb_size', 0, 'emb_size=0 is not allowed: it must be a whole number from 1 to 16777216'),
        ('emb_size', '512', "emb_size='512' is not allowed: it must be a whole number"),
        ('net_multiplier', -1, 'net_multiplier=-1 is not allowed: it must be a number from 0.01 to 8'),
        (
            'image_shape',
            (112, 112),
            'image_shape=\\(112, 112\\) is not allowed: it must be a list of 3 values',
        ),
        ('image_shape', (70000, 112, 3), 'image_shape=.* each a whole number from 1 to 65535'),
        ('bn_mom', float('nan'), 'bn_mom=nan is not allowed: it must be a number from 0 to 1'),
        ('lr_steps', '3,2', "lr_steps='3,2' is not allowed: it must be .* each above the one before it"),
        ('kvstore', 'foo', "kvstore='foo' is not allowed: it must be one of local, device, nccl, dist_sync"),
    ],
)
@pytest.mark.parametrize('assign', ['attribute', 'item', 'update', 'ior', 'resolve', 'complete', 'symbol'])
def test_a_bad_value_is_refused_wherever_it_is_set(assign, name, value, message):
    cfg = resolve('r18')
    with pytest.raises(ConfigError, match=message) as caught:
        ASSIGNMENTS[assign](cfg, name, value)
    assert len(str(caught.value).splitlines()) == 1
    assert cfg == resolve('r18')


@pytest.mark.parametrize(
    ('preset', 'overrides', 'message'),
    [
        ('r18', {'num_layers': 17}, "num_layers=17 does not go with net_name='fresnet'.*; the nearest is 18"),
        ('d121', {'num_layers': 190}, "num_layers=190 .* net_name='fdensenet'.*; the nearest is 201"),
        ('r18', {'net_name': 'densenet'}, "num_layers=18 does not go with net_name='densenet'.* 121"),
        ('r18', {'num_layers': None}, 'num_layers=None does not go with'),
        ('r18', {'image_shape': (60000, 60000, 3)}, 'image_shape=.* is too large'),
    ],
)
def test_values_that_do_not_go_together(preset, overrides, message):
    with pytest.raises(ConfigError, match=message):
        resolve(preset, **overrides)
    with pytest.raises(ConfigError, match=message):
        get_symbol({**resolve(preset), **overrides})


def test_a_key_that_is_not_there_is_an_attribute_error_with_the_nearest_name():
    with pytest.raises(AttributeError, match="'emb_sz' is not a key of the config; did you mean 'emb_size'"):
        _ = config.emb_sz
    assert not hasattr(config, 'emb_sz')


def test_or_equals_sets_checked_values_in_place():
    cfg = same = resolve('r18')
    cfg |= {'emb_size': 64, 'net_blocks': [1, 2]}
    assert cfg is same
    assert cfg.emb_size == cfg['emb_size'] == 64
    assert cfg.net_blocks == (1, 2)


@pytest.mark.parametrize('name', ['emb_size', 'network'])
def test_a_key_cannot_be_taken_out(name):
    cfg = resolve('r18')
    taking = (
        lambda: cfg.pop(name),
        lambda: cfg.pop(name, None),
        lambda: delattr(cfg, name),
        lambda: cfg.__delitem__(name),
    )
    for take in taking:
        with pytest.raises(ConfigError, match=f'{name!r} cannot be taken out of the config'):
            take()
    assert cfg == resolve('r18')
    assert cfg[name] == getattr(cfg, name)


def test_what_is_not_there_is_popped_as_from_a_dict():
    cfg = resolve('r18')
    assert cfg.pop('emb_sise', 7) == 7
    with pytest.raises(ConfigError, match="did you mean 'emb_size'"):
        cfg.pop('emb_sise')


@pytest.mark.parametrize('given', [['r18'], {'net_name': 'fresnet'}, 5, ('r18',)])
def test_a_preset_that_is_no_name(given):
    with pytest.raises(ConfigError, match=f'{re.escape(repr(given))} is not a network preset'):
        resolve(given)


@pytest.mark.parametrize('given', [None, 5, 'r18', [1], {1: 2}])
def test_what_is_no_config(given):
    with pytest.raises(ConfigError, match=r'is no config; one is made by resolve|is not a key of the config'):
        complete(given)
    if given is not None:
        with pytest.raises(ConfigError):
            get_block(given)


def test_errors_are_value_errors_too():
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, FaceSymbolsError)


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy, lambda cfg: pickle.loads(pickle.dumps(cfg))])
def test_a_copy_is_equal_strict_and_apart(copied):
    cfg = resolve('r18')
    other = copied(cfg)
    assert other == cfg
    with pytest.raises(ConfigError):
        other.emb_sise = 3
    other.emb_size = 3
    assert (other['emb_size'], cfg.emb_size) == (3, 512)


@pytest.mark.parametrize('given', ['10, 20', [10, 20], (10, 20.0)])
def test_lr_steps_are_normalised_to_insightfaces_text(given):
    assert resolve('r18', lr_steps=given).lr_steps == '10,20'


@pytest.mark.parametrize(
    ('preset', 'settings', 'words'),
    [
        (
            'd121',
            {'net_se': True},
            "net_se=True does not go with net_name='fdensenet', which has no such thing",
        ),
        ('y1', {'fp16': True}, "fp16=True does not go with net_name='fmobilefacenet'"),
        ('r18', {'padding': 'tf_same'}, "padding='tf_same' does not go with net_name='fresnet'"),
        ('r18', {'bn_eps': 0}, 'bn_eps=0 is not allowed'),
        ('r18', {'kernel_l2': 1e-4, 'wd': 0}, 'kernel_l2 does not go with wd=0.0'),
        (
            'r18',
            {'resnet_kernel': 5},
            "resnet_kernel=5 does not go with net_name='fresnet', where it has to be 3",
        ),
        ('keras_resnet50', {'resnet_kernel': 4}, 'which takes 1, 3, 5, 7; the nearest is 3'),
        ('keras_resnet50', {'resnet_kernel': 9}, 'it must be a whole number from 1 to 7'),
        ('d121', {'densenet_blocks': (6, 0, 6)}, 'a list of one or more values, each a whole number from 1'),
        ('d121', {'densenet_blocks': ()}, 'a list of one or more values, each a whole number from 1'),
        ('d121', {'densenet_growth': 0}, 'densenet_growth=0 is not allowed'),
        (
            'd2l_densenet',
            {'densenet_bottleneck': 2},
            "with net_name='plain_densenet', which has no such thing",
        ),
        (
            'r18',
            {'net_pool': 'max'},
            "does not go with net_output='E', which does not pool by it; the heads that",
        ),
        (
            'y1',
            {'net_output': 'gnap', 'net_pool': 'max'},
            "net_pool='max' does not go with net_output='gnap'",
        ),
        ('r18', {'net_output': 'GAP', 'net_pool': 'mean'}, 'it must be one of avg, max'),
    ],
)
def test_a_setting_that_would_do_nothing_or_cannot_be_is_refused(preset, settings, words):
    with pytest.raises(ConfigError, match=words):
        resolve(preset, **settings)
