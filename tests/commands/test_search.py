"""A search from the command line, in a gallery that the embedding program saved."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.commands.embed import main as embed
from recognition.commands.search import main
from recognition.embedding.storage import load_embeddings
from recognition.utils.pixels import CENTRED
from tests.helpers.small_network import SHAPE, make_values, write_foreign, write_onnx

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'photos').mkdir()
    for number in range(6):
        image = rng.integers(0, 256, SHAPE, dtype=np.uint8)
        cv2.imwrite(str(tmp_path / 'photos' / f'{number}.png'), image)
    query = cv2.imread(str(tmp_path / 'photos' / '3.png')).astype(int) + rng.integers(-20, 20, SHAPE)
    cv2.imwrite(str(tmp_path / 'query.png'), np.clip(query, 0, 255))
    return tmp_path / 'photos'


@pytest.fixture(params=['sum', 'concat'])
def gallery(small, photos, tmp_path, request):
    path = str(tmp_path / 'gallery.npz')
    assert not embed([str(photos), '--model', small.onnx, '--output', path, '--mirror', request.param])
    return path


def test_the_like_face_is_found_first(small, photos, gallery, tmp_path, capsys):
    query = str(tmp_path / 'query.png')
    capsys.readouterr()
    assert not main([query, '--gallery', gallery, '--model', small.onnx, '--top', '2', '--json'])
    found = json.loads(capsys.readouterr().out)
    assert found['image'] == query
    assert found['neighbours'][0]['name'] == str(photos / '3.png')
    assert found['neighbours'][0]['cosine'] > 0.9 > found['neighbours'][1]['cosine']
    assert not main([query, str(photos), '--gallery', gallery, '--model', small.onnx])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 * (1 + 5)
    assert lines[:2] == [query, f'   1  cosine {found["neighbours"][0]["cosine"]:7.4f}  {photos / "3.png"}']
    for number in range(6):
        assert lines[6 * (number + 1) + 1] == f'   1  cosine  1.0000  {photos / f"{number}.png"}'


def test_another_network_is_refused(gallery, tmp_path):
    other = write_onnx(tmp_path / 'other.onnx', make_values(seed=4))
    with pytest.raises(ConfigError, match=r'gallery\.npz was made by another network .* than .*other\.onnx'):
        main([str(tmp_path / 'query.png'), '--gallery', gallery, '--model', str(other)])


def test_mistakes_are_one_sentence(small, gallery, tmp_path):
    query = [str(tmp_path / 'query.png'), '--model', small.onnx, '--gallery']
    with pytest.raises(ConfigError, match='top=0'):  # before anything is read
        main([*query, 'none.npz', '--top', '0'])
    with pytest.raises(DataError, match=r'gone\.png does not exist'):
        main(['gone.png', *query[1:], gallery])
    with pytest.raises(DataError, match=r'none\.npz cannot be read'):
        main([*query, str(tmp_path / 'none.npz')])


def test_a_gallery_of_the_same_file_with_other_pixels_is_refused(small, photos, tmp_path, capsys):
    path = str(write_foreign(tmp_path / 'net.onnx', small.values, extra=['age']))
    gallery, query = str(tmp_path / 'gallery.npz'), [str(photos / '3.png'), '--model', path, '--gallery']
    centred, raw = (
        ['--input-mean', mean, '--input-scale', scale] for mean, scale in (('127.5', '1/127.5'), ('0', '1'))
    )
    layer = ['--output-layer', '683']
    assert not embed([str(photos), '--model', path, '--output', gallery, *layer])  # by InsightFace's rule
    assert load_embeddings(gallery).about['pixels'] == '(x - 127.5) / 127.5'
    for options in (layer, [*layer, *centred]):
        capsys.readouterr()
        assert not main([*query, gallery, '--top', '1', *options])
        assert 'cosine  1.0000' in capsys.readouterr().out
    with pytest.raises(
        ConfigError, match=r'with pixels \(x - 127\.5\) / 127\.5, but .* is given 0\.\.255 as they are'
    ):
        main([*query, gallery, *layer, *raw])


def test_a_gallery_of_a_checkpoint_serves_the_files_made_of_it(small, photos, tmp_path, capsys):
    gallery = str(tmp_path / 'gallery.npz')
    size = ['--image-size', '14,12', '--engine', 'mxnet']
    assert not embed([str(photos), '--model', small.checkpoint, '--output', gallery, *size])
    told = {
        'params_sha256': load_embeddings(gallery).about['network'],
        'pixels': json.dumps(CENTRED.as_metadata()),
    }
    path = write_foreign(tmp_path / 'outside.onnx', small.values, metadata=told)
    capsys.readouterr()
    assert not main([str(photos / '3.png'), '--gallery', gallery, '--model', str(path), '--top', '1'])
    assert f'cosine  1.0000  {photos / "3.png"}' in capsys.readouterr().out
