"""The launcher: what it starts and where, what it reads, and what it refuses."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from config.errors import ConfigError, FaceSymbolsError
from recognition.distributed import launcher
from recognition.distributed.job_plan import HERE, Plan, read_hosts
from recognition.distributed.launcher import Job, remote_words
from tests.helpers.jobs import run
from tests.helpers.training import ROOT

PRINTS = """if True:
    import os, sys
    print(os.getcwd(), os.environ['A'], os.environ['DMLC_NODE_HOST'], sys.argv[1:])
"""


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


def test_hosts_are_read_from_lines(tmp_path):
    path = tmp_path / 'hosts'
    path.write_text('# cluster\nfirst\n\n me@second # fast\n')
    assert read_hosts(path) == ['first', 'me@second']
    for text, words in (
        ('', 'does not name a host'),
        ('a b', "'a b' is not a host"),
        ('-oProxyCommand=x', 'is not a host'),
        ('b ' * 5000, r"hosts: '(b ){30}' is not a host"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_hosts(path)
    with pytest.raises(ConfigError, match=r'cannot be read: No such file'):
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


def test_hosts_are_dealt_in_turn(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(Job, '_start', lambda job, *process: started.append(process))
    monkeypatch.setattr(Job, '_watch', lambda job, stop: None)
    run(['true'], tmp_path, workers=3, servers=2, hosts=('a@localhost', 'b@localhost'))
    assert [(role, host[:1]) for role, _, host in started] == [
        ('scheduler', ''),
        *(('server', host) for host in 'ab'),
        *(('worker', host) for host in 'aba'),
    ]


@pytest.mark.parametrize(('cores', 'workers', 'threads'), [(2, 4, '1'), (8, 2, '4'), (7, 3, '2')])
def test_the_workers_of_one_machine_share_its_cores(tmp_path, monkeypatch, cores, workers, threads):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(launcher, 'physical_cores', lambda: cores)
    job = Job(Plan(['true'], workers, 1, tmp_path))
    assert job._variables('worker')['OMP_NUM_THREADS'] == threads
    assert 'OMP_NUM_THREADS' not in job._variables('server')
