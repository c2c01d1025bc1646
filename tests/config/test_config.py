"""The central config and `resolve`: whole, strict, and without leftovers."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from itertools import chain, product
from pathlib import Path

import pytest
from easydict import EasyDict
from hypothesis import given, settings
from hypothesis import strategies as st

import config as config_module
from config import (
    ConfigError,
    FaceSymbolsError,
    complete,
    config,
    dataset,
    default,
    generate_config,
    loss,
    network,
    resolve,
)
from config.keys import DEFAULT_KEYS, KEYS
from config.presets import NOT_BUILT
from symbols import get_block, get_symbol

ROOT = Path(__file__).resolve().parents[2]


def whole(names):
    """Whether three presets make a config: a classifier has to know its classes, which 'folder' leaves open."""
    return network[names[0]].get('net_output') != 'classifier' or names[1] != 'folder'


TRIPLES = list(filter(whole, product(network, dataset, loss)))


@pytest.fixture(autouse=True)
def central_config(monkeypatch):
    """Give the central config back as it was."""
    monkeypatch.delenv('DMLC_NUM_WORKER', raising=False)
    before = dict(config), dict(default)
    yield
    for central, values in zip((config, default), before):
        central.clear()
        central.update(values)


def central():
    return {**default, **config}


def test_after_import_the_central_config_holds_every_default_and_the_default_network():
    program = (
        'from config import config, default, network; from config.keys import KEYS; '
        'fresh = {name: key.default for name, key in KEYS.items()}; '
        'print({**config, **default} == {**fresh, **network[default.network]})'
    )
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == 'True', done.stderr


def test_a_whole_config_is_the_defaults_and_the_preset():
    fresh = {name: key.default for name, key in KEYS.items()}
    assert resolve('r18') == {**fresh, **network.r18, 'network': 'r18'}


def neighbours(table):
    """Return every ordered pair of names of a table."""
    return list(product(table, repeat=2))


@pytest.mark.parametrize('index', range(3), ids=['network', 'dataset', 'loss'])
def test_of_two_presets_the_first_leaves_nothing(index):
    table = (network, dataset, loss)[index]
    for number, (first, second) in enumerate(neighbours(table)):
        before, after = list(TRIPLES[number % len(TRIPLES)]), list(TRIPLES[-1 - number % len(TRIPLES)])
        before[index], after[index] = first, second
        if not (whole(before) and whole(after)):
            continue
        generate_config(*before)
        generate_config(*after)
        assert central() == resolve(*after), (before, after)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(TRIPLES), min_size=1, max_size=4))
def test_no_sequence_of_presets_and_edits_leaves_anything(sequence):
    for triple in sequence:
        generate_config(*triple)
        config.emb_size = 64
        config['net_output'] = 'GAP'
        default.lr = 0.5
        config.lr = 0.5  # a key of `default`
    generate_config(*sequence[0])
    assert central() == resolve(*sequence[0])
    assert config['emb_size'] == config.emb_size == resolve(*sequence[0]).emb_size


def test_insightface_scripts_find_their_keys_where_they_look():
    generate_config('d121', 'orl', 'arcface')
    assert config.net_name == 'fdensenet'
    assert config.num_layers == 121
    assert (config.network, config.dataset, config.loss) == ('d121', 'orl', 'arcface')
    assert (config.loss_name, config.loss_m2) == ('margin_softmax', 0.5)
    assert default.per_batch_size == 64
    assert set(default) == set(DEFAULT_KEYS)
    assert config.num_workers == 1


def test_the_number_of_machines_comes_from_mxnets_launcher(monkeypatch):
    monkeypatch.setenv('DMLC_NUM_WORKER', '3')
    generate_config('r18', 'orl', 'arcface')
    assert config.num_workers == 3


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (('r101', 'orl', 'arcface'), "'r101' is not a network preset .*; did you mean 'r100'\\?"),
        (('r18', 'olr', 'arcface'), "'olr' is not a dataset preset .*; did you mean 'orl'\\?"),
        (('r18', 'orl', 'arcfaces'), "'arcfaces' is not a loss preset .*; did you mean 'arcface'\\?"),
        (('r18', 'orl', None), 'generate_config needs three presets'),
        (('r18', 'orl', 'tripled'), "did you mean 'triplet'"),
        (('keras_resnet50', 'folder', 'softmax'), "num_classes=0 does not go with net_output='classifier'"),
    ],
)
def test_an_unknown_preset_leaves_everything_as_it_was(names, message):
    generate_config('d169', 'emore', 'cosface')
    before = copy.deepcopy(central())
    with pytest.raises(ConfigError, match=message):
        generate_config(*names)
    assert central() == before


@pytest.mark.parametrize('name', network)
def test_resolve_touches_no_global(name):
    before = copy.deepcopy((config, default, network, dataset, loss))
    cfg = resolve(name, 'emore', 'arcface', emb_size=64, val_targets=['lfw'])
    cfg.num_classes = 5
    cfg.image_shape = (96, 80, 3)
    assert (config, default, network, dataset, loss) == before
    again = resolve(name, 'emore')
    emb_size = network[name].get('emb_size', 512)
    assert (again.emb_size, again.num_classes, again.image_shape) == (emb_size, 85742, (112, 112, 3))


def test_overrides_come_last():
    cfg = resolve('r100', 'emore', 'arcface', num_layers=18, num_classes=7, loss_s=30, net_output='gnap')
    assert (cfg.num_layers, cfg.num_classes, cfg.loss_s, cfg.net_output) == (18, 7, 30.0, 'gnap')
    assert cfg.network == 'r100'


def test_a_network_without_a_preset():
    assert resolve(net_name='densenet', num_layers=161) == resolve('d161', net_name='densenet') | {
        'network': KEYS['network'].default,
        'per_batch_size': KEYS['per_batch_size'].default,
    }


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
        ('r18', {'net_output': 'classifier', 'num_classes': 0}, 'num_classes=0 does not go with'),
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


@pytest.mark.parametrize('name', sorted(set(chain(*NOT_BUILT.values()))))
def test_what_insightface_has_and_is_not_built_here_gets_no_hint(name):
    told = "is InsightFace's, and not built here"
    for key in (key for key, names in NOT_BUILT.items() if name in names):
        with pytest.raises(ConfigError, match=told) as caught:
            resolve(**{'net_name': {'net_name': name}}.get(key, {f'{key}_name': name}))
        assert 'did you mean' not in str(caught.value)
        assert repr(name) in str(caught.value)


def test_errors_are_value_errors_too():
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, FaceSymbolsError)


@pytest.mark.parametrize('network', ['r18', 'd121', 'y1'])
def test_what_earlier_networks_left_in_insightfaces_config_does_not_count(network):
    theirs = EasyDict({**insightface_config(), **config_module.network[network], 'net_multiplier': 0.5})
    assert complete(theirs).net_multiplier == 1.0
    assert complete({**theirs, 'head_channels': 512}).net_multiplier == 1.0  # added by hand, for its GDC
    assert complete({**theirs, 'net_blocks': [1, 4, 6, 2, 9]}).net_blocks == (1, 4, 6, 2)


@pytest.mark.parametrize('network', ['m05', 'mnas025', 'vargfacenet'])
def test_the_width_of_networks_that_insightface_scales_does(network):
    row = config_module.network[network]
    assert complete(EasyDict({**insightface_config(), **row})).net_multiplier == row['net_multiplier'] != 1.0


def test_a_width_that_is_set_here_counts():
    plain = {'net_name': 'fresnet', 'num_layers': 18, 'net_multiplier': 0.25}
    own = resolve('r18', net_multiplier=0.25)
    assert complete(plain).net_multiplier == complete(dict(own)).net_multiplier == 0.25
    assert complete(json.loads(json.dumps(own))).net_multiplier == complete(own).net_multiplier == 0.25


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy, lambda cfg: pickle.loads(pickle.dumps(cfg))])
def test_a_copy_is_equal_strict_and_apart(copied):
    cfg = resolve('r18')
    other = copied(cfg)
    assert other == cfg
    with pytest.raises(ConfigError):
        other.emb_sise = 3
    other.emb_size = 3
    assert (other['emb_size'], cfg.emb_size) == (3, 512)


def insightface_config():
    """Return a config as InsightFace's scripts hold it after generate_config and the start of train.py."""
    # fmt: off
    return EasyDict(
        bn_mom=0.9,
        workspace=256,
        emb_size=512,
        ckpt_embedding=True,
        net_se=0,
        net_act='prelu',
        net_unit=3,
        net_input=1,
        net_blocks=[1, 4, 6, 2],
        net_output='E',
        net_multiplier=1.0,
        ce_loss=True,
        fc7_lr_mult=1.0,
        fc7_wd_mult=1.0,
        fc7_no_bias=False,
        max_steps=0,
        data_rand_mirror=True,
        data_cutoff=False,
        data_color=0,
        data_images_filter=0,
        count_flops=True,
        memonger=False,
        is_shuffled_rec=False,
        fp16=False,
        fp16_scale=1.0,
        net_name='fresnet',
        num_layers=18,
        densenet_dropout=0.0,
        dataset='emore',
        image_shape=[112, 112, 3],
        dataset_path='../datasets/faces_emore',
        num_classes=85742,
        val_targets=['lfw', 'cfp_fp', 'agedb_30'],
        loss='arcface',
        loss_name='margin_softmax',
        loss_s=64.0,
        loss_m1=1.0,
        loss_m2=0.5,
        loss_m3=0.0,
        images_per_identity=5,
        triplet_alpha=0.3,
        triplet_bag_size=7200,
        triplet_max_ap=0.0,
        network='r18',
        pretrained='',
        pretrained_epoch=1,
        frequent=20,
        verbose=2000,
        kvstore='device',
        end_epoch=10000,
        lr=0.1,
        wd=0.0005,
        mom=0.9,
        per_batch_size=128,
        ckpt=3,
        lr_steps='100000,160000,220000',
        models_root='./models',
        num_workers=1,
        batch_size=128,
    )
    # fmt: on


