"""What a tool may write: refused in one sentence before the work, and nothing that is read is ever replaced."""

from __future__ import annotations

import argparse
import os

import pytest
from recognition.cli.output_options import add_output_options, check_outputs

from config.errors import CheckpointError


def refused(file, words, **settings):
    with pytest.raises(CheckpointError, match=words) as caught:
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
        refused(tmp_path / name, 'is there already; choose another --output, or --overwrite it')
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
        refused(file, 'is a file of the network that is read', overwrite=overwrite, sources=source)


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    for file in (tmp_path / 'file' / 'net.onnx', tmp_path / 'file' / 'deeper' / 'net.onnx'):
        refused(file, f'cannot be written: {tmp_path / "file"} is no folder')


def test_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    """The administrator, as whom tests may run, may write anywhere, so the answer of the system stands in."""
    monkeypatch.setattr(os, 'access', lambda path, mode: path != tmp_path)
    for file in (tmp_path / 'net.onnx', tmp_path / 'new' / 'net.onnx'):
        refused(file, f'cannot be written: nothing may be written into {tmp_path}')


def test_the_options():
    parser = argparse.ArgumentParser()
    add_output_options(parser, 'FILE', 'file to write')
    assert vars(parser.parse_args(['--output', 'a'])) == {'output': 'a', 'overwrite': False}
    assert parser.parse_args(['--output', 'a', '--overwrite']).overwrite
    assert '--output FILE' in parser.format_help()
