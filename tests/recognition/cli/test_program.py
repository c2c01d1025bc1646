"""What surrounds every program: one word for Ctrl-C, one sentence for an output that is gone, and the status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CTRL_C = 'import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n'
PROGRAM = """
from recognition.cli import run
def main():
{body}
if __name__ == '__main__':
    run(main)
"""


def python(*words, path=(), **options):
    """Run Python with `path` before the checkout on its search path; options are those of subprocess.run."""
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(map(str, [*path, ROOT])),
        'PYTHONUNBUFFERED': '',
    }
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **options}
    return subprocess.run(
        [sys.executable, '-W', 'ignore', *words], env=environment, text=True, timeout=60, **options
    )


@pytest.fixture
def interrupting(tmp_path):
    """A folder with an mxnet that is interrupted while it is imported, as the real one is by an early Ctrl-C.

    Empty files pass for a data set and a checkpoint, which are looked at before mxnet is imported, not read.
    """
    for name in ('train.rec', 'property', 'model-symbol.json', 'model-0001.params'):
        (tmp_path / name).touch()
    (tmp_path / 'mxnet').mkdir()
    (tmp_path / 'mxnet' / '__init__.py').write_text(CTRL_C)
    return tmp_path


@pytest.mark.parametrize(
    'words',
    [
        ['-m', 'recognition.train', '--dataset-path', 'FOLDER'],
        ['-m', 'recognition', 'audit', 'r18'],
        ['-m', 'tools.audit_net', 'r18'],
        [str(ROOT / 'tools' / 'audit_net.py'), 'r18'],
        [str(ROOT / 'tools' / 'plot_net.py'), 'r18'],
        [str(ROOT / 'tools' / 'demo.py'), '-o', 'demo'],
        [str(ROOT / 'tools' / 'write_tables.py')],
        [str(ROOT / 'tools' / 'export_onnx.py'), '--model', 'model,1', '-o', 'net.onnx'],
    ],
)
def test_ctrl_c_while_mxnet_is_imported_is_one_word(words, interrupting):
    folder = ROOT if words[0] == '-m' else interrupting
    words = [str(interrupting) if word == 'FOLDER' else word for word in words]
    done = python(*words, path=[interrupting], cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (130, '', 'interrupted\n')


def test_a_script_that_uses_the_library_keeps_its_traceback(interrupting):
    done = python('-c', 'import recognition.training', path=[interrupting])
    assert done.returncode != 130
    assert done.stderr.startswith('Traceback')
    assert 'KeyboardInterrupt' in done.stderr


def program(tmp_path, body):
    path = tmp_path / 'program.py'
    path.write_text(PROGRAM.format(body='    ' + body))
    return str(path)


@pytest.mark.parametrize(
    ('body', 'status', 'words'),
    [
        ("raise __import__('config').ConfigError('no such thing')", 1, 'error: no such thing\n'),
        ("open('/nowhere/file')", 1, 'error: /nowhere/file: No such file or directory\n'),
        ('raise KeyboardInterrupt', 130, 'interrupted\n'),
        ("raise SystemExit('enough')", 1, 'enough\n'),
        ('return 3', 3, ''),
        ('return None', 0, ''),
    ],
)
def test_status_and_sentence(tmp_path, body, status, words):
    done = python(program(tmp_path, body))
    assert (done.returncode, done.stderr) == (status, words)


@pytest.mark.parametrize('body', ["print('x')", "print('x' * 100_000)", "print('x'); raise SystemExit"])
@pytest.mark.parametrize('options', [[], ['-u']])
def test_an_output_that_is_full_is_one_sentence(tmp_path, body, options):
    with open('/dev/full', 'w') as full:
        done = python(*options, program(tmp_path, body), stdout=full)
    assert done.returncode == 1
    assert done.stderr == 'error: reading or writing failed: No space left on device\n'


def test_an_output_that_is_full_does_not_hide_the_mistake(tmp_path):
    with open('/dev/full', 'w') as full:
        done = python(
            program(tmp_path, "print('x'); raise __import__('config').ConfigError('no')"), stdout=full
        )
    assert (done.returncode, done.stderr) == (1, 'error: no\n')


def test_a_closed_output_is_one_sentence(tmp_path):
    done = python(program(tmp_path, "__import__('sys').stdout.isatty()"), preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert done.stderr == 'error: standard output is closed; send it to /dev/null instead\n'


def test_a_closed_stderr_does_no_harm(tmp_path):
    body = "sys = __import__('sys'); sys.stderr.isatty(); print(sys.stderr.fileno())"
    done = python(program(tmp_path, body), preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (0, '2\n')


@pytest.mark.parametrize('body', ["print('x')", "print('x' * 100_000)"])
def test_a_reader_that_has_gone_is_no_fault(tmp_path, body):
    reader, writer = os.pipe()
    os.close(reader)
    done = python(program(tmp_path, body), stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, '')