def test_insightfaces_own_config_builds_the_same_network():
    theirs = insightface_config()
    before = copy.deepcopy(theirs)
    assert get_symbol(theirs).tojson() == get_symbol(resolve('r18')).tojson()
    assert theirs == before


def test_each_of_insightfaces_keys_has_its_value_in_the_whole_config():
    theirs = insightface_config()
    whole = complete(theirs)
    assert whole.keys() == KEYS.keys()
    for name, value in theirs.items():
        assert whole[name] == (tuple(value) if isinstance(value, list) else value), name


def test_get_symbol_reads_the_central_config_at_every_call():
    generate_config('r18', 'orl', 'arcface')
    config.emb_size = 32
    small = get_symbol()
    generate_config('r18', 'orl', 'arcface')
    assert small.tojson() == get_symbol(resolve('r18', emb_size=32)).tojson()
    assert get_symbol().tojson() == get_symbol(resolve('r18')).tojson()


def test_rows_of_a_users_own(monkeypatch):
    monkeypatch.setitem(network, 'tiny', {'net_name': 'fresnet', 'num_layers': 18, 'net_multiplier': 0.25})
    monkeypatch.setitem(dataset, 'mine', EasyDict(dataset_path='/data/mine', num_classes=12))
    generate_config('tiny', 'mine', 'softmax')
    assert (config.net_multiplier, config.num_classes, config.dataset) == (0.25, 12, 'mine')
    assert central() == resolve('tiny', 'mine', 'softmax')
    generate_config('r34', 'orl', 'softmax')
    assert central() == resolve('r34', 'orl', 'softmax')


