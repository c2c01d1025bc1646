"""Jobs of several real processes on this machine: they compute what one process does, and end when one of them dies."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from config.errors import ConfigError, FaceSymbolsError
from recognition.interrupt import StopRequest
from recognition.launch import HERE, Job, Plan, read_hosts, remote_words
from recognition.state import load_state
from recognition.train import train
from tests.recognition.training import ROOT, command, config, write_faces

WITHOUT_NORM = """
    import json, sys
    import numpy as np
    from config import resolve
    from recognition.data import FaceDataset, FaceLoader
    from recognition.partial import is_partial
    from recognition.trainer import Trainer
    from recognition.workers import Workers
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
        workers = Workers('device', contexts)
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


PRINTS = """if True:
    import os, sys
    print(os.getcwd(), os.environ['A'], os.environ['DMLC_NODE_HOST'], sys.argv[1:])
"""
FAILS_ALONE = """
    from recognition.cli import run
    from config.errors import DataError
    from recognition.workers import Workers
    import mxnet as mx

    def main():
        workers = Workers('device', [mx.cpu()])
        if workers.rank == 1:
            raise ERROR('bad image')
        workers.total([1.0])

    run(main)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A data set with one set of pairs."""
    return write_faces(tmp_path_factory.mktemp('faces'))


def run(command, logs, *, workers=2, servers=1, **options):
    Job(Plan([*map(str, command)], workers, servers, logs, **options)).run(StopRequest())


@pytest.mark.parametrize(
    ('workers', 'servers', 'more', 'devices'),
    [
        (2, 1, {'clip_norm': 2.0}, 1),
        (3, 2, {'clip_norm': 2.0}, 1),
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
    alone = [sys.executable, script, folder, tmp_path / 'one', 12, 1, json.dumps(more), shards]
    subprocess.run([*map(str, alone)], cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)}, check=True)
    with pytest.MonkeyPatch.context() as patch:
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
    assert 'is there already; go on with --resume' in str(caught.value)


def victim(logs, role, deadline=60):
    """Return the process of a role, once the job's first steps are made."""
    begin = time.monotonic()
    while 'step 4/' not in (told := ''.join(log.read_text() for log in logs.glob('worker-*.log'))):
        assert time.monotonic() < begin + deadline, told
        time.sleep(0.05)
    roles = {}
    for process in left(logs.parent):
        with suppress(OSError):
            text = (Path('/proc') / str(process) / 'environ').read_text()
            parent = int(
                re.search(r'\) \w (\d+)', (Path('/proc') / str(process) / 'stat').read_text()).group(1)
            )
            roles[process] = (re.search(r'DMLC_ROLE=(\w+)', text), parent)
    own = [
        p for p, (found, parent) in roles.items() if found and found.group(1) == role and not roles[parent][0]
    ]
    return own[0]  # not one that a worker has forked


