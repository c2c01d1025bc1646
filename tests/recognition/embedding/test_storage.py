"""Embeddings in every format: what is written is read, whole or not at all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from config.errors import ConfigError, DataError, MissingExtra
from recognition.embedding.storage import FORMATS, Embedded, check_output, load_embeddings, save_embeddings
from recognition.utils.packages import install_command

ROOT = Path(__file__).parents[3]
NAMES = ['a.jpg', 'Jürgen/ä b.png', 'c,"d".jpg', 'e']
ROWS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
ABOUT = {'network': 'abc', 'mirror': 'sum'}
EMBEDDED = Embedded(NAMES, ROWS, ABOUT)
EXTRA = [suffix for suffix, kind in FORMATS.items() if kind.packages]


@pytest.mark.parametrize('suffix', FORMATS)
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / 'new' / f'emb{suffix}'
    save_embeddings(path, EMBEDDED)
    names, rows, about = load_embeddings(path)
    assert names == NAMES
    assert about == ABOUT
    np.testing.assert_array_equal(rows, ROWS)
    assert not [file for file in path.parent.iterdir() if file.name.startswith('.')]


def test_other_programs_read_them(tmp_path):
    import pyarrow.parquet
    from safetensors.numpy import load_file

    for suffix in FORMATS:
        save_embeddings(tmp_path / f'emb{suffix}', EMBEDDED)
    with np.load(tmp_path / 'emb.npz') as held:
        np.testing.assert_array_equal(held['embeddings'], ROWS)
        assert held['names'].tolist() == NAMES
    np.testing.assert_array_equal(np.load(tmp_path / 'emb.npy'), ROWS)
    assert (tmp_path / 'emb.txt').read_text('utf-8').splitlines() == NAMES
    np.testing.assert_array_equal(load_file(tmp_path / 'emb.safetensors')['embeddings'], ROWS)
    table = pyarrow.parquet.read_table(tmp_path / 'emb.parquet')
    assert table['name'].to_pylist() == NAMES
    np.testing.assert_array_equal(np.stack(table['embedding'].to_numpy()), ROWS)


@pytest.mark.parametrize('suffix', FORMATS)
def test_a_file_is_replaced_only_where_that_is_asked_for(tmp_path, suffix):
    path = tmp_path / f'emb{suffix}'
    save_embeddings(path, EMBEDDED)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r'already exists; .* --overwrite'):
        save_embeddings(path, Embedded(['b'], ROWS[:1], {}))
    assert path.read_bytes() == before
    save_embeddings(path, Embedded(['b'], ROWS[:1], {}), overwrite=True)
    assert load_embeddings(path).names == ['b']


def test_names_beside_an_array_are_not_written_over(tmp_path):
    (tmp_path / 'emb.txt').write_text('mine')
    with pytest.raises(ConfigError, match=r'emb\.txt already exists'):
        save_embeddings(tmp_path / 'emb.npy', EMBEDDED)
    assert (tmp_path / 'emb.txt').read_text() == 'mine'


def test_a_name_of_two_lines_does_not_go_into_a_list_of_lines(tmp_path):
    odd = Embedded(['a\nb'], ROWS[:1], ABOUT)
    with pytest.raises(DataError, match='is two lines'):
        save_embeddings(tmp_path / 'emb.npy', odd)
    assert not list(tmp_path.iterdir())
    for suffix in ('.npz', '.parquet', '.safetensors'):
        save_embeddings(tmp_path / f'emb{suffix}', odd)
        assert load_embeddings(tmp_path / f'emb{suffix}').names == ['a\nb']


@pytest.mark.parametrize('suffix', FORMATS)
def test_a_damaged_or_missing_file_is_one_sentence(tmp_path, suffix):
    path = tmp_path / f'emb{suffix}'
    with pytest.raises(DataError, match=r'emb\.\w+ cannot be read: No such file'):
        load_embeddings(path)
    save_embeddings(path, EMBEDDED)
    whole = path.read_bytes()
    for content in (b'', b'no embeddings', whole[: len(whole) // 2], whole[: len(whole) - 3]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r'emb\.\w+ (is damaged|holds)') as caught:
            load_embeddings(path)
        assert len(str(caught.value).splitlines()) == 1


def test_a_file_without_its_other_half_and_with_anothers(tmp_path):
    path = tmp_path / 'emb.npy'
    save_embeddings(path, EMBEDDED)
    (tmp_path / 'emb.txt').write_text('a\nb\n')
    with pytest.raises(DataError, match=r'holds 2 names and embeddings of shape \(4, 6\)'):
        load_embeddings(path)
    (tmp_path / 'emb.json').unlink()
    with pytest.raises(DataError, match=r'emb\.json cannot be read'):
        load_embeddings(path)


def test_values_that_are_not_finite_are_told(tmp_path):
    broken = ROWS[:1] * np.float32(np.nan)
    with pytest.raises(DataError, match='not finite'):
        save_embeddings(tmp_path / 'emb.npz', Embedded(['a'], broken, ABOUT))
    np.savez(tmp_path / 'emb.npz', embeddings=broken, names=np.array(['a']), about=np.array('{}'))
    with pytest.raises(DataError, match='not finite'):
        load_embeddings(tmp_path / 'emb.npz')


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize(
    ('odd', 'words'),
    [
        (EMBEDDED._replace(names=NAMES[:3]), r'holds 3 names and embeddings of shape \(4, 6\)'),
        (EMBEDDED._replace(rows=ROWS.astype(np.float64)), 'float64, where a name for each row of float32'),
        (EMBEDDED._replace(names=[*NAMES[:3], 'a\udcff']), 'no text in UTF-8'),
        (EMBEDDED._replace(about={'model': 'a\udcff,1'}), 'no text in UTF-8'),
        (EMBEDDED._replace(about={'network': 7}), 'holds 7 as a name'),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, suffix, odd, words):
    with pytest.raises(DataError, match=words):
        save_embeddings(tmp_path / f'emb{suffix}', odd)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('about', ['3', '"network"', '["network"]', '{"network": 3}'])
def test_words_that_are_something_else_are_told(tmp_path, about):
    np.savez(tmp_path / 'emb.npz', embeddings=ROWS, names=np.array(NAMES), about=np.array(about))
    with pytest.raises(DataError, match='holds'):
        load_embeddings(tmp_path / 'emb.npz')


def test_where_nothing_can_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'emb.npz').mkdir()
    with pytest.raises(ConfigError, match=r'file/new/emb\.npz cannot be written: .*file is not a folder'):
        check_output(tmp_path / 'file' / 'new' / 'emb.npz')
    with pytest.raises(ConfigError, match=r'emb\.npz is a folder'):
        check_output(tmp_path / 'emb.npz', overwrite=True)
    check_output(tmp_path / 'new' / 'newer' / 'emb.npz')
    assert not (tmp_path / 'new').exists()
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ConfigError, match=r'new/emb\.npz cannot be written: .* is not writable'):
        check_output(tmp_path / 'new' / 'emb.npz')


def test_another_ending_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r'emb\.csv does not end in \.npz, \.npy, \.parquet, \.safetensors'):
        save_embeddings(tmp_path / 'emb.csv', EMBEDDED)
    with pytest.raises(DataError, match=r'does not end in'):
        load_embeddings(tmp_path / 'emb.csv')


@pytest.mark.parametrize('suffix', EXTRA)
def test_a_package_that_is_not_installed_names_the_pip_line(tmp_path, monkeypatch, suffix):
    for package in FORMATS[suffix].packages:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('embed'))):
        save_embeddings(tmp_path / f'emb{suffix}', EMBEDDED)
    with pytest.raises(MissingExtra, match=re.escape(install_command('embed'))):
        load_embeddings(tmp_path / f'emb{suffix}')


KILLED = """
import os, signal, sys
import numpy as np
from recognition.embedding.storage import Embedded, save_embeddings
original = os.fsync
def killed(file):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = killed  # all is written, and nothing in place
save_embeddings(sys.argv[1], Embedded(['x'], np.ones((1, 3), np.float32), {}), overwrite=True)
"""


@pytest.mark.parametrize('suffix', FORMATS)
def test_killed_while_writing_it_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f'emb{suffix}'
    save_embeddings(path, EMBEDDED)
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert load_embeddings(path).names == NAMES
    assert [name for name in os.listdir(tmp_path) if name.startswith('.')]  # what the dead one left
    save_embeddings(path, EMBEDDED, overwrite=True)
    assert not [name for name in os.listdir(tmp_path) if name.startswith('.')]


HALFWAY = """
import os, signal, sys
import numpy as np
from recognition.embedding.storage import Embedded, save_embeddings
original = os.replace
def killed(*paths):
    original(*paths)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = killed  # the first file alone is in place
rows = np.ones((4, 6), np.float32)
save_embeddings(sys.argv[1], Embedded(['w', 'x', 'y', 'z'], rows, {}), overwrite=True)
"""


@pytest.mark.parametrize('suffix', FORMATS)
def test_killed_between_two_files_it_leaves_no_old_arrays_with_new_names(tmp_path, suffix):
    path = tmp_path / f'emb{suffix}'
    save_embeddings(path, EMBEDDED)
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', HALFWAY, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    if suffix == '.npy':
        with pytest.raises(DataError, match=r'emb\.npy cannot be read: No such file'):
            load_embeddings(path)
    else:
        assert load_embeddings(path).names == ['w', 'x', 'y', 'z']
