"""The registry, and what is registered."""

from __future__ import annotations

import sys

import pytest

import symbols
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
    rows = {'resnet': ('fresnet',), 'densenet': (), 'xception': ()}
    table = Registry('net_name', rows, name='BACKBONES', table='FAMILIES')
    table.register('xception')(builder)
    table.register('resnet')(builder)
    return table


def test_a_builder_has_its_name_and_its_aliases(registry):
    assert registry.get('resnet') is registry.get('fresnet') is builder


def test_register_returns_what_it_registers(registry):
    assert registry.register('densenet')(builder) is builder


def test_names_are_those_of_the_table_in_its_order(registry):
    assert registry.names() == ['resnet', 'densenet', 'xception']


def test_a_second_registration_raises(registry):
    with pytest.raises(ConfigError, match="net_name 'resnet' is registered twice"):
        registry.register('resnet')


@pytest.mark.parametrize('name', ['vgg', 'fresnet'])
def test_a_name_without_a_row_in_the_table_raises(registry, name):
    with pytest.raises(ConfigError, match=f"net_name '{name}' has no row in FAMILIES of config/presets.py"):
        registry.register(name)


def test_an_unknown_name_suggests_the_nearest(registry):
    with pytest.raises(ConfigError, match="net_name='resnet5' is not known; did you mean 'resnet'"):
        registry.get('resnet5')


def test_the_file_of_a_name_is_imported_when_the_name_is_asked_for(tmp_path, monkeypatch):
    rows = Registry('net_act', {'late': ('l8',)}, name='LATE')
    monkeypatch.setattr(symbols, 'LATE', rows, raising=False)
    monkeypatch.setattr(symbols, '__path__', [*symbols.__path__, str(tmp_path)])
    (tmp_path / 'late.py').write_text(
        "from symbols import LATE\n\n\n@LATE.register('late')\ndef late(): ...\n"
    )
    assert rows.names() == ['late']
    assert 'symbols.late' not in sys.modules
    assert rows.get('l8').__module__ == 'symbols.late'
    monkeypatch.delitem(sys.modules, 'symbols.late')


ROW = "net_name='{}' has a row in FAMILIES of config/presets.py, but symbols/{}.py "
WRITE = "@BACKBONES.register('{}') above the class or function that builds it"


def test_a_row_whose_file_is_missing_says_what_to_write():
    registry = Registry('net_name', {'absent': ('fabsent',)}, name='BACKBONES', table='FAMILIES')
    with pytest.raises(ConfigError) as caught:
        registry.get('fabsent')
    words = ROW.format('absent', 'absent') + 'is missing: write it, with ' + WRITE.format('absent')
    assert str(caught.value) == words


def test_a_row_whose_file_does_not_register_it_says_what_to_write():
    registry = Registry('net_name', {'layers': ()}, name='BACKBONES', table='FAMILIES')
    with pytest.raises(ConfigError) as caught:
        registry.get('layers')
    words = ROW.format('layers', 'layers') + 'does not register it: put ' + WRITE.format('layers')
    assert str(caught.value) == words


def test_what_a_file_itself_lacks_is_not_taken_for_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(symbols, '__path__', [*symbols.__path__, str(tmp_path)])
    (tmp_path / 'needy.py').write_text('import a_package_that_nobody_has\n')
    with pytest.raises(ModuleNotFoundError, match='a_package_that_nobody_has'):
        Registry('net_name', {'needy': ()}, name='BACKBONES').get('needy')


def test_the_three_tables_find_each_name_and_alias():
    for name in list_backbones():
        assert BACKBONES.get(name) is BACKBONES.get(FAMILIES[name].alias or name)
    for name in list_heads():
        assert all(HEADS.get(letter) is HEADS.get(name) for letter in HEAD_NAMES[name])
    assert all(callable(ACTIVATIONS.get(name)) for name in list_activations())


def test_what_is_listed_is_a_copy():
    list_backbones().clear()
    assert 'resnet' in list_backbones()
