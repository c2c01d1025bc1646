"""What a tool may write: refused in one sentence before the work, and nothing that is read is ever replaced."""

from __future__ import annotations

import os

import pytest

from config.errors import ConfigError
from recognition.utils.output_paths import check_output_folder, check_outputs, check_suffix


def refused(file, words, **settings):
    with pytest.raises(ConfigError, match=words) as caught:
        check_outputs([file], **{'overwrite': False, **settings})
    assert str(file) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_new_files_may_be_written_in_folders_that_are_not_there_yet(tmp_path, monkeypatch):
    check_outputs([tmp_path / 'a' / 'b' / 'net.onnx', tmp_path / 'net.onnx'], overwrite=False)
    monkeypatch.chdir(tmp_path)
    check_outputs([tmp_path.relative_to(tmp_path) / 'net.onnx'], overwrite=False)
    assert os.listdir(tmp_path) == []


def test_a_file_is_replaced_where_that_is_said(tmp_path):
    (tmp_path / 'net.onnx').write_bytes(b'mine')
    (tmp_path / 'link.onnx').symlink_to('nowhere')
    for name in ('net.onnx', 'link.onnx'):
        refused(tmp_path / name, 'already exists; choose another --output, or replace it with --overwrite')
        check_outputs([tmp_path / name], overwrite=True)


@pytest.mark.parametrize('overwrite', [False, True])
def test_a_folder_is_not_replaced(tmp_path, overwrite):
    (tmp_path / 'net.onnx').mkdir()
    refused(tmp_path / 'net.onnx', 'is a folder; choose another --output', overwrite=overwrite)


@pytest.mark.parametrize('overwrite', [False, True])
def test_what_is_read_is_not_replaced_by_whichever_name(tmp_path, overwrite):
    (tmp_path / 'model-symbol.json').write_bytes(b'mine')
    (tmp_path / 'link').symlink_to(tmp_path)
    for file in (tmp_path / 'model-symbol.json', tmp_path / 'link' / 'model-symbol.json'):
        source = [tmp_path / 'model-symbol.json']
        refused(file, 'is read as an input', overwrite=overwrite, sources=source)


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    for file in (tmp_path / 'file' / 'net.onnx', tmp_path / 'file' / 'deeper' / 'net.onnx'):
        refused(file, f'cannot be written: {tmp_path / "file"} is not a folder')


def test_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    """The administrator, as whom tests may run, may write anywhere, so the answer of the system stands in."""
    monkeypatch.setattr(os, 'access', lambda path, mode: path != tmp_path)
    for file in (tmp_path / 'net.onnx', tmp_path / 'new' / 'net.onnx'):
        refused(file, f'cannot be written: the folder {tmp_path} is not writable')


def test_a_folder_is_replaced_only_where_it_is_of_its_kind(tmp_path):
    folder = tmp_path / 'clean'
    kind = {'content': ('dropped.csv', 'model-*')}
    check_output_folder(folder, overwrite=False, **kind)
    folder.mkdir()
    with pytest.raises(ConfigError, match='already exists'):
        check_output_folder(folder, overwrite=False, **kind)
    with pytest.raises(ConfigError, match=r'is not replaced, because it holds no dropped\.csv'):
        check_output_folder(folder, overwrite=True, **kind)
    for name in ('dropped.csv', 'model-0001.params'):
        (folder / name).touch()
    check_output_folder(folder, overwrite=True, **kind)
    for source in (tmp_path / '.' / 'clean', folder / 'model-0001.params'):
        with pytest.raises(ConfigError, match='which is read as an input'):
            check_output_folder(folder, overwrite=True, sources=[source], **kind)
    (folder / 'mine').mkdir()
    with pytest.raises(ConfigError, match='because it also holds mine'):
        check_output_folder(folder, overwrite=True, **kind)


def test_a_suffix_names_the_format():
    assert check_suffix('a/b.SVG', ('svg', 'png')) == 'svg'
    for path in ('a.jpg', 'a'):
        with pytest.raises(ConfigError, match=rf'^{path}: the suffix .* must be one of \.svg, \.png$'):
            check_suffix(path, ('svg', 'png'))
