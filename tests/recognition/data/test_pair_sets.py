from __future__ import annotations

import os
import pickle
import re
import resource
import struct

import cv2
import numpy as np
import pytest

from config.errors import DataError
from recognition.data.pair_sets import load_bin, read_pairs


def pictures(count: int, size=(16, 12), seed: int = 0) -> list:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8))


def png(image: np.ndarray) -> bytes:
    return cv2.imencode('.png', image[:, :, ::-1])[1].tobytes()


def write(path, content, protocol: int = 4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def message(path, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_bin(path, **options)
    text = str(caught.value)
    assert str(path) in text
    assert '\n' not in text
    return text


IMAGE_FORMS = {
    'bytes': bytes,
    'array': lambda data: np.frombuffer(data, dtype=np.uint8),
    'writable array': lambda data: np.frombuffer(data, dtype=np.uint8).copy(),
    'column, as older cv2.imencode gives': lambda data: (
        np.frombuffer(data, dtype=np.uint8).reshape(-1, 1).copy()
    ),
}
ANSWER_FORMS = {
    'list': list,
    'tuple': tuple,
    'numpy booleans': lambda answers: [np.bool_(answer) for answer in answers],
    'array': np.array,
}


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('images', IMAGE_FORMS)
@pytest.mark.parametrize('answers', ANSWER_FORMS)
def test_every_form_that_python_3_writes_is_read(tmp_path, images, answers, protocol):
    originals, issame = pictures(6), [True, False, True]
    encoded = [IMAGE_FORMS[images](png(image)) for image in originals]
    path = write(tmp_path / 'set.bin', (encoded, ANSWER_FORMS[answers](issame)), protocol)

    loaded, same = load_bin(path)

    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, np.transpose(originals, (0, 3, 1, 2)))
    assert same.dtype == np.bool_
    assert same.tolist() == issame


def python2_string(data: bytes) -> bytes:
    return b'T' + struct.pack('<I', len(data)) + data  # BINSTRING, which Python 3 no longer writes


PYTHON2_ARRAY = (  # numpy.frombuffer(data, numpy.uint8) as Python 2.7 and numpy 1.16 pickle it, protocol 2
    b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K%c\x85'
    b'cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89%stb'
)


@pytest.mark.parametrize('form', ['strings', 'arrays'])
def test_a_set_that_python_2_wrote_is_read(tmp_path, form):
    originals = pictures(2, size=(4, 4))
    encoded = [png(image) for image in originals]
    assert max(map(len, encoded)) < 256
    assert any(byte > 127 for byte in encoded[0])  # what the default encoding of pickle.load cannot read
    if form == 'strings':
        images = b''.join(python2_string(data) for data in encoded)
    else:
        images = b''.join(PYTHON2_ARRAY % (len(data), python2_string(data)) for data in encoded)
    path = tmp_path / 'set.bin'
    path.write_bytes(b'\x80\x02](' + images + b'e]\x88a\x86.')

    loaded, same = load_bin(path)

    np.testing.assert_array_equal(loaded, np.transpose(originals, (0, 3, 1, 2)))
    assert same.tolist() == [True]


def test_python_2_strings_of_protocol_0_are_read(tmp_path):
    path = tmp_path / 'set.bin'
    path.write_bytes(b"((lS'\\xff\\xd8a'\naS'\\x80'\na(lI01\nat.")
    encoded, same = read_pairs(path)
    assert encoded == [b'\xff\xd8a', b'\x80']
    assert same.tolist() == [True]


def renamed(data: bytes, core: bytes) -> bytes:
    """Return a pickle as the numpy writes it that has `core`: a name stands in a line, or has its length before it."""
    other = {b'core': b'_core', b'_core': b'core'}[core]
    for module in (b'multiarray', b'numeric'):
        old, new = b'numpy.%b.%b' % (other, module), b'numpy.%b.%b' % (core, module)
        data = data.replace(b'c%b\n' % old, b'c%b\n' % new)
        data = data.replace(b'\x8c%c%b' % (len(old), old), b'\x8c%c%b' % (len(new), new))
    frame = struct.pack('<Q', len(data) - 11)
    return data[:3] + frame + data[11:] if data[2:3] == pickle.FRAME else data


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('answers', ['array', 'numpy booleans'])
@pytest.mark.parametrize('core', [b'core', b'_core'], ids=['numpy 1', 'numpy 2'])
def test_names_of_numpy_1_and_2_are_read(tmp_path, core, answers, protocol):
    images = [np.frombuffer(png(image), dtype=np.uint8) for image in pictures(2)]
    data = pickle.dumps((images, ANSWER_FORMS[answers]([False])), protocol=protocol)
    path = tmp_path / 'set.bin'
    path.write_bytes(renamed(data, core))
    assert set(re.findall(rb'numpy\.(_?core)\.', path.read_bytes())) == {core}
    encoded, same = read_pairs(path)
    assert encoded == [image.tobytes() for image in images]
    assert same.tolist() == [False]


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('place', ['whole', 'image', 'answer'])
@pytest.mark.parametrize('function', [os.system, eval, getattr, __import__])
def test_a_pickle_that_calls_something_is_refused_and_not_run(tmp_path, function, place, protocol):
    trace = tmp_path / 'trace'
    code = f'touch {trace}' if function is os.system else f'open({str(trace)!r}, "w").close()'
    call = Call(function, code)
    good = png(pictures(1)[0])
    content = {'whole': call, 'image': ([good, call], [True]), 'answer': ([good, good], [call])}[place]
    text = message(write(tmp_path / 'bad.bin', content, protocol))
    assert function.__name__ in text
    assert 'refused' in text
    assert not trace.exists()


def test_a_forbidden_name_inside_an_admitted_call_is_refused(tmp_path):
    reconstruct = np.core.multiarray._reconstruct
    content = ([Call(reconstruct, Call(eval, '1/0'), (0,), b'b')], [True])
    assert 'eval' in message(write(tmp_path / 'bad.bin', content))


REFUSED_ARRAYS = {
    'object': np.array([b'one', None], dtype=object),
    'float': np.zeros(4, dtype=np.float32),
    'text': np.array(['one']),
    'fields': np.zeros(2, dtype=[('a', np.uint8)]),
    'plane': np.zeros((4, 4), dtype=np.uint8),
}


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('kind', REFUSED_ARRAYS)
def test_arrays_other_than_rows_of_uint8_are_refused(tmp_path, kind, protocol):
    content = ([REFUSED_ARRAYS[kind], b''], [True])
    assert 'refused' in message(write(tmp_path / 'bad.bin', content, protocol))


def test_an_array_whose_shape_lies_about_its_bytes_is_refused(tmp_path):
    array = np.core.multiarray._reconstruct
    state = (1, (10**9,), np.dtype(np.uint8), False, b'four')

    class Lying:
        def __reduce__(self):
            return array, (np.ndarray, (0,), b'b'), state

    assert '1000000000' in message(write(tmp_path / 'bad.bin', ([Lying(), b''], [True])))


@pytest.mark.parametrize(
    'stream',
    [
        b'c_codecs\nencode\n(N}X\x04\x00\x00\x00nameK\x01stb.',  # BUILD with slots: setattr on the function
        b'cnumpy\ndtype\n}X\x04\x00\x00\x00nameK\x01sb.',  # BUILD with a dictionary: its __dict__
        b'cnumpy.core.multiarray\n_reconstruct\nX\x01\x00\x00\x00a\x85R.',  # no ndarray: a string
        b'cnumpy.core.multiarray\nscalar\nX\x01\x00\x00\x00ac_codecs\nencode\n\x86R.',
    ],
)
def test_the_stand_ins_cannot_be_changed_or_misused(tmp_path, stream):
    path = tmp_path / 'bad.bin'
    path.write_bytes(b'\x80\x02' + stream)
    assert 'refused' in message(path)


@pytest.mark.parametrize('store', [b'r\xff\xff\xff\x3f', b'p1073741823\n', b'\x96\0\0\0\x40\0\0\0\0'])
def test_a_file_of_a_few_bytes_claims_no_gigabytes(tmp_path, store):
    path = tmp_path / 'bad.bin'
    path.write_bytes(b'\x80\x02]' + store + b'.')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_codecs_encode_serves_latin1_alone(tmp_path):
    path = tmp_path / 'bad.bin'
    path.write_bytes(b'\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00abcX\x03\x00\x00\x00hex\x86R.')
    assert 'latin1' in message(path)


def test_a_missing_file_is_named(tmp_path):
    assert 'cannot be read' in message(tmp_path / 'missing.bin')


@pytest.mark.parametrize('share', [0, 0.3, 0.9])
def test_a_truncated_file_is_damaged(tmp_path, share):
    data = pickle.dumps(([png(image) for image in pictures(4)], [True, False]), protocol=4)
    path = tmp_path / 'cut.bin'
    path.write_bytes(data[: int(share * len(data))])
    assert 'damaged' in message(path)


def test_a_file_that_is_no_pickle_is_damaged(tmp_path):
    path = tmp_path / 'picture.bin'
    path.write_bytes(png(pictures(1)[0]))
    assert 'damaged or not a pickle' in message(path)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ([b'x', b'y', b'z'], 'pair (images, issame)'),
        ({'images': [], 'issame': []}, 'pair (images, issame)'),
        ((b'xy', [True]), 'the images must be a list'),
        (([b'x', b'y'], True), 'issame must be a list'),
        (([b'x', b'y'], np.zeros(1, np.float32)), 'only integers and bool are loaded'),
        (([b'x', b'y'], 'ab'), 'issame must be a list of booleans, not a str'),
        (([b'x', b'y'], 1), 'issame must be a list of booleans, not an int'),
        (([b'x', b'y'], [2]), 'answer 0 of issame must be True or False, or 1 or 0, not 2'),
        (([b'x', b'y'], np.array([-1])), 'answer 0 of issame must be True or False, or 1 or 0, not -1'),
        (([b'x', b'y'], [1.0]), 'answer 0 of issame must be True or False, or 1 or 0, not a float'),
        (
            ([b'x', np.zeros(2, np.int64)], [True]),
            'image 1 must be a byte string or a uint8 array, not an array of i8',
        ),
        (([b'x', b'y', b'z', b'w'], [True, None]), 'answer 1'),
        (([b'x', 'text'], [True]), 'image 1 must be a byte string'),
        (([b'x', np.zeros(3, dtype=bool)], [True]), 'image 1 must be a byte string'),
        (([], []), 'empty'),
        (([b'x', b'y', b'z'], [True]), '3 images for 1 answers'),
        (([b'x', b'y'], [True, False]), '2 images for 2 answers'),
    ],
)
def test_content_of_another_kind_is_named(tmp_path, content, words):
    assert words in message(write(tmp_path / 'set.bin', content))


