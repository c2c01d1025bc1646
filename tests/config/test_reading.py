"""Whatever a file does to its reader is one sentence, of the reader's own class of errors."""

from __future__ import annotations

import json
import os
import struct
import zlib

import pytest

from config.errors import CheckpointError, ConfigError, DataError
from config.reading import read_bytes, read_text, reading, refusing
from recognition.utils.files import read_json

FAULTS = [
    KeyError('a'),
    MemoryError(),
    RecursionError('maximum recursion depth exceeded'),
    struct.error('unpack requires 4 bytes'),
    OverflowError('int too large'),
    zlib.error('Error -3'),
    EOFError(),
    UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid start byte'),
    ValueError('two\nlines'),
]


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: type(fault).__name__)
def test_each_fault_is_one_sentence_of_the_readers_class(fault):
    with (
        pytest.raises(
            DataError, match=r'^it is damaged(: \S.*|, or needs more memory than there is)$'
        ) as caught,
        refusing('it', DataError),
    ):
        raise fault
    assert caught.value.__cause__ is fault
    assert '\n' not in str(caught.value)


def test_errors_with_words_of_their_own_stay():
    with pytest.raises(ConfigError, match=r'^own$'), refusing('it', DataError):
        raise ConfigError('own')
    with pytest.raises(KeyboardInterrupt), refusing('it', DataError):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ('path', 'fault'),
    [
        ('none', 'No such file'),
        ('folder', 'Is a directory'),
        ('pipe', 'a pipe or a device'),
        ('a\0b', 'null'),
    ],
)
def test_what_is_not_a_file_is_refused_at_once(tmp_path, path, fault):
    (tmp_path / 'folder').mkdir()
    os.mkfifo(tmp_path / 'pipe')
    for read in (read_bytes, read_text):
        with pytest.raises(DataError, match=f'cannot be read: .*{fault}'):
            read(tmp_path / path, DataError)


def test_a_file_whose_name_is_not_unicode_is_named(tmp_path):
    with (
        pytest.raises(DataError, match=r'\\udcff cannot be read') as caught,
        reading(tmp_path / '\udcff', DataError),
    ):
        pass
    str(caught.value).encode()


@pytest.mark.parametrize('text', ['[' * 50_000, '9' * 5000, '{"a": ' * 50_000, '\xff', ''])
def test_json_that_takes_python_to_its_limits(tmp_path, text):
    (tmp_path / 'a.json').write_bytes(text.encode('latin-1'))
    with pytest.raises(CheckpointError, match=r'a\.json is (damaged: \S|not text in UTF-8$)'):
        read_json(tmp_path / 'a.json')


def test_a_sentence_stays_one_that_can_be_read():
    words = str(CheckpointError(f'net lacks {json.dumps("x" * 70_000)} and more'))
    assert words == f'net lacks "{"x" * 99}... and more'
    assert str(DataError('/' + 'long/' * 90)) == '/' + 'long/' * 90
