"""Quantizing from the command line, on a data set and a verification set as they are in files."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError, DataError
from recognition.commands.quantize import main
from recognition.data.images import PNG, encode_image
from recognition.data.orl import PAIRS_NAME, prepare_orl
from recognition.data.writer import write_pairs
from recognition.embed import Embedder
from recognition.export.onnx.metadata import read_metadata
from recognition.export.onnx_export import Options, export_onnx
from recognition.quantize import quantize, read_faces
from recognition.verification.lfw import load_bin
from tests.helpers.faces import judged_by, photograph_pairs, photographs
from tests.helpers.narrow import SMALL_SHAPE, small, write_network

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'quantize_onnx.py'


@pytest.fixture(scope='module')
def files(make_network, tmp_path_factory):
    """A folder with a data set and its pairs, and net.onnx."""
    folder = tmp_path_factory.mktemp('files')
    prepare_orl(folder, train_people=range(1, 3), verify_people=range(31, 33))
    prefix = write_network(
        make_network(small('r18', image_shape=SMALL_SHAPE, net_output='bn_fc')), folder / 'model'
    )
    export_onnx(prefix, 1, folder / 'net.onnx', options=Options(fold=True), image_shape=SMALL_SHAPE)
    return folder


def words(files, output, *more, model='net.onnx', pairs=PAIRS_NAME):
    given = ['--model', files / model, '--faces', files, '--pairs', files / pairs, '--output', output, *more]
    return list(map(str, given))


def test_a_data_set_and_its_pairs(files, tmp_path, capsys):
    output = tmp_path / 'int8.onnx'
    assert not main(words(files, output, '--count', '12', '--most-lost', '0.5'))
    told = read_metadata(output)['int8']
    assert (told['calibrated_on'], told['pairs']) == (12, 180)
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first == (
        f'written    {output}, {output.stat().st_size:,} bytes of {(files / "net.onnx").stat().st_size:,}'
    )
    assert second.startswith(f'float32    accuracy {100 * told["accuracy_float32"]:.2f} % +- ')
    assert third.startswith(f'INT8       accuracy {100 * told["accuracy"]:.2f} % +- ')
    assert ' of 180 pairs, EER ' in third
    assert last == (
        f'distance   {told["cosine_distance"]:.2g} in cosine at most between their embeddings; calibrated on 12 faces'
    )

    images, issame = load_bin(files / PAIRS_NAME, SMALL_SHAPE[:2], resize=True)
    faces = read_faces(files, SMALL_SHAPE[:2], 12)
    pairs = images.transpose(0, 2, 3, 1)
    again = quantize(files / 'net.onnx', tmp_path / 'again.onnx', faces, pairs, issame, most_lost=0.5)
    assert again.distance == told['cosine_distance']
    assert Embedder.load(output, 'onnxruntime').precision == 'INT8'


def test_a_file_that_is_there_is_replaced_where_that_is_asked_for(files, tmp_path):
    output = tmp_path / 'int8.onnx'
    output.write_bytes(b'mine')
    with pytest.raises(
        ConfigError,
        match=r'int8\.onnx already exists; choose another --output, or replace it with --overwrite',
    ):
        main(words(files, output))
    assert output.read_bytes() == b'mine'
    assert not main(words(files, output, '--overwrite', '--most-lost', '1', '--count', '4'))
    assert read_metadata(output)['int8']['calibrated_on'] == 4


def test_a_set_that_does_not_fit(files, tmp_path):
    encoded = [encode_image(photo, PNG) for photo in photographs([31], (112, 112))[:3]]
    (files / 'odd.bin').write_bytes(pickle.dumps((encoded, [True])))
    with pytest.raises(DataError, match=r'odd\.bin: 3 images for 1 answers; a pair needs two, that is 2'):
        main(words(files, tmp_path / 'int8.onnx', pairs='odd.bin'))
    (files / 'few.bin').write_bytes(pickle.dumps((encoded[:2], [True])))
    with pytest.raises(DataError, match='1 pairs are too few for 10 folds'):
        main(words(files, tmp_path / 'int8.onnx', '--count', '1', pairs='few.bin'))
    with pytest.raises(DataError, match=r'none\.bin'):
        main(words(files, tmp_path / 'int8.onnx', pairs='none.bin'))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('more', 'error', 'sentence'),
    [
        (('--count', '0'), ConfigError, "--count: '0' is not a whole number of at least 1"),
        (('--most-lost', 'nan'), ConfigError, 'must be from 0 to 1'),
        (
            ('--model', 'none.onnx'),
            CheckpointError,
            r'none\.onnx does not exist; `facesymbols export` makes',
        ),
        (('--model', '.'), CheckpointError, r'\. is a folder; `facesymbols export` makes'),
        (('--faces', 'nowhere'), DataError, 'nowhere is no folder'),
        (('--output', 'int8.bin'), ConfigError, r'must be one of \.onnx'),
    ],
)
def test_mistakes(files, tmp_path, more, error, sentence):
    with pytest.raises(error, match=sentence):
        main(words(files, tmp_path / 'int8.onnx', *more))
    assert not list(tmp_path.iterdir())


def test_a_loss_is_told_by_the_process_in_one_sentence(files, tmp_path):
    (tmp_path / 'grey').mkdir()
    cv2.imwrite(str(tmp_path / 'grey' / '1.png'), np.full(SMALL_SHAPE, 128, np.uint8))
    images, _ = photograph_pairs(range(31, 33), SMALL_SHAPE[:2])
    judged = tmp_path / 'judged.bin'
    write_pairs(judged, (encode_image(image, PNG) for image in images), judged_by(files / 'net.onnx', images))
    given = words(files, tmp_path / 'int8.onnx', '--faces', tmp_path / 'grey', '--pairs', judged)
    done = subprocess.run([sys.executable, str(TOOL), *given], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.startswith('error: INT8 takes the accuracy from 0.9')
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / 'int8.onnx').exists()
