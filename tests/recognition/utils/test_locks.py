from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from config.errors import ConfigError
from recognition.utils.files import remove_leftovers
from recognition.utils.locks import locked
from tests.helpers.training import ROOT

HOLDS = """if True:
    import os, sys, time
    from recognition.utils.locks import locked
    with locked(sys.argv[1]):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        print('held', flush=True)
        time.sleep(60)
"""
COUNTS = """if True:
    import sys
    from pathlib import Path
    from recognition.utils.locks import locked
    count = Path(sys.argv[1])
    for _ in range(50):
        with locked(count, wait=True):
            count.write_text(str(int(count.read_text()) + 1))
"""


def program(code, *words, **options):
    command = [sys.executable, '-c', code, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, **options)


def test_the_holder_is_named_and_its_death_releases_the_lock_though_a_fork_lives_on(tmp_path):
    path = tmp_path / 'runs' / 'model'
    holder = program(HOLDS, path, start_new_session=True)
    try:
        assert holder.stdout.readline() == 'held\n'
        since = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'
        words = f'in use by process {holder.pid} on {re.escape(socket.gethostname())} since {since}; wait'
        with pytest.raises(ConfigError, match=words) as caught, locked(path):
            pass
        assert '\n' not in str(caught.value)
        holder.kill()
        holder.wait()
        assert [each.name for each in path.parent.iterdir()] == ['.model.lock']
        with locked(path):
            pass
        assert list(path.parent.iterdir()) == []
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.stdout.close()


def test_a_lock_that_is_removed_at_its_end_is_never_held_twice(tmp_path):
    count = tmp_path / 'count'
    count.write_text('0')
    counters = [program(COUNTS, count) for _ in range(4)]
    assert [each.wait(240) for each in counters] == [0] * 4
    for each in counters:
        each.stdout.close()
    assert count.read_text() == '200'
    assert list(tmp_path.iterdir()) == [count]


def test_a_thread_is_kept_out_too_and_folders_that_were_made_go(tmp_path):
    told = []

    def second():
        try:
            with locked(tmp_path / 'a' / 'b' / 'model'):
                told.append('held')
        except ConfigError as error:
            told.append(str(error))

    with locked(tmp_path / 'a' / 'b' / 'model'):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert f'in use by process {os.getpid()} on' in told[0]
    assert list(tmp_path.iterdir()) == []


def test_who_waits_says_for_whom(tmp_path, monkeypatch):
    monkeypatch.setattr('recognition.utils.locks.PATIENCE', 0.0)
    path, warned, words = tmp_path / 'cache', threading.Event(), []
    monkeypatch.setattr(
        'recognition.utils.locks.logger.warning',
        lambda *given: (words.append(given[0] % given[1:]), warned.set()),
    )

    def second():
        with locked(path, wait=True):
            pass

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert warned.wait(60)
    assert f'cache is in use by process {os.getpid()} on ' in words[0]
    thread.join(60)
    assert not thread.is_alive()


def test_where_no_lock_can_be_the_reason_is_told(tmp_path, monkeypatch, caplog):
    (tmp_path / 'file').write_text('in the way')
    path = tmp_path / 'file' / 'model'
    with pytest.raises(ConfigError, match=f'{path} cannot be written: Not a directory'), locked(path):
        pass
    monkeypatch.setattr('fcntl.flock', lambda *_: (_ for _ in ()).throw(OSError(37, 'No locks available')))
    with locked(tmp_path / 'model'):
        assert 'model cannot be locked: No locks available; nothing keeps' in caplog.text


@pytest.mark.parametrize('kind', ['link', 'hard link', 'link to nothing', 'file', 'folder', 'pipe'])
def test_what_is_not_a_lock_file_is_neither_written_nor_removed(tmp_path, kind):
    precious, lock = tmp_path / 'precious.txt', tmp_path / '.model.lock'
    if kind != 'link to nothing':
        precious.write_text('precious')
    make = {'hard link': os.link, 'file': os.rename, 'folder': lambda _, to: to.mkdir()}
    make['pipe'] = lambda _, to: os.mkfifo(to)
    make.get(kind, os.symlink)(precious, lock)
    before = {each.name: each.is_file() and each.read_text() for each in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r'\.model\.lock is not a lock file'), locked(tmp_path / 'model'):
        pass
    assert {each.name: each.is_file() and each.read_text() for each in tmp_path.iterdir()} == before


def test_an_output_has_one_lock_by_whatever_path_it_is_named(tmp_path, monkeypatch):
    (tmp_path / 'real' / 'sub').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'real' / 'sub')
    monkeypatch.chdir(tmp_path / 'real')
    with locked(tmp_path / 'link' / '..' / 'model'):
        for path in ('model', '../real/model', tmp_path / 'real' / 'model'):
            with pytest.raises(ConfigError, match='is in use by'), locked(path):
                pass
    with locked('.'):
        for path in (tmp_path / 'real', 'sub/..', f'{tmp_path}/real/'):
            with pytest.raises(ConfigError, match='is in use by'), locked(path):
                pass
    assert sorted(each.name for each in tmp_path.iterdir()) == ['link', 'real']


def test_a_lock_that_was_removed_by_hand_leaves_the_next_one_alone(tmp_path):
    lock = tmp_path / '.model.lock'
    with locked(tmp_path / 'model'):
        lock.unlink()
        lock.write_text('process 1 on another since then\n')
    assert lock.read_text() == 'process 1 on another since then\n'


def test_temporary_files_of_a_program_that_runs_stay(tmp_path):
    running = program('input()', stdin=subprocess.PIPE)
    ended = program('')
    ended.wait()
    names = [f'.model{more}.{each.pid}.tmp' for more in ('', '2-0001.params') for each in (running, ended)]
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / 'model')
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(names[::2])
    running.communicate('')
    ended.stdout.close()


@pytest.mark.parametrize(
    ('output', 'words'),
    [
        ('net.svg', ['plot', 'r18']),
        ('net.md', ['audit', 'r18', '--format', 'markdown']),
        ('mine.npz', ['embed', 'FOLDER', '--model', 'FOLDER/none,1']),
        ('mine/train.rec', ['pack', 'FOLDER/faces']),
        ('mine.bin', ['pack', '--pairs', 'FOLDER/pairs.txt']),
    ],
)
def test_a_command_is_refused_while_another_one_makes_its_output(tmp_path, output, words):
    (tmp_path / 'pairs.txt').write_text('a b 1\n')
    (tmp_path / 'faces' / 'one').mkdir(parents=True)
    (tmp_path / 'faces' / 'one' / 'a.jpg').touch()
    path = tmp_path / output
    chosen = path.parent if path.parent != tmp_path else path
    words = [word.replace('FOLDER', str(tmp_path)) for word in words]
    with locked(path):
        done = subprocess.run(
            [sys.executable, '-m', 'recognition', *words, '-o', chosen],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert re.fullmatch(f'error: {path} is in use by process {os.getpid()} on .*\n', done.stderr)
    assert sorted(each.name for each in tmp_path.iterdir()) == ['faces', 'pairs.txt']