def test_a_users_row_is_checked_when_it_is_picked(monkeypatch):
    monkeypatch.setitem(network, 'wrong', {'net_name': 'fresnet', 'num_layer': 18})
    with pytest.raises(
        ConfigError, match="'num_layer' is not a key of the config; did you mean 'num_layers'"
    ):
        resolve('wrong')
    monkeypatch.setitem(network, 'text', 'abc')
    with pytest.raises(ConfigError, match="the network preset 'text' is 'abc' where a dict of config keys"):
        resolve('text')


def test_a_users_row_may_have_a_name_of_insightfaces(monkeypatch):
    monkeypatch.setitem(network, 'y1', {'net_name': 'fresnet', 'num_layers': 18})
    assert resolve('y1').num_layers == 18


@pytest.mark.parametrize('given', ['10, 20', [10, 20], (10, 20.0)])
def test_lr_steps_are_normalised_to_insightfaces_text(given):
    assert resolve('r18', lr_steps=given).lr_steps == '10,20'


def test_what_is_public():
    assert all(hasattr(config_module, name) for name in config_module.__all__)


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
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(preset, settings, words):
    with pytest.raises(ConfigError, match=words):
        resolve(preset, **settings)


def test_insightfaces_config_may_hold_what_its_network_does_not_read():
    """As there: the same object has been through other presets."""
    left = {'net_se': True, 'fp16': True, 'net_unit': 1, 'head_channels': 512}
    plain = {'net_name': 'fmobilefacenet', 'net_output': 'E'}
    assert get_symbol({**plain, **left}).tojson() == get_symbol(plain).tojson()
