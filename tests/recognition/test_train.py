"""Training end to end on a small generated set: it learns, and refuses what does not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError, DataError, FaceSymbolsError
from recognition.checkpoint.network import load_network
from recognition.train import main, train
from recognition.utils.run_paths import (
    environment_path,
    report_path,
    state_path,
    symbol_path,
)
from tests.helpers.training import SIDE, TOLD, command, config, files, refused

import mxnet as mx


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    """A run of two epochs, verified: its prefix and result."""
    prefix = tmp_path_factory.mktemp('run') / 'model'
    return prefix, train(config(folder, end_epoch=4, val_targets=('val',)), prefix=prefix)


def test_the_loss_falls_and_the_network_knows_the_people(trained):
    _, result = trained
    losses = [record['loss'] for record in result.history if 'loss' in record]
    assert len(losses) == result.steps == 32
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])
    assert result.accuracy > 0.4  # one in six by chance; over seeds it is 0.46 with a deviation of 0.14
    assert result.verifications['val'].accuracy > 0.8
    assert result.stopped_by is None


def test_the_history_is_written_beside_the_checkpoint(trained):
    prefix, result = trained
    lines = [json.loads(line) for line in Path(f'{prefix}-history.jsonl').read_text().splitlines()]
    assert lines == json.loads(json.dumps(result.history))
    assert set(lines[0]) == {'step', 'epoch', 'loss', 'accuracy', 'lr', 'norm', 'images_per_second'}
    assert lines[-1]['verification']['val']['pairs'] == 24
    assert [line['epoch'] for line in lines[:9]] == [1] * 8 + [2]


def test_the_newest_checkpoints_are_left_and_mxnet_reads_them(trained):
    prefix, result = trained
    names = [f'model-000{epoch}.{kind}' for epoch in (3, 4) for kind in ('params', 'params.sha256', 'state')]
    assert list(files(prefix)) == [*names, *TOLD, 'model-symbol.json']
    assert result.epoch == 4
    symbol, args, auxs = mx.model.load_checkpoint(str(prefix), 4)
    images = mx.nd.array(np.random.RandomState(0).randint(0, 256, (3, 3, SIDE, SIDE)))
    module = symbol.bind(mx.cpu(), {**args, 'data': images}, aux_states=auxs, grad_req='null')
    expected = module.forward(is_train=False)[0].asnumpy()
    block = load_network(prefix, 4, image_shape=(SIDE, SIDE, 3))
    np.testing.assert_allclose(block(images).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    assert expected.shape == (3, 16)


def test_a_checkpoint_is_not_overwritten(folder, trained):
    prefix, _ = trained
    refused(CheckpointError, '--resume.*--overwrite', lambda: train(config(folder), prefix=prefix), prefix)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'net_act': 'relu'}, "net_act='prelu', and this run has 'relu'"),
        ({'num_layers': 34}, 'num_layers=18, and this run has 34'),
        ({'loss_m3': 0.1}, 'loss_m3=0.35'),
        ({'per_batch_size': 4}, 'per_batch_size=6'),
        ({'seed': 9}, 'seed=1'),
    ],
)
def test_the_state_of_another_run_is_refused(folder, trained, settings, words):
    prefix, _ = trained
    refused(
        CheckpointError, words, lambda: train(config(folder, **settings), prefix=prefix, resume=True), prefix
    )


def test_synonyms_of_the_same_network_are_not_refused(folder, trained):
    prefix, result = trained
    same = config(folder, end_epoch=4, net_name='resnet', net_output='bn_dropout_fc_bn')
    again = train(same, prefix=prefix, resume=True, verify=False)
    assert (again.steps, again.epoch) == (result.steps, 4)
    assert len(again.history) == len(result.history)


def test_what_does_not_fit_the_data_is_refused(folder, tmp_path):
    prefix = tmp_path / 'model'
    refused(ConfigError, 'num_classes=7', lambda: train(config(folder, num_classes=7), prefix=prefix), prefix)
    refused(DataError, 'no folder', lambda: train(config(tmp_path / 'nowhere'), prefix=prefix), prefix)
    refused(ConfigError, 'batch', lambda: train(config(folder, per_batch_size=49), prefix=prefix), prefix)
    refused(ConfigError, 'embedding', lambda: train(config(folder, net_output='map'), prefix=prefix), prefix)
    refused(ConfigError, 'val_targets', lambda: train(config(folder, ckpt=1), prefix=prefix), prefix)
    pooled = config(folder, net_output='pool')
    refused(ConfigError, 'emb_size=32 is what it gives$', lambda: train(pooled, prefix=prefix), prefix)
    two = config(folder, image_shape=(SIDE, SIDE, 2))
    refused(ConfigError, 'has 2 channels; images are read as grey', lambda: train(two, prefix=prefix), prefix)
    scores = config(folder, net_output='classifier', num_classes=16)
    refused(
        ConfigError,
        'needs a head that gives an embedding',
        lambda: train(scores, prefix=prefix),
        prefix,
    )
    half = config(folder, fp16=True)
    refused(
        ConfigError, r'float16 \(fp16=True\), which needs a GPU', lambda: train(half, prefix=prefix), prefix
    )
    rows = config(folder, pretrained_fc7='resize')
    refused(
        ConfigError, "pretrained_fc7='resize' needs pretrained", lambda: train(rows, prefix=prefix), prefix
    )
    slow = config(folder, warmup_steps=17)
    refused(ConfigError, 'warmup_steps=17 .* 16 steps', lambda: train(slow, prefix=prefix), prefix)


@pytest.mark.parametrize('name', ['', 'pt/', '.', 'pt/..'])
def test_a_prefix_that_names_no_file_is_refused(folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r'^prefix=.* must end with what the names of the checkpoints begin with'
    ):
        train(config(folder), prefix=name)
    assert list(tmp_path.iterdir()) == []


def test_resuming_from_nothing_is_refused(folder, tmp_path):
    prefix = tmp_path / 'model'
    refused(
        CheckpointError,
        'no training state',
        lambda: train(config(folder), prefix=prefix, resume=True),
        prefix,
    )


def test_a_run_that_ended_before_its_first_state_resumes_from_the_beginning(folder, tmp_path, caplog):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=1), prefix=prefix)
    environment_path(prefix).write_text('[{}]')  # as the record of a run that was killed
    symbol_path(prefix).unlink()
    for path in (*prefix.parent.glob('model-0001.*'), report_path(prefix)):
        path.unlink(missing_ok=True)
    with pytest.raises(
        CheckpointError, match='already exists; resume with --resume, replace it with --overwrite'
    ):
        train(config(folder, max_steps=1), prefix=prefix)
    assert train(config(folder, max_steps=2), prefix=prefix, resume=True).steps == 2
    assert 'ended before its first training state; it starts from the beginning' in caplog.text
    state_path(prefix, 1).unlink()
    with pytest.raises(CheckpointError, match=r'already exists; replace it with --overwrite'):
        train(config(folder, max_steps=1), prefix=prefix)


def test_force_replaces_the_checkpoints(folder, tmp_path):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=9), prefix=prefix)
    train(config(folder, max_steps=1), prefix=prefix, force=True)
    assert list(files(prefix)) == [
        'model-0001.params',
        'model-0001.params.sha256',
        'model-0001.state',
        *TOLD,
        'model-symbol.json',
    ]
    assert len((tmp_path / 'model-history.jsonl').read_text().splitlines()) == 1


def test_pretrained_weights_are_taken_and_those_of_another_network_refused(folder, trained, tmp_path):
    prefix, result = trained
    start = {'pretrained': str(prefix), 'pretrained_epoch': 4}
    tuned = train(config(folder, max_steps=4, loss_m3=0.2, **start), prefix=tmp_path / 'model')
    assert tuned.history[0]['loss'] < result.history[0]['loss']
    for settings in ({'net_multiplier': 0.125}, {'net_act': 'relu'}, {'num_layers': 34}):
        cfg = config(folder, **start, **settings)
        other = tmp_path / 'other' / 'model'
        refused(CheckpointError, 'does not fit', lambda cfg=cfg, to=other: train(cfg, prefix=to), other)


def test_a_run_is_fine_tuned_with_its_classifier_or_another_head(folder, trained, tmp_path, caplog):
    prefix, _ = trained
    first = {}
    with caplog.at_level('INFO'):
        for name, words in {
            'all': [],
            'rows': ['--pretrained-fc7', 'resize'],
            'parts': ['--fc7-sharded', 'true'],
            'body': ['--pretrained-part', 'body', '--net-output', 'GAP'],
        }.items():
            words = [*command(folder, tmp_path / name / 'model', max_steps=1)[5:], '--no-verify', *words]
            assert main([*words, '--pretrained', f'{prefix},4']) == 0
            lines = (tmp_path / name / 'model-history.jsonl').read_text().splitlines()
            first[name] = json.loads(lines[0])['loss']
    assert first['all'] == first['rows'] < first['body']
    assert first['parts'] == pytest.approx(first['all'], rel=1e-5)
    assert caplog.text.count('the classifier of 6 identities') == 3
    assert caplog.text.count('the classifier is drawn fresh') == 1
    assert 'missing' in caplog.text


@pytest.mark.parametrize(
    ('ckpt', 'left'),
    [
        (0, []),
        (1, ['model-0001.params']),
        (2, ['model-0001.params', 'model-0002.params', 'model-0003.params', 'model-0004.params']),
    ],
)
def test_what_is_saved_is_up_to_ckpt(folder, tmp_path, ckpt, left):
    cfg = config(folder, ckpt=ckpt, lr=1e-9, per_batch_size=24, end_epoch=4, verbose=2, val_targets=('val',))
    result = train(cfg, prefix=tmp_path / 'model')
    names = [path.name for path in sorted(tmp_path.glob('*.params'))]
    assert names == left or (ckpt == 1 and left[0] in names and len(names) < 4)
    assert result.epoch == (int(names[-1][6:10]) if names else None)
    assert [record['step'] for record in result.history if 'verification' in record] == [2, 4, 6, 8]


def test_two_devices_train_as_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr('symbols.context.select_context', lambda gpus: [mx.cpu(0), mx.cpu(1)])
    result = train(config(folder, per_batch_size=3, max_steps=10), prefix=tmp_path / 'model')
    losses = [record['loss'] for record in result.history]
    assert losses[-1] < losses[0]
    resumed = train(config(folder, per_batch_size=3, max_steps=12), prefix=tmp_path / 'model', resume=True)
    assert resumed.steps == 12


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--net-act', 'relo'], "did you mean 'relu'"),
        (['--netact', 'relu'], "'--netact' is not an option; did you mean '--net-act'?"),
        (['--net-output', 'classifier'], 'needs a head that gives an embedding'),
        (['--prefix', ''], "prefix='' must end with"),
        (['--network', 'iresnet18'], "did you mean 'r18'?"),
        (['--loss-name', 'arcface'], "loss_name='arcface' is not allowed"),
        (['--pretrained', 'x,1', '--pretrained-epoch', '7'], 'are two epochs; give one'),
        (['--pretrained', 'nope,x'], "--pretrained 'nope,x' is not PREFIX,EPOCH"),
        (['--pretrained', 'run/model-0001.params'], 'that file is run/model,1'),
        (['--network', 'r19'], "'r19' is not a network preset"),
        (['--per-batch-size', 'many'], "per_batch_size='many'"),
        (['--ckpt-every', '0'], "--ckpt-every: '0' is not a whole number of at least 1"),
        (['--pretrained', 'nothing,3', '--num-classes', '0'], 'nothing-symbol.json does not exist'),
    ],
)
def test_bad_options_are_named(folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    small = ['--net-multiplier', '0.0625', '--image-shape', f'{SIDE},{SIDE},3', '--per-batch-size', '6']
    with pytest.raises(FaceSymbolsError, match=re.escape(message)):
        main(['--network', 'r18', '--dataset-path', str(folder), *small, *words])
    assert list(tmp_path.iterdir()) == []