@pytest.fixture
def launched(folder, tmp_path):
    """The launcher of a training that would go on for hours; whatever is left of it at the end is killed."""
    words = [sys.executable, '-W', 'ignore', '-m', 'tools.launch', '-n', '2', '-s', '1']
    words += ['--logs', tmp_path / 'logs', '--']
    words += command(folder, tmp_path / 'run' / 'model', end_epoch=5000, per_batch_size=3)
    job = subprocess.Popen(
        [*map(str, words)],
        cwd=ROOT,
        env={**os.environ, 'JOB': str(tmp_path / 'logs')},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield job
    job.kill()
    for process in left(tmp_path):
        os.kill(process, signal.SIGKILL)


def left(tmp_path):
    """Return the processes of a job that there are."""
    found = []
    for path in Path('/proc').glob('[0-9]*/environ'):
        with suppress(OSError):
            if f'JOB={tmp_path / "logs"}'.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def gone(tmp_path):
    """Whether all processes of the job end within a few seconds."""
    for _ in range(50):
        if not left(tmp_path):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize('role', ['worker', 'server', 'scheduler'])
def test_a_killed_process_ends_the_job_within_seconds(launched, tmp_path, role):
    os.kill(victim(tmp_path / 'logs', role), signal.SIGKILL)
    begin = time.monotonic()
    _, errors = launched.communicate(timeout=60)
    assert time.monotonic() - begin < 15
    assert launched.returncode == 1
    last = errors[errors.index('error: ') :]
    assert re.match(
        rf'error: {role}( \d)? \(process \d+\) was killed by SIGKILL, so the job was ended; ', last
    )
    assert 'Traceback' not in errors
    assert gone(tmp_path)


@pytest.mark.slow
def test_a_worker_that_fails_ends_the_job_and_does_not_wait_for_the_others(launched, tmp_path):
    worker = victim(tmp_path / 'logs', 'worker')
    children = Path(f'/proc/{worker}/task/{worker}/children').read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)  # that decodes images for it
    _, errors = launched.communicate(timeout=30)
    assert launched.returncode == 1
    assert re.search(r'error: worker \d \(process \d+\) ended with status 1, so the job was ended', errors)
    assert 'a worker that decodes the images of' in errors
    assert gone(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_ending_the_launcher_ends_the_workers(launched, tmp_path, number):
    victim(tmp_path / 'logs', 'worker')
    launched.send_signal(number)
    _, errors = launched.communicate(timeout=60)
    assert gone(tmp_path)
    if number != signal.SIGKILL:
        assert launched.returncode == 130
        assert re.search(r'stopped by \w+ after step \d+; saved .*model-\d+\.params; go on with: ', errors)
        assert len(list((tmp_path / 'run').glob('*.state'))) > 0
    assert 'Traceback' not in errors


def refused(error, words, **options):
    with pytest.raises(error, match=words) as caught:
        Job(Plan(**{'command': ['true'], 'workers': 1, 'servers': 1, 'logs': Path('nowhere'), **options}))
    assert '\n' not in str(caught.value)


def test_what_cannot_be_started_is_named(tmp_path):
    with socket.socket() as other:
        other.bind((HERE, 0))
        other.listen()
        port = other.getsockname()[1]
        refused(ConfigError, rf'cannot listen on 127\.0\.0\.1:{port}: Address already in use', port=port)
    refused(ConfigError, 'cannot listen on 192.0.2.1:0: Cannot assign', address='192.0.2.1')
    refused(ConfigError, 'cannot listen on .*:99999', port=99999)
    refused(ConfigError, '0 workers: a job has at least one', workers=0)
    refused(ConfigError, '-1 servers', servers=-1)
    refused(ConfigError, 'command of the workers is missing', command=[])
    refused(ConfigError, "the command 'no-such-thing' is not to be found", command=['no-such-thing'])
    refused(ConfigError, 'the hosts a cannot reach this machine under 127.0.0.1', hosts=['a'])


def test_a_worker_that_fails_is_quoted(tmp_path):
    with pytest.raises(FaceSymbolsError, match=r'worker 0 .* ended with status 3, so .*:\n    one\n    two$'):
        run(['sh', '-c', 'echo one; echo two >&2; exit 3'], tmp_path, workers=1)


def test_processes_on_hosts_are_started_by_the_words_for_it_and_quoted(tmp_path, monkeypatch):
    """The hosts are this machine, and a shell stands for ssh: what ssh runs on a host it runs here."""
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    there = {'hosts': ['me@localhost'], 'ssh': ['sh', '-c', 'exec sh -c "$2"', 'ssh']}
    sentence = r'worker 0 on me@localhost was killed by SIGKILL, so .*:\n    127\.0\.0\.1$'
    with pytest.raises(FaceSymbolsError, match=sentence):
        run(['sh', '-c', 'echo $DMLC_NODE_HOST; kill -9 $$'], tmp_path, workers=1, **there)


@pytest.mark.parametrize(('error', 'shown'), [('DataError', 'error'), ('ZeroDivisionError',) * 2])
def test_a_worker_that_fails_alone_ends_the_job(tmp_path, monkeypatch, error, shown):
    """MXNet would have it wait at its end for the other, which waits for it."""
    script = tmp_path / 'fail.py'
    script.write_text(textwrap.dedent(FAILS_ALONE.replace('ERROR', error)))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    begin = time.monotonic()
    with pytest.raises(FaceSymbolsError, match=r'worker \d .*ended with status 1, so .*') as caught:
        run([sys.executable, script], tmp_path / 'logs')
    assert re.search(rf'\n    {shown}: bad image$', str(caught.value))
    assert time.monotonic() - begin < 30


def test_hosts_are_read_from_lines(tmp_path):
    path = tmp_path / 'hosts'
    path.write_text('# cluster\nfirst\n\n me@second # fast\n')
    assert read_hosts(path) == ['first', 'me@second']
    for text, words in (
        ('', 'names no host'),
        ('a b', "'a b' is no host"),
        ('-oProxyCommand=x', 'is no host'),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_hosts(path)
    with pytest.raises(ConfigError, match=r'cannot read the hosts in .*: No such file'):
        read_hosts(tmp_path / 'none')


def test_a_worker_on_a_host_is_asked_to_stop(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    waits = (
        'import pathlib, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); '
        f'pathlib.Path({str(tmp_path / "ready")!r}).touch(); signal.sigwait([15]); print("saved")'
    )
    ssh = ('sh', '-c', 'exec sh -c "$2"', 'ssh')
    plan = Plan([sys.executable, '-c', waits], 1, 1, tmp_path / 'logs', hosts=('localhost',), ssh=ssh)

    class Stop:
        def __bool__(self):
            return (tmp_path / 'ready').exists()

    Job(plan).run(Stop())
    assert 'saved' in (tmp_path / 'logs' / 'worker-0.log').read_text()


def test_the_words_for_a_host_survive_its_shell(tmp_path, monkeypatch):
    odd = tmp_path / "a 'folder' $HOME"
    odd.mkdir()
    monkeypatch.chdir(odd)
    words = remote_words(
        [sys.executable, '-c', PRINTS, '$B "c'],
        {'A': 'x y', 'DMLC_NODE_HOST': 'a name of mine'},
        towards='127.0.0.1',
    )
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    told = subprocess.Popen(['sh', '-c', words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert told.stdout.read() == f"{odd} x y 127.0.0.1 ['$B \"c']\n"
    told.stdin.close()
    assert told.wait() == 0


def test_dist_without_a_job_and_dist_async_are_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="kvstore='dist_sync' is for a worker of several"):
        train(config(folder, kvstore='dist_sync'), prefix=tmp_path / 'model')
    with pytest.raises(ConfigError, match="kvstore='dist_async' makes its updates in the order"):
        train(config(folder, kvstore='dist_async'), prefix=tmp_path / 'model')
    monkeypatch.setenv('DMLC_ROLE', 'worker')
    with pytest.raises(ConfigError, match='DMLC_PS_ROOT_URI is not'):
        train(config(folder), prefix=tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []
