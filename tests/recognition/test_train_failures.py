"""A training that fails leaves what was there before it."""

from __future__ import annotations

import shutil

import pytest

from config.errors import DataError, FaceSymbolsError
from recognition.train import train
from tests.helpers.training import TOLD, config, files, refused


def test_a_loss_that_is_not_finite_stops_the_run(folder, tmp_path):
    with pytest.raises(FaceSymbolsError, match=r'the loss became nan at step \d+ with learning rate 1e\+30'):
        train(config(folder, lr=1e30), prefix=tmp_path / 'model')
    assert not list(tmp_path.glob('*.params'))


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(folder, tmp_path):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=8), prefix=prefix)
    kept = {name: content for name, content in files(prefix).items() if name not in TOLD}
    with pytest.raises(FaceSymbolsError, match=r'the loss became (nan|inf) at step (9|1\d) with'):
        train(config(folder, lr=1e30), prefix=prefix, resume=True)
    assert {name: content for name, content in files(prefix).items() if name not in TOLD} == kept
    assert train(config(folder, max_steps=9), prefix=prefix, resume=True).steps == 9


@pytest.mark.parametrize(
    ('fault', 'words'),
    [('loss', 'the loss became'), ('record', 'train.rec'), ('save', 'cannot be written: No space left')],
)
def test_a_forced_run_that_fails_leaves_the_run_before_it_whole(folder, tmp_path, monkeypatch, fault, words):
    prefix = tmp_path / 'run' / 'model'
    train(config(folder, max_steps=9), prefix=prefix)
    data, settings = folder, {}
    if fault == 'loss':
        settings = {'lr': 1e30}
    elif fault == 'record':
        data = damaged(folder, tmp_path / 'damaged')
    else:
        monkeypatch.setattr('recognition.checkpoint.network.mx.nd.save', full_disk)
    cfg = config(data, net_act='relu', **settings)
    refused(FaceSymbolsError, words, lambda: train(cfg, prefix=prefix, force=True), prefix)


def full_disk(*_):
    raise OSError(28, 'No space left on device')


def damaged(folder, copy):
    """A copy of the data set whose photographs are none."""
    shutil.copytree(folder, copy)
    records = (copy / 'train.rec').read_bytes()
    (copy / 'train.rec').write_bytes(records.replace(b'\x89PNG', b'\x00PNG'))
    return copy


def test_a_run_that_fails_on_its_data_leaves_nothing(folder, tmp_path):
    cfg = config(damaged(folder, tmp_path / 'damaged'))
    with pytest.raises(DataError):
        train(cfg, prefix=tmp_path / 'run' / 'model')
    assert not (tmp_path / 'run').exists()
