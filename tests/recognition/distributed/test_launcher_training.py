"""Training by several workers: they compute what one does, and go on where they were broken off."""

from __future__ import annotations

import json
import runpy
import sys
import textwrap

import numpy as np
import pytest

from config.errors import ConfigError, FaceSymbolsError
from recognition.checkpoint.training_state import load_state
from recognition.train import train
from tests.helpers.jobs import run
from tests.helpers.training import ROOT, command, config

WITHOUT_NORM = """
    import json, sys
    import numpy as np
    from config import resolve
    from recognition.data import FaceDataset, FaceLoader
    from config.checks import is_partial
    from recognition.training.trainer import Trainer
    from recognition.distributed.kvstore import KVStoreGroup
    import mxnet as mx

    folder, out, batch, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    x = (mx.sym.var('data') - 127.5) * 0.0078125
    x = mx.sym.Convolution(x, num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True, name='conv0')
    x = mx.sym.Activation(x, act_type='relu', name='relu0')
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=8, name='fc1')
    shape = (32, 32, 3)
    more = json.loads(sys.argv[5])
    cfg = resolve('r18', 'folder', 'cosface', emb_size=8, num_classes=6, image_shape=shape, loss_s=8.0, **more)
    with FaceLoader(FaceDataset(folder), batch, seed=3, workers=0) as loader:
        contexts = [mx.cpu(device) for device in range(int(sys.argv[6]))]
        workers = KVStoreGroup('device', contexts)
        loader.share(workers.rank, workers.size)
        cfg.seed = seed
        if not is_partial(cfg):  # whose rows no worker gets from another
            cfg.seed += workers.rank  # other first values, which must not matter
        trainer = Trainer(symbol, cfg, lambda step: 0.1, contexts, workers)
        trainer.begin()
        trainer.seed = 1
        told = []
        for epoch in range(2):
            for images, labels in loader.epoch(epoch):
                result = trainer.step(images, labels)
                told.append([workers.total([result.losses.sum()])[0], result.norm])
    np.savez(f'{out}-{workers.rank}.npz', told=told, **trainer.arrays())
"""

WEIGHTED_CLASSES = {
    'loss_name': 'cross_entropy',
    'net_output': 'classifier',
    'label_smoothing': 0.1,
    'class_weights': [0.2, 3.0, 1.0, 0.5, 2.0, 0.7, 1.0, 1.0],  # of the network's eight outputs
}


@pytest.mark.parametrize(
    ('workers', 'servers', 'more', 'devices'),
    [
        pytest.param(2, 1, {'clip_norm': 2.0}, 1, marks=pytest.mark.slow),
        (3, 2, {'clip_norm': 2.0}, 1),
        pytest.param(2, 1, {'freeze': ['conv0_']}, 1, marks=pytest.mark.slow),
        pytest.param(2, 1, WEIGHTED_CLASSES, 1, marks=pytest.mark.slow),
        (2, 1, {'fc7_sharded': True, 'loss_m2': 0.3, 'clip_norm': 2.0}, 1),
        pytest.param(3, 1, {'sample_rate': 0.6, 'loss_name': 'adaface'}, 2, marks=pytest.mark.slow),
    ],
)
def test_workers_compute_what_one_process_does_with_the_whole_batch(
    folder, tmp_path, workers, servers, more, devices
):
    script = tmp_path / 'train.py'
    script.write_text(textwrap.dedent(WITHOUT_NORM))
    # identities are drawn shard by shard, so that one process has as many devices as the workers together
    shards = workers * devices if 'sample_rate' in more else 1
    alone = [script, folder, tmp_path / 'one', 12, 1, json.dumps(more), shards]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [*map(str, alone)])
        runpy.run_path(str(script))
        patch.setenv('PYTHONPATH', str(ROOT))
        together = [sys.executable, script, folder, tmp_path / 'all', 12 // workers, 1]
        together += [json.dumps(more), devices]
        run(together, tmp_path / 'logs', workers=workers, servers=servers)
    one = np.load(tmp_path / 'one-0.npz')
    for rank in range(workers):
        part = np.load(tmp_path / f'all-{rank}.npz')
        assert sorted(part) == sorted(one)
        for key in one:
            np.testing.assert_allclose(part[key], one[key], rtol=1e-5, atol=1e-6, err_msg=f'{rank} {key}')


@pytest.mark.slow
@pytest.mark.parametrize('more', [{'ema': 0.9}, {'sample_rate': 0.8, 'best': 'val'}])
def test_a_job_that_was_broken_off_goes_on_as_if_it_had_not_been(folder, tmp_path, monkeypatch, more):
    monkeypatch.chdir(ROOT)
    small = {'per_batch_size': 3, 'end_epoch': 9, 'verbose': 4, 'val_targets': 'val', **more}

    def go(name, steps, *words):
        prefix = tmp_path / name / 'model'
        words = [*command(folder, prefix, max_steps=steps, **small), *words]
        run(words, tmp_path / f'{name}-logs')
        return load_state(prefix, -(-steps // 8))

    whole = go('whole', 14)
    go('parts', 5)
    parts = go('parts', 14, '--resume')
    for key, value in whole.arrays.items():
        # the mean of the workers' moving statistics is taken more often where there are more ends
        tolerance = 1e-5 if 'moving' in key else 0.0
        np.testing.assert_allclose(parts.arrays[key], value, rtol=tolerance, atol=tolerance, err_msg=key)
    assert whole.progress == parts.progress
    with pytest.raises(FaceSymbolsError, match=r'worker \d .*ended with status 1') as caught:
        go('parts', 20)
    assert 'already exists; resume with --resume' in str(caught.value)


def test_dist_without_a_job_and_dist_async_are_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="kvstore='dist_sync' is for a worker of several"):
        train(config(folder, kvstore='dist_sync'), prefix=tmp_path / 'model')
    with pytest.raises(ConfigError, match="kvstore='dist_async' makes its updates in the order"):
        train(config(folder, kvstore='dist_async'), prefix=tmp_path / 'model')
    monkeypatch.setenv('DMLC_ROLE', 'worker')
    with pytest.raises(ConfigError, match='DMLC_PS_ROOT_URI is not'):
        train(config(folder), prefix=tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []
