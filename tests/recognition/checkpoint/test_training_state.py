"""Training states: they come back as they were, and what is said of missing, damaged or foreign ones."""

from __future__ import annotations

import json
import logging
import os
import zipfile

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.checkpoint.network import save_network
from recognition.checkpoint.training_state import (
    TrainingState,
    load_state,
    newest_state,
    save_state,
    saving_state,
)
from recognition.utils import streamed_array
from recognition.utils.run_paths import state_path
from tests.helpers.toy_network import save_toy

import mxnet as mx


@pytest.mark.parametrize('failing', ['save_network', 'save_state'])
def test_network_and_state_take_the_place_of_old_ones_together(tmp_path, monkeypatch, failing):
    prefix, symbol, args, auxs = save_toy(tmp_path / 'model')
    save_state(prefix, 3, a_state())
    before = {name: (prefix.parent / name).read_bytes() for name in os.listdir(prefix.parent)}

    def full(*arguments):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(
        *{'save_network': (mx.nd, 'save'), 'save_state': (streamed_array, 'write_array')}[failing], full
    )

    def save():
        with saving_state(prefix, 3, a_state(step=6)):
            save_network(prefix, 3, symbol * 2, args, auxs)

    with pytest.raises(CheckpointError, match='cannot be written: No space left'):
        save()
    assert {name: (prefix.parent / name).read_bytes() for name in os.listdir(prefix.parent)} == before


def a_state(step=5):
    arrays = {'arg:conv0_weight': np.arange(6, dtype=np.float32).reshape(2, 3), 'momentum:file': np.ones(2)}
    return TrainingState({'step': step}, {'net_name': 'resnet', 'seed': 1}, arrays, {'numpy': '1.23.5'})


def test_a_state_comes_back_as_it_was(tmp_path):
    save_state(tmp_path / 'm', 2, a_state())
    back = load_state(tmp_path / 'm', 2)
    assert (back.progress, back.config) == ({'step': 5}, {'net_name': 'resnet', 'seed': 1})
    assert back.versions == {'numpy': '1.23.5'}
    assert list(back.group('momentum')) == ['file']
    np.testing.assert_array_equal(back.group('arg')['conv0_weight'], a_state().arrays['arg:conv0_weight'])
    assert back.group('arg')['conv0_weight'].dtype == np.float32


def test_the_newest_whole_state_is_taken_and_a_damaged_one_named(tmp_path, caplog):
    prefix = tmp_path / 'm'
    for epoch in (1, 2, 10):
        save_state(prefix, epoch, a_state(step=epoch))
    assert newest_state(prefix)[0] == 10
    assert caplog.records == []
    path = state_path(prefix, 10)
    path.write_bytes(path.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        epoch, state = newest_state(prefix)
    assert (epoch, state.progress) == (2, {'step': 2})
    (record,) = caplog.records
    assert record.getMessage().startswith(f'{path} is damaged')
    assert record.getMessage().endswith('; going back to the state of epoch 2')


def test_states_that_are_none_are_named(tmp_path):
    prefix = tmp_path / 'm'
    with pytest.raises(CheckpointError, match='there is no training state'):
        newest_state(prefix)
    save_state(prefix, 1, a_state())
    whole = state_path(prefix, 1).read_bytes()
    middle = whole.index(b'arg:conv0_weight.npy') + 150
    bad = bytes([whole[middle] ^ 1])
    for damaged in (b'', b'junk', whole[:100], whole[:middle] + bad + whole[middle + 1 :]):
        state_path(prefix, 1).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r'm-0001\.state is damaged'):
            newest_state(prefix)


def test_a_state_with_a_pickle_in_it_is_refused(tmp_path):
    header = np.frombuffer(json.dumps({'version': 1, 'progress': {}, 'config': {}}).encode(), np.uint8)
    with open(state_path(tmp_path / 'm', 1), 'wb') as out:
        np.savez(out, header=header, evil=np.array([{'a': 1}], dtype=object))
    with pytest.raises(CheckpointError, match='damaged or not a training state'):
        load_state(tmp_path / 'm', 1)


def test_a_state_of_another_version_is_refused(tmp_path):
    header = np.frombuffer(b'{"version": 99}', np.uint8)
    with open(state_path(tmp_path / 'm', 1), 'wb') as out:
        np.savez(out, header=header)
    with pytest.raises(CheckpointError, match='version 99'):
        load_state(tmp_path / 'm', 1)


def test_a_state_that_lacks_a_key_or_holds_what_is_not_finite_gives_way_to_the_one_before(tmp_path, caplog):
    prefix = tmp_path / 'm'
    for value in (np.nan, np.inf):
        save_state(prefix, 1, a_state())
        save_state(prefix, 2, TrainingState({}, {}))
        save_state(prefix, 3, TrainingState({'step': 7}, {}, {'param:w': np.array([1, value], np.float32)}))
        assert newest_state(prefix, ['step'])[0] == 1
        assert [record.getMessage() for record in caplog.records] == [
            f"{state_path(prefix, 3)} holds 'param:w' with values that are not finite; "
            'going back to the state of epoch 1'
        ]
        caplog.clear()
    with pytest.raises(
        CheckpointError, match=r"m-0002\.state is damaged: its progress lacks 'best', 'step'$"
    ):
        load_state(prefix, 2, needed=['best', 'step'])


@pytest.mark.parametrize(
    'header', [b'[' * 9000, b'9' * 5000, b'{"version": 2, "progress": 1}', b'\xff', b'[]']
)
def test_a_header_of_any_kind_of_damage_is_one_sentence(tmp_path, header):
    with open(state_path(tmp_path / 'm', 1), 'wb') as out:
        np.savez(out, header=np.frombuffer(header, np.uint8))
    with pytest.raises(CheckpointError, match=r'm-0001\.state is damaged or not a training state: \S'):
        load_state(tmp_path / 'm', 1)


def test_a_member_that_would_be_unpacked_to_gigabytes_is_refused(tmp_path):
    save_state(tmp_path / 'm', 1, a_state())
    with zipfile.ZipFile(state_path(tmp_path / 'm', 1), 'a', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('param:bomb.npy', bytes(2**25))
    with pytest.raises(CheckpointError, match='would be unpacked to 33554432 bytes'):
        load_state(tmp_path / 'm', 1)


def test_the_newest_of_several_damaged_states_is_named(tmp_path, caplog):
    for epoch in (1, 2, 3):
        save_state(tmp_path / 'm', epoch, a_state(step=epoch))
    for epoch in (2, 3):
        state_path(tmp_path / 'm', epoch).write_bytes(b'junk')
    with caplog.at_level(logging.WARNING):
        assert newest_state(tmp_path / 'm')[1].progress == {'step': 1}
    assert 'm-0003.state is damaged' in caplog.text
    assert 'm-0002' not in caplog.text
    state_path(tmp_path / 'm', 1).write_bytes(b'junk')
    with pytest.raises(CheckpointError, match=r'm-0003\.state is damaged'):
        newest_state(tmp_path / 'm')
