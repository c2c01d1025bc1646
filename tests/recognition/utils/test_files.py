from __future__ import annotations

import os

import pytest

from config.errors import DataError
from recognition.utils.files import write_whole


def test_a_file_and_its_folder_are_written_and_nothing_else(tmp_path):
    path = write_whole(tmp_path / 'a' / 'b.txt', b'old')
    assert write_whole(path, b'new').read_bytes() == b'new'
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    folder = tmp_path / 'folder'
    (folder / 'inside').mkdir(parents=True)
    (tmp_path / 'file').write_text('in the way')
    for path in (folder, tmp_path / 'file' / 'b.txt'):
        with pytest.raises(DataError, match='cannot be written') as caught:
            write_whole(path, b'new')
        assert str(path) in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['file', 'folder']


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    done, replace = [], os.replace
    monkeypatch.setattr(os, 'fsync', lambda number: done.append(('on disk', os.fstat(number).st_ino)))
    monkeypatch.setattr(
        os, 'replace', lambda a, b: (done.append(('in place', os.stat(a).st_ino)), replace(a, b))
    )
    number = os.stat(write_whole(tmp_path / 'a', b'new')).st_ino
    assert done.index(('on disk', number)) < done.index(('in place', number))
