"""`facesymbols doctor`: what is installed, and what to do where something does not go together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.commands import doctor

ROOT = Path(__file__).resolve().parents[2]
MISSING = 'OSError: no such file:'


def report(*before, **variables):
    """Run the command, without mxnet where `before` hides it; return its status and lines."""
    program = '; '.join([*before, 'from recognition.commands.main import main', "main(['doctor'])"])
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ''
    return done.returncode, done.stdout.splitlines()


@pytest.mark.slow
def test_this_environment_is_fit():
    status, lines = report()
    assert status == 0
    found = {line[:24].strip(): line[24:] for line in lines}
    assert list(found) == ['python', 'numpy', 'mxnet', *(each.name for each in doctor.PACKAGES)]
    assert (found['numpy'], found['mxnet']) == (np.__version__, '1.9.1')
    assert [line for line in lines if 'not installed' in line and 'pnnx' not in line] == []


def test_no_mxnet(monkeypatch):
    monkeypatch.setattr(doctor, 'find_spec', lambda name: None)
    monkeypatch.setattr(doctor.platform, 'system', lambda: 'Linux')
    monkeypatch.setattr(doctor.platform, 'machine', lambda: 'x86_64')
    assert doctor.mxnet() == ('mxnet', 'not installed', 'pip install --no-deps mxnet==1.9.1')
    monkeypatch.setattr(doctor.platform, 'system', lambda: 'Windows')
    _, words, problem = doctor.mxnet()
    assert 'has no wheel for Windows on x86_64; records, verification' in words
    assert problem == ''  # there is nothing to mend


@pytest.mark.parametrize(
    ('said', 'problem'),
    [
        (
            f'{MISSING} libgomp.so.1',
            f'a system library is missing ({MISSING} libgomp.so.1): apt install libgomp1 libquadmath0 (Debian, Ubuntu)',
        ),
        (
            f'{MISSING} libgfortran.so.3',  # in mxnet's own folder
            f'it cannot be imported ({MISSING} libgfortran.so.3): pip install --no-deps --force-reinstall mxnet==1.9.1',
        ),
        (
            "MissingExtra: No module named 'requests'",
            'it needs the package requests: pip install requests',
        ),
    ],
)
def test_an_mxnet_without_what_it_needs(said, problem, monkeypatch):
    monkeypatch.setattr(doctor, '_import', lambda *modules: ('?', said))
    assert doctor.mxnet().problem == problem


def test_another_mxnet(monkeypatch):
    monkeypatch.setattr(doctor, '_import', lambda *modules: ('1.8.0', ''))
    monkeypatch.setattr(doctor, 'package_version', lambda name: '1.8.0')
    assert doctor.mxnet().problem == '1.8.0 is not supported: pip install --no-deps mxnet==1.9.1'


def test_a_package_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / 'h5py.py').write_text(
        r"raise ImportError('numpy.core.multiarray failed to import\nand more')"
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    (package,) = [each for each in doctor.PACKAGES if each.module == 'h5py']
    assert doctor.optional(package).problem == (
        'it cannot be imported (ImportError: numpy.core.multiarray failed to import): pip install -U h5py'
    )


def test_a_package_by_another_of_its_names(monkeypatch):
    """`pip install opencv-python` brings cv2, too."""
    monkeypatch.setattr(doctor, 'package_version', lambda name: None)
    (package,) = [each for each in doctor.PACKAGES if each.module == 'cv2']
    assert doctor.optional(package) == ('opencv-python-headless', cv2.__version__, '')


def test_a_python_and_a_numpy_that_were_not_tried(monkeypatch):
    monkeypatch.setattr(sys, 'version_info', (3, 14, 0))
    assert doctor.python().words.endswith('; the tests run on Python 3.9 to 3.13')
    monkeypatch.setattr(doctor, 'package_version', lambda name: '1.22.4')
    assert doctor.numpy() == ('numpy', '1.22.4', "it is older than 1.23: pip install -U 'numpy>=1.23'")


def test_status_and_words_of_a_problem(monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'PACKAGES', ())
    monkeypatch.setattr(doctor, 'mxnet', lambda: doctor.Finding('mxnet', '1.6.0', 'it is old'))
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.endswith('\n\nmxnet: it is old\n')


def test_arm_without_arms_libraries(monkeypatch):
    said = 'OSError: libarmpl_lp64_mp.so: cannot open shared object file: No such file or directory'
    monkeypatch.setattr(doctor, '_import', lambda *modules: ('?', said))
    problem = doctor.mxnet().problem
    assert said in problem
    for name in ('libarmpl_lp64_mp.so', 'libastring.so', 'libamath.so'):
        assert re.search(rf'ln -s \$L/\S+ {name}( |$)', problem)
