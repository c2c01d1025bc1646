from __future__ import annotations

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
