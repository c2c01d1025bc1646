"""The tables of presets agree with what is registered, and each of their rows makes a whole config."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

import symbols
from config import dataset, loss, network, resolve
from config.keys import FAMILY_NAMES, KEYS
from config.presets import (
    ACTIVATIONS,
    DATASETS,
    FAMILIES,
    HEADS,
    LOSSES,
    NETWORKS,
    NOT_BUILT,
    RESNET_UNITS,
)
from symbols import list_activations, list_backbones, list_heads
from tests.helpers.families import OWN

KEYS_WITH_OWN_VALUES = ('net_name', 'net_output', 'net_act')  # to which a reader's own rows add
GOLDEN = Path(__file__).parents[1] / 'golden' / 'config.txt'


def test_keys_and_presets_are_those_of_the_golden_file(request):
    """No default, limit, depth or preset changes unseen, by which a config would mean something else."""
    rows = [f'{name}: {key.default!r}' for name, key in KEYS.items()]
    rows += [f'{name}: {key.rule.allowed}' for name, key in KEYS.items() if name not in KEYS_WITH_OWN_VALUES]
    rows += [f'{name}: {aliases}' for name, aliases in HEADS.items() if name in OWN]
    rows += [f'{name}: activation' for name in ACTIVATIONS if name in OWN]
    for name, family in FAMILIES.items():
        presets = {preset: settings for preset, settings in family.presets.items() if preset in OWN}
        if presets or not family.presets:
            rows.append(f'{name}: {replace(family, presets=presets)!r}')
    for table in (RESNET_UNITS, DATASETS, LOSSES):
        rows += [f'{name}: {row!r}' for name, row in table.items()]
    if request.config.getoption('--golden'):
        GOLDEN.write_text('\n'.join(rows) + '\n', 'utf-8')
    assert GOLDEN.read_text('utf-8').splitlines() == rows


def test_what_is_listed_are_the_rows_of_the_tables():
    assert list_backbones() == list(FAMILIES)
    assert list_heads() == list(HEADS)
    assert list_activations() == list(ACTIVATIONS)


WITH_DEPTHS = [name for name in FAMILIES if 'num_layers' in FAMILIES[name].takes and name != 'resnet']


@pytest.mark.parametrize('family', WITH_DEPTHS)  # the ResNets are built in tests/symbols/test_resnet.py
def test_every_depth_that_a_family_takes_can_be_built(family):
    preset = next(iter(FAMILIES[family].presets))
    for depth in FAMILIES[family].takes['num_layers']:
        cfg = resolve(preset, num_layers=depth, net_multiplier=0.125, emb_size=8, num_classes=8)
        assert symbols.get_symbol(cfg).list_outputs() == ['fc1_output']


@pytest.mark.parametrize('family', FAMILIES)
def test_families_take_keys_of_the_schema(family):
    for key, allowed in FAMILIES[family].takes.items():
        assert len(set(allowed)) == len(allowed) > 0
        assert [KEYS[key].rule.check(value) for value in allowed] == list(allowed)


@pytest.mark.parametrize('name', network)
def test_each_network_preset_makes_a_whole_config(name):
    cfg = resolve(name)
    assert cfg.keys() == KEYS.keys()
    assert {key: cfg[key] for key in NETWORKS[name]} == NETWORKS[name]
    assert name in FAMILIES[FAMILY_NAMES[cfg.net_name]].presets


@pytest.mark.parametrize('name', dataset)
def test_each_dataset_preset_makes_a_whole_config(name):
    cfg = resolve('r18', name)
    assert {key: cfg[key] for key in DATASETS[name]} == DATASETS[name]
    assert cfg.dataset == name


@pytest.mark.parametrize('name', loss)
def test_each_loss_preset_makes_a_whole_config(name):
    cfg = resolve('r18', None, name)
    assert {key: cfg[key] for key in LOSSES[name]} == LOSSES[name]
    assert cfg.loss == name


def test_no_preset_name_and_no_alias_stands_twice():
    presets = list(chain.from_iterable(family.presets for family in FAMILIES.values()))
    assert len(presets) == len(set(presets)) == len(NETWORKS)
    aliases = [family.alias for family in FAMILIES.values() if family.alias]
    assert len({*aliases, *FAMILIES}) == len(aliases) + len(FAMILIES)
    letters = list(chain.from_iterable(HEADS.values()))
    assert len({*letters, *HEADS}) == len(letters) + len(HEADS)


def test_what_is_not_built_is_not_built():
    built = {'net_name': FAMILY_NAMES, 'network': NETWORKS, 'loss': LOSSES}
    assert NOT_BUILT.keys() <= built.keys()
    for key, names in NOT_BUILT.items():
        assert not set(names) & set(built[key])


# cos(m1 * theta + m2) - m3
@pytest.mark.parametrize(
    ('name', 'margins'),
    [
        ('nsoftmax', (64, 1, 0, 0)),
        ('arcface', (64, 1, 0.5, 0)),
        ('cosface', (64, 1, 0, 0.35)),
        ('combined', (64, 1, 0.3, 0.2)),
    ],
)
def test_margins_are_insightfaces(name, margins):
    cfg = resolve('r18', None, name)
    assert cfg.loss_name == 'margin_softmax'
    assert (cfg.loss_s, cfg.loss_m1, cfg.loss_m2, cfg.loss_m3) == margins
