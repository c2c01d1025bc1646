"""Files of class names."""

from __future__ import annotations

import re

import pytest

from config.errors import DataError
from recognition.data.class_names import read_classes, write_classes


def test_names_are_read_as_they_were_written(tmp_path):
    names = ['African elephant', 'tusker', 'Übung']
    write_classes(tmp_path / 'classes.txt', names)
    assert read_classes(tmp_path / 'classes.txt', 3) == names
    (tmp_path / 'classes.txt').write_text(
        '\r\n'.join(names), encoding='utf-8-sig'
    )  # as Windows editors do it
    assert read_classes(tmp_path / 'classes.txt', 3) == names


def test_the_mark_that_windows_puts_first_is_not_of_a_name(tmp_path):
    (tmp_path / 'classes.txt').write_bytes('Übung\r\ntusker\r\n'.encode('utf-8-sig'))
    assert read_classes(tmp_path / 'classes.txt', 2) == ['Übung', 'tusker']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'classes.txt is not a list of class names, one a line: it is empty'),
        (b'a\n\nb\n', 'line 2 is empty'),
        (b'a\nb\na\n', "'a' is there twice"),
        (b'\xff\xfe', 'is not text in UTF-8'),
        (b'a\nb\n', 'names 2 classes, and there are 3'),
    ],
)
def test_another_file_is_one_sentence(tmp_path, content, message):
    (tmp_path / 'classes.txt').write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        read_classes(tmp_path / 'classes.txt', 3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r'classes\.txt cannot be read: No such file'):
        read_classes(tmp_path / 'classes.txt')
