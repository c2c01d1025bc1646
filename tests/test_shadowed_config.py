"""Where another module is named `config`, `symbols` and `recognition` say which file it is and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSIGHTFACE = """
import sys
from easydict import EasyDict
config, default = EasyDict(net_name='fresnet'), EasyDict()
sys.stdout.write('their config runs\\n')
"""
IMPORTS = (
    'from symbols import get_symbol',
    'import recognition',
    'from recognition.cli import run',
    'from recognition.embed import Embedder',
)


def python(*argv, path=(ROOT,), cwd=None):
    """Run Python with `path` before its packages, and return (status, last line of standard error, output)."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *map(str, argv)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr.strip().rpartition('\n')[2], done.stdout


def hidden(found, kind='ImportError'):
    """Return the last line of a program that finds another `config`."""
    return (
        f'{kind}: {found} hides the package config of facesymbols, which has the same names and keys as '
        f"InsightFace's config.py: remove that {found.name} (uninstall it if pip installed it), or rename it to "
        'my_config, for example, and pass its object: get_symbol(my_config.config)'
    )


@pytest.mark.parametrize('line', IMPORTS)
def test_a_config_beside_the_script_is_reported_and_not_run(tmp_path, line):
    (tmp_path / 'config.py').write_text(INSIGHTFACE)
    script = tmp_path / 'train.py'
    script.write_text(line)
    assert python(script) == (1, hidden(tmp_path / 'config.py'), '')


def test_a_config_that_the_script_has_imported_itself_is_reported(tmp_path):
    (tmp_path / 'config.py').write_text(INSIGHTFACE)
    script = tmp_path / 'train.py'
    script.write_text('from config import config, default\nfrom symbols import get_symbol')
    assert python(script) == (1, hidden(tmp_path / 'config.py'), 'their config runs\n')


def test_a_config_in_the_folder_where_training_is_started_is_reported(tmp_path):
    (tmp_path / 'config.py').write_text(INSIGHTFACE)
    words = hidden(tmp_path / 'config.py', 'error')
    assert python('-m', 'recognition.train', '--help', cwd=tmp_path) == (1, words, '')


@pytest.mark.parametrize('line', IMPORTS[:3])
def test_another_package_named_config_is_reported(tmp_path, line):
    package = tmp_path / 'site-packages' / 'config'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(INSIGHTFACE)
    (package / 'compat.py').write_text('def prepare_mxnet(): ...')
    assert python('-c', line, path=[package.parent, ROOT], cwd=tmp_path) == (1, hidden(package), '')


def test_another_package_named_symbols_is_reported(tmp_path):
    (tmp_path / 'symbols').mkdir()
    (tmp_path / 'symbols' / '__init__.py').touch()
    status, last, _ = python('-m', 'recognition', 'plot', 'r18', cwd=tmp_path)
    assert (status, last) == (
        1,
        f'error: {tmp_path / "symbols"} hides the package symbols of facesymbols: remove or rename it (uninstall it if '
        'pip installed it)',
    )


NOT_INSTALLED = 'error: the package {0} is missing: pip install {0}'


@pytest.mark.parametrize(
    ('package', 'raised', 'words'),
    [
        ('easydict', "ModuleNotFoundError('', name='easydict')", NOT_INSTALLED.format('easydict')),
        ('numpy', "ModuleNotFoundError('', name='numpy')", NOT_INSTALLED.format('numpy')),
        (
            'numpy',
            r"ImportError('\nIMPORTANT: PLEASE READ')",
            'error: numpy cannot be imported: pip install --force-reinstall numpy',
        ),
    ],
)
def test_a_program_without_its_packages_says_so_in_a_line(tmp_path, package, raised, words):
    (tmp_path / f'{package}.py').write_text(f'raise {raised}')
    for command in ('doctor', '--help'):
        done = python('-m', 'recognition', command, path=(tmp_path, ROOT), cwd=ROOT)
        assert done == (1, words, '')


@pytest.mark.parametrize('init', [INSIGHTFACE, None], ids=['replaced', 'removed'])
@pytest.mark.parametrize('line', IMPORTS[:2])
def test_a_package_installed_over_ours_is_reported(tmp_path, line, init):
    for name in ('config', 'symbols', 'recognition'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    path = tmp_path / 'config' / '__init__.py'
    path.unlink() if init is None else path.write_text(init)
    status, last, _ = python('-c', line, path=[tmp_path], cwd=tmp_path)
    assert (status, last.partition(':')[0]) == (1, 'ImportError')
    assert f'{path.parent} was the package config of facesymbols' in last


def test_a_folder_named_config_without_an_init_file_hides_nothing(tmp_path):
    (tmp_path / 'config').mkdir()
    script = tmp_path / 'train.py'
    script.write_text('import recognition, config\nprint(config.__file__)')
    assert python(script) == (0, '', f'{ROOT / "config" / "__init__.py"}\n')


def test_ours_may_be_reached_by_a_link(tmp_path):
    for name in ('config', 'symbols', 'recognition'):
        (tmp_path / name).symlink_to(ROOT / name)
    assert python('-c', 'import recognition', path=[tmp_path], cwd=tmp_path) == (0, '', '')


def test_a_renamed_config_goes_as_its_object(tmp_path):
    (tmp_path / 'my_config.py').write_text(INSIGHTFACE + 'config.update(num_layers=18, emb_size=8)')
    script = tmp_path / 'train.py'
    script.write_text(
        'import my_config\nfrom symbols import get_symbol\nprint(get_symbol(my_config.config).list_outputs())'
    )
    assert python(script) == (0, '', "their config runs\n['fc1_output']\n")
