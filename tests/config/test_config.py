"""The central config and `resolve`: whole, and without leftovers."""

from __future__ import annotations

import copy
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from easydict import EasyDict
from hypothesis import given, settings
from hypothesis import strategies as st

import config as config_module
from config import ConfigError, config, dataset, default, generate_config, loss, network, resolve
from config.checks import check_training
from config.keys import DEFAULT_KEYS, KEYS
from symbols import get_symbol

ROOT = Path(__file__).resolve().parents[2]


def whole(names):
    """Whether three presets make a config: a classifier has to know its classes, which 'folder' leaves open."""
    return network[names[0]].get('net_output') != 'classifier' or names[1] != 'folder'


TRIPLES = list(filter(whole, product(network, dataset, loss)))


def central():
    return {**default, **config}


def test_after_import_the_central_config_holds_every_default_and_the_default_network():
    program = (
        'from config import config, default, network; from config.keys import KEYS; '
        'fresh = {name: key.default for name, key in KEYS.items()}; '
        'print({**default, **config} == {**fresh, **network[default.network]}, default.dataset, default.loss)'
    )
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ['True', 'emore', 'arcface'], done.stderr


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
    assert set(default) == {*DEFAULT_KEYS, 'dataset', 'loss'}
    assert (default.network, default.dataset, default.loss) == ('d121', 'orl', 'arcface')
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
    image_shape = network[name].get(
        'image_shape', (112, 112, 3)
    )  # a data set does not change what a network takes
    assert (again.emb_size, again.num_classes, again.image_shape) == (emb_size, 85742, image_shape)


@pytest.mark.parametrize('name', network)
def test_every_network_is_trained_on_classes(name):
    cfg = resolve(name, 'images', 'classes')
    check_training(cfg)
    assert (cfg.net_output, cfg.loss_name, cfg.num_classes) == ('classifier', 'cross_entropy', 0)
    assert (cfg.val_targets, cfg.data_rand_mirror) == (('test',), False)
    assert cfg.image_shape == network[name].get('image_shape', (112, 112, 3))
    assert resolve(name, 'images', 'classes', net_output='fc', image_shape=(64, 64, 1)).net_output == 'fc'


@pytest.mark.parametrize(
    ('loss_name', 'overrides', 'words'),
    [
        ('classes', {'net_output': 'fc'}, "needs class scores, which net_output='classifier' gives"),
        ('classes', {'net_output': 'Z'}, 'of another kind: feature map'),
        ('arcface', {'net_output': 'classifier'}, '--loss classes trains a classifier'),
        ('arcface', {'label_smoothing': 0.1}, r'label_smoothing=0\.1 needs --loss classes'),
        ('arcface', {'class_weights': 'balanced'}, "class_weights='balanced' needs --loss classes"),
        ('classes', {'sample_rate': 0.5}, "is computed from the network's own classifier"),
        ('classes', {'fc7_sharded': True}, "is computed from the network's own classifier"),
        ('classes', {'image_shape': (32, 32, 2)}, 'read as grey, 1 channel, or RGB, 3 channels'),
    ],
)
def test_what_does_not_go_with_an_objective_is_refused(loss_name, overrides, words):
    with pytest.raises(ConfigError, match=words):
        check_training(resolve('r18', 'folder', loss_name, **overrides))


@pytest.mark.parametrize('value', ['even', (1.0, 0.0), (1.0, -2.0), 3, ('a',)])
def test_class_weights_are_a_word_or_numbers(value):
    with pytest.raises(ConfigError, match=r"class_weights=.* or 'balanced'"):
        resolve('r18', class_weights=value)


def test_overrides_come_last():
    cfg = resolve('r100', 'emore', 'arcface', num_layers=18, num_classes=7, loss_s=30, net_output='gnap')
    assert (cfg.num_layers, cfg.num_classes, cfg.loss_s, cfg.net_output) == (18, 7, 30.0, 'gnap')
    assert cfg.network == 'r100'


def test_a_network_without_a_preset():
    assert resolve(net_name='densenet', num_layers=161) == resolve('d161', net_name='densenet') | {
        'network': KEYS['network'].default,
        'per_batch_size': KEYS['per_batch_size'].default,
    }


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


def test_what_is_public():
    assert all(hasattr(config_module, name) for name in config_module.__all__)
