"""IDX files, written by hand after the description of the format."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from config.errors import DataError
from recognition.data.idx_files import read_labelled
from tests.helpers.classifiers import idx_bytes, write_idx

IMAGES = np.random.RandomState(0).randint(0, 256, (5, 4, 3)).astype(np.uint8)
LABELS = np.array([0, 2, 1, 1, 0], np.uint8)


@pytest.mark.parametrize(('first', 'second'), [('', ''), ('.gz', '.gz'), ('.gz', ''), ('', '.gz')])
def test_images_find_their_labels(tmp_path, first, second):
    path = write_idx(tmp_path, 'train', IMAGES, LABELS, first, second)
    images, labels = read_labelled(path)
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'begins with the bytes , where an IDX file of images begins with 00 00 08 03'),
        (idx_bytes(LABELS), 'begins with the bytes 00 00 08 01, where'),
        (bytes((0, 0, 13, 3)) + bytes(16), 'begins with the bytes 00 00 0d 03, where'),
        (idx_bytes(IMAGES)[:10], 'is cut short: it ends before its sizes do'),
        (idx_bytes(IMAGES)[:-1], r'is cut short: it has 75 bytes, and \(5, 4, 3\) images take 76'),
        (idx_bytes(IMAGES) + b'0', r'does not fit its sizes: it has 77 bytes'),
        (bytes((0, 0, 8, 3)) + struct.pack('>3I', 0, 4, 3), 'does not fit its sizes'),
        (bytes((0, 0, 8, 3)) + struct.pack('>3I', *[2**32 - 1] * 3), 'is cut short: it has 16 bytes'),
        (gzip.compress(idx_bytes(IMAGES), mtime=0)[:-12], 'is not a whole gzip file'),
        (gzip.compress(idx_bytes(IMAGES), mtime=0)[:20] + bytes(40), 'is not a whole gzip file'),
        (b'\x1f\x8b' + bytes(30), 'is not a whole gzip file'),
    ],
    ids=range(11),
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, content, words):
    path = write_idx(tmp_path, 'train', IMAGES, LABELS)
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_labelled(path)
    assert '\n' not in str(caught.value)


def test_labels_that_do_not_go_with_the_images_are_refused(tmp_path):
    path = write_idx(tmp_path, 'train', IMAGES, LABELS[:4])
    with pytest.raises(DataError, match=r'has 5 images, and .*train-labels-idx1-ubyte 4 labels'):
        read_labelled(path)
    (tmp_path / 'train-labels-idx1-ubyte').unlink()
    with pytest.raises(DataError, match='has no file of labels beside it, train-labels-idx1-ubyte or '):
        read_labelled(path)
    with pytest.raises(DataError, match='cannot be read: No such file'):
        read_labelled(tmp_path / 'test-images-idx3-ubyte')
    other = path.rename(tmp_path / 'digits')
    with pytest.raises(DataError, match='is not named as a file of images'):
        read_labelled(other)