@pytest.mark.parametrize('damage', [b'', b'no image at all', 'cut'])
def test_a_corrupt_image_is_named_by_its_number(tmp_path, damage):
    images = [png(image) for image in pictures(4)]
    jpeg = cv2.imencode('.jpg', pictures(1, (64, 64))[0])[1].tobytes()
    images[2] = jpeg[: len(jpeg) // 2] if damage == 'cut' else damage
    text = message(write(tmp_path / 'set.bin', (images, [True, False])))
    assert 'image 2' in text


def test_another_image_size_is_an_error_until_resizing_is_asked_for(tmp_path):
    originals = [*pictures(3, (16, 12)), *pictures(1, (8, 6))]
    path = write(tmp_path / 'set.bin', ([png(image) for image in originals], [True, False]))
    text = message(path)
    assert 'image 3 is 8x6' in text
    assert '16x12' in text
    assert 'image 0 is 16x12' in message(path, image_size=(8, 6))

    images, _ = load_bin(path, (8, 6), resize=True)

    assert images.shape == (4, 3, 8, 6)
    np.testing.assert_array_equal(images[3], originals[3].transpose(2, 0, 1))
    expected = cv2.resize(originals[0], (6, 8), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(images[0], expected.transpose(2, 0, 1))


def test_pairs_are_read_as_grey_for_a_network_of_one_channel(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (8, 6)).astype(np.uint8)
    encoded = cv2.imencode('.png', pixels)[1].tobytes()
    (tmp_path / 'set.bin').write_bytes(pickle.dumps(([encoded, encoded], [True])))
    images, _ = load_bin(tmp_path / 'set.bin', channels=1)
    assert np.array_equal(images, np.tile(pixels, (2, 1, 1, 1)))
    assert load_bin(tmp_path / 'set.bin', (4, 3), resize=True, channels=1)[0].shape == (2, 1, 4, 3)
