"""Arrays in pieces: written and read as numpy does it, and a damaged file is found."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.checkpoint.training_state import TrainingState, load_state, save_state
from recognition.utils import streamed_array as rows
from recognition.utils.run_paths import state_path
from recognition.utils.streamed_array import Rows, drain, pieces_of, write_array

import mxnet as mx

WHOLE = np.random.RandomState(0).normal(size=(11, 3, 2)).astype(np.float32)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Leave arrays of a hundred bytes in the file, and read two rows at once."""
    monkeypatch.setattr(rows, 'LARGE', 100)
    monkeypatch.setattr(rows, 'PIECE', 50)


def in_pieces(whole=WHOLE, at_once=4):
    return Rows(
        whole.shape, lambda: (whole[start : start + at_once] for start in range(0, len(whole), at_once))
    )


def test_numpy_takes_it_for_the_whole_array():
    np.testing.assert_array_equal(np.asarray(in_pieces()), WHOLE)
    assert np.array_equal(in_pieces(), WHOLE)
    assert np.asarray(in_pieces(), np.float64).dtype == np.float64
    for array in (in_pieces(), WHOLE, mx.nd.array(WHOLE)):
        np.testing.assert_array_equal(np.concatenate(list(pieces_of(array))), WHOLE)


def test_all_pieces_are_fetched():
    asked = []
    drain(Rows((3, 1), lambda: (asked.append(n) or np.zeros((1, 1)) for n in range(3))))
    assert asked == [0, 1, 2]


def test_a_state_with_rows_is_a_numpy_archive(tmp_path):
    arrays = {
        'param:fc7_weight': in_pieces(),
        'param:small': np.arange(3.0),
        'param:bias': in_pieces(WHOLE[:, 0, 0]),
    }
    save_state(tmp_path / 'model', 1, TrainingState({'step': 4}, {'seed': 1}, arrays))
    with np.load(state_path(tmp_path / 'model', 1)) as archive:
        for key, value in arrays.items():
            np.testing.assert_array_equal(archive[key], np.asarray(value))
    state = load_state(tmp_path / 'model', 1)
    large = state.arrays['param:fc7_weight']
    assert isinstance(large, Rows)
    assert {len(piece) for piece in large.pieces()} == {2, 1}
    for key, value in arrays.items():
        np.testing.assert_array_equal(np.asarray(state.arrays[key]), np.asarray(value))
    assert state.progress == {'step': 4}
    assert isinstance(state.group('param')['fc7_weight'], np.ndarray)


@pytest.mark.parametrize('place', ['first', 'last'])
def test_a_bit_that_flipped_in_rows_is_found_when_the_state_is_loaded(tmp_path, place):
    save_state(tmp_path / 'model', 1, TrainingState({}, {}, {'param:fc7_weight': in_pieces()}))
    path = state_path(tmp_path / 'model', 1)
    content = bytearray(path.read_bytes())
    start = content.index(WHOLE.tobytes())
    content[start if place == 'first' else start + WHOLE.nbytes - 1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match='is damaged or not a training state'):
        load_state(tmp_path / 'model', 1)


@pytest.mark.parametrize('change', [-1, 1])
def test_a_header_that_says_another_size_is_found(tmp_path, change):
    path = state_path(tmp_path / 'model', 1)
    save_state(tmp_path / 'model', 1, TrainingState({}, {}, {}))
    with zipfile.ZipFile(path, 'a') as archive, archive.open('param:fc7_weight.npy', 'w') as member:
        write_array(member, Rows((11 + change, 3, 2), in_pieces().pieces))
    with pytest.raises(CheckpointError, match='is damaged or not a training state'):
        load_state(tmp_path / 'model', 1)


def test_a_state_of_many_arrays_is_opened_once(tmp_path, monkeypatch):
    """Reading the list of an archive takes as long as it has entries: once for each array would be quadratic."""
    arrays = {f'param:{number}': WHOLE[:number] for number in range(1, 12)}
    save_state(tmp_path / 'model', 1, TrainingState({}, {}, arrays))
    opened = []
    plain = zipfile.ZipFile.__init__
    monkeypatch.setattr(
        zipfile.ZipFile,
        '__init__',
        lambda self, *given, **more: opened.append(given) or plain(self, *given, **more),
    )
    assert len(load_state(tmp_path / 'model', 1).arrays) == len(arrays)
    assert len(opened) == 1
