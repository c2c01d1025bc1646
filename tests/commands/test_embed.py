"""Embedding folders from the command line, as a user does: files out, faults listed, nothing half written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from recognition.commands.embed import main
from recognition.embed import Embedder
from recognition.embedding.storage import FORMATS, load_embeddings
from recognition.utils.checksums import checksum_path, sum_of
from recognition.utils.packages import install_command
from tests.helpers.small_network import SHAPE, make_values, write_onnx

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        file = tmp_path / 'photos' / f'{number % 2}' / f'{number}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), rng.integers(0, 256, (SHAPE if number else (40, 30, 3)), dtype=np.uint8))
    return tmp_path / 'photos'


def arguments(photos, out, model, *more):
    return [str(photos), '--model', str(model), '--output', str(out), *more]


@pytest.mark.parametrize('suffix', FORMATS)
def test_a_folder_in_every_format(small, photos, tmp_path, capsys, suffix):
    out = tmp_path / f'emb{suffix}'
    assert not main(arguments(photos, out, small.onnx, '--engine', 'onnxruntime'))
    names, rows, about = load_embeddings(out)
    assert [os.path.relpath(name, photos) for name in names] == [
        '0/0.png',
        '0/2.png',
        '0/4.png',
        '1/1.png',
        '1/3.png',
    ]
    embedder = Embedder.load(small.onnx, 'onnxruntime')
    np.testing.assert_allclose(rows, embedder(photos), atol=1e-6)
    assert about['network'] == embedder.network
    assert (about['engine'], about['mirror'], about['normalised']) == ('onnxruntime', 'sum', 'true')
    assert '5 embeddings of 8 values by onnxruntime' in capsys.readouterr().out


def test_a_file_is_compared_with_its_sum_unless_in_a_hurry(photos, tmp_path, monkeypatch):
    monkeypatch.setattr('recognition.utils.checksums._checked', True)  # and put it back
    model, out = write_onnx(tmp_path / 'net.onnx', make_values()), tmp_path / 'emb.npz'
    words = arguments(photos, out, model, '--engine', 'onnxruntime')
    checksum_path(model).write_text(f'{sum_of(model)} *net.onnx\n')
    assert not main(words)
    content = model.read_bytes()
    weight = make_values().weight.tobytes()
    place = content.index(weight) + 1
    model.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(
        CheckpointError, match=r'net\.onnx is damaged: its sum is not the one in net\.onnx\.sha256'
    ):
        main([*words, '--overwrite'])
    assert not main([*words, '--overwrite', '--no-check'])


def test_options_reach_the_embedder(small, photos, tmp_path):
    words = [
        '--mirror',
        'concat',
        '--no-normalise',
        '--batch-size',
        '3',
        '--threads',
        '1',
        '--image-size',
        '14,12',
    ]
    assert not main(arguments(photos, tmp_path / 'emb.npz', small.checkpoint, '--engine', 'mxnet', *words))
    _, rows, about = load_embeddings(tmp_path / 'emb.npz')
    embedder = Embedder.load(small.checkpoint, 'mxnet', mirror='concat', normalise=False, image_shape=SHAPE)
    np.testing.assert_allclose(rows, embedder(photos), atol=1e-5)
    assert rows.shape == (5, 16)
    assert (about['mirror'], about['normalised']) == ('concat', 'false')


def test_images_that_cannot_be_read_are_listed_and_the_rest_is_embedded(small, photos, tmp_path, capsys):
    (photos / 'bad.jpg').write_bytes(b'\xff\xd8 cut short')
    (photos / 'empty.png').write_bytes(b'')
    assert main(arguments(photos, tmp_path / 'emb.npz', small.onnx)) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split(' holds')[0] for line in told if ' holds' in line] == [
        str(photos / 'bad.jpg'),
        str(photos / 'empty.png'),
    ]
    assert told[-1] == '2 of 7 images cannot be read'
    assert len(load_embeddings(tmp_path / 'emb.npz').names) == 5


def test_where_no_image_can_be_read_nothing_is_written(small, tmp_path):
    (tmp_path / 'bad.jpg').write_bytes(b'\xff\xd8')
    with pytest.raises(DataError, match='no image can be read'):
        main(arguments(tmp_path, tmp_path / 'emb.npz', small.onnx))
    assert not (tmp_path / 'emb.npz').exists()


def test_no_resize_leaves_out_images_of_another_size(small, photos, tmp_path, capsys):
    assert main(arguments(photos, tmp_path / 'emb.npz', small.onnx, '--no-resize')) == 1
    assert '0.png is 40x30, and the network takes 14x12; resizing is turned off' in capsys.readouterr().err
    assert len(load_embeddings(tmp_path / 'emb.npz').names) == 4


def test_mistakes_are_told_before_the_work(small, photos, tmp_path):
    with pytest.raises(ConfigError, match=r'does not end in \.npz'):
        main(arguments(photos, tmp_path / 'emb.csv', 'none.onnx'))
    (tmp_path / 'emb.npz').write_text('mine')
    with pytest.raises(ConfigError, match='replace it with --overwrite'):
        main(arguments(photos, tmp_path / 'emb.npz', 'none.onnx'))
    assert (tmp_path / 'emb.npz').read_text() == 'mine'
    with pytest.raises(CheckpointError, match=r'none\.onnx does not exist'):
        main(arguments(photos, tmp_path / 'emb.npz', 'none.onnx', '--overwrite'))
    with pytest.raises(DataError, match='nowhere does not exist'):
        main(arguments(tmp_path / 'nowhere', tmp_path / 'new.npz', small.onnx))
    assert not main(arguments(photos, tmp_path / 'emb.npz', small.onnx, '--overwrite'))
    assert len(load_embeddings(tmp_path / 'emb.npz').names) == 5


def test_a_link_to_nowhere_and_no_path_are_told(small, photos, tmp_path, capsys):
    (photos / 'gone.png').symlink_to(tmp_path / 'gone.png')
    assert main(arguments(photos, tmp_path / 'emb.npz', small.onnx)) == 1
    assert 'gone.png cannot be read: No such file' in capsys.readouterr().err
    with pytest.raises(DataError, match='the path of an image is empty'):
        main(arguments('', tmp_path / 'new.npz', small.onnx))


def test_names_that_are_no_unicode(small, photos, tmp_path, capsys, caplog):
    """Not every format can hold such a name, nor a terminal show it."""
    (tmp_path / 'a\udcff.onnx').write_bytes(Path(small.onnx).read_bytes())
    for suffix in FORMATS:
        out = tmp_path / f'b\udcff{suffix}'
        assert not main(arguments(photos, out, tmp_path / 'a\udcff.onnx'))
        assert capsys.readouterr().out.endswith(rf'b\udcff{suffix}' + '\n')
        assert load_embeddings(out).about['model'] == str(tmp_path / r'a\udcff.onnx')
    assert r'a\udcff.onnx does not record' in caplog.text.encode().decode()


def test_without_a_package_for_images_the_pip_line_is_named(small, photos, tmp_path, monkeypatch):
    for package in ('cv2', 'tqdm'):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=re.escape(install_command('images'))):
            main(arguments(photos, tmp_path / 'emb.npz', small.onnx))


def start(*words):
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', 'tools/embed.py', *words],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_program_ends_with_a_sentence_and_a_status(photos, tmp_path):
    (tmp_path / 'net.onnx').write_bytes(b'no network')
    process = start(
        *arguments(photos, tmp_path / 'emb.npz', tmp_path / 'net.onnx', '--engine', 'onnxruntime')
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, '')
    assert err.startswith('error: ')
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_stopped_at_work_it_leaves_no_file(tmp_path, how):
    """Hundreds of images of many pixels, so that it is at work when the signal comes."""
    model = write_onnx(tmp_path / 'net.onnx', make_values(), metadata={'params_sha256': 'known'})
    (tmp_path / 'photos').mkdir()
    large = cv2.imencode('.png', np.zeros((2500, 2500, 3), np.uint8))[1].tobytes()
    for number in range(300):
        (tmp_path / 'photos' / f'{number}.png').write_bytes(large)
    process = start(*arguments(tmp_path / 'photos', tmp_path / 'emb.npz', model, '--engine', 'onnxruntime'))
    told = [process.stderr.readline() for _ in range(2)]  # which network, and that images are stretched
    assert 'is stretched' in told[1]
    process.send_signal(how)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < 10
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert err.strip() == ('interrupted' if how == signal.SIGINT else '')
    lock = ['.emb.npz.lock'] if how == signal.SIGKILL else []  # which nobody holds
    assert sorted(os.listdir(tmp_path)) == [*lock, 'net.onnx', 'photos']
