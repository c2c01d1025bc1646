"""The registry, and what is registered."""

from __future__ import annotations

import pytest

from config import ConfigError
from config.presets import FAMILIES
from config.presets import HEADS as HEAD_NAMES
from symbols import list_activations, list_backbones, list_heads
from symbols.activations import ACTIVATIONS
from symbols.backbones import BACKBONES
from symbols.heads import HEADS
from symbols.registry import Registry


def builder():
    """Stand for a network."""


@pytest.fixture
def registry():
    table = Registry('net_name', {'resnet': ('fresnet',), 'densenet': (), 'xception': ()})
    table.register('xception')(builder)
    table.register('resnet')(builder)
    return table


def test_a_builder_has_its_name_and_its_aliases(registry):
    assert registry.get('resnet') is registry.get('fresnet') is builder


def test_register_returns_what_it_registers(registry):
    assert registry.register('densenet')(builder) is builder


def test_names_are_those_registered_in_the_order_of_the_table(registry):
    assert registry.names() == ['resnet', 'xception']


def test_a_second_registration_raises(registry):
    with pytest.raises(ConfigError, match="net_name 'resnet' is registered twice"):
        registry.register('resnet')


@pytest.mark.parametrize('name', ['vgg', 'fresnet'])
def test_a_name_without_a_row_in_the_table_raises(registry, name):
    with pytest.raises(ConfigError, match=f"net_name '{name}' has no row in config/presets.py"):
        registry.register(name)


def test_an_unknown_name_suggests_the_nearest(registry):
    with pytest.raises(ConfigError, match="net_name='resnet5' is not known; did you mean 'resnet'"):
        registry.get('resnet5')


def test_a_name_of_the_table_that_nobody_registered_is_unknown(registry):
    with pytest.raises(ConfigError, match=r"net_name='densenet' is not known.*\(known: resnet, xception\)"):
        registry.get('densenet')


def test_the_three_tables_find_each_name_and_alias():
    for name in list_backbones():
        assert BACKBONES.get(name) is BACKBONES.get(FAMILIES[name].alias or name)
    for name in list_heads():
        assert all(HEADS.get(letter) is HEADS.get(name) for letter in HEAD_NAMES[name])
    assert all(callable(ACTIVATIONS.get(name)) for name in list_activations())


def test_what_is_listed_is_a_copy():
    list_backbones().clear()
    assert 'resnet' in list_backbones()
