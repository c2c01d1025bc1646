"""Networks of one channel: fed grey, 0.299 R + 0.587 G + 0.114 B, by every reader."""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest

from recognition.checkpoint.network import load_network
from recognition.commands import compare, verify, verify_templates
from recognition.commands.optimize import main as optimize
from recognition.embed import Embedder
from recognition.engines.record import Record, checkpoint_record
from recognition.export.onnx_export import export_onnx
from recognition.verification.lfw import normalise
from tests.helpers.classifiers import record, write_grey

import mxnet as mx

SHAPE = (14, 12, 1)

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """The prefix of a checkpoint that records its size, and an ONNX file of it."""
    prefix = tmp_path_factory.mktemp('grey') / 'model'
    write_grey(record(prefix, 'E', SHAPE, names=()))
    export_onnx(prefix, 1, prefix.with_name('net.onnx'))
    return prefix


@pytest.fixture(scope='module')
def photos():
    return np.random.default_rng(2).integers(0, 256, (6, 14, 12, 3), dtype=np.uint8)


def wanted(prefix, images):
    """Return the embeddings by the formula: of images uint8 RGB, without mirror images."""
    grey = np.round(images @ np.array([0.299, 0.587, 0.114]))
    net = load_network(prefix, 1, image_shape=SHAPE)
    return net(mx.nd.array(grey[:, None])).asnumpy()


@pytest.mark.parametrize('engine', ['mxnet', 'onnxruntime', 'openvino', 'onnx file'])
def test_every_engine_sees_grey(network, photos, engine, tmp_path):
    path = network.with_name('net.onnx') if engine == 'onnx file' else f'{network},1'
    with Embedder.load(path, 'auto' if engine == 'onnx file' else engine, mirror='none') as embedder:
        assert embedder.image_shape == SHAPE
        found = embedder(photos)
        np.testing.assert_allclose(found, normalise(wanted(network, photos)), atol=2e-3)
        grey = np.stack([cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) for photo in photos])
        np.testing.assert_allclose(embedder(list(grey)), found, atol=1e-6)
        cv2.imwrite(str(tmp_path / 'a.png'), photos[0, :, :, ::-1])
        np.testing.assert_allclose(embedder(tmp_path / 'a.png'), found[:1], atol=1e-6)


def test_an_optimized_checkpoint_keeps_what_is_recorded(network, photos, tmp_path, capsys):
    assert not optimize(['--model', f'{network},1', '-o', str(tmp_path / 'fast')])
    found = Embedder.load(f'{tmp_path}/fast,1', 'mxnet', mirror='none')(photos)
    np.testing.assert_allclose(found, normalise(wanted(network, photos)), atol=2e-3)
    bare = write_grey(tmp_path / 'bare')
    assert not optimize(
        ['--model', bare, '-o', str(tmp_path / 'fast'), '--image-size', '14,12', '--overwrite']
    )
    assert checkpoint_record(tmp_path / 'fast') == Record()  # nothing of the network that was there


def test_the_commands_take_it_without_a_word(network, photos, tmp_path, capsys):
    files = []
    for number, photo in enumerate(photos):
        files.append(str(tmp_path / f'{number}.png'))
        cv2.imwrite(files[-1], photo[:, :, ::-1])
    encoded = [open(file, 'rb').read() for file in files]  # noqa: SIM115
    (tmp_path / 'pairs.bin').write_bytes(pickle.dumps((encoded, [True, False, True])))
    (tmp_path / 'media.txt').write_text(''.join(f'{n}.png {n} {n}\n' for n in range(6)))
    (tmp_path / 'pairs.txt').write_text('0 1 1\n2 3 0\n4 5 1\n0 2 0\n')
    told = {}
    for model in (f'{network},1', str(network.with_name('net.onnx'))):
        compare.main([*files[:2], '--model', model, '--mirror', 'none', '--json'])
        verify.main(['--model', model, '--pairs', str(tmp_path / 'pairs.bin'), '--folds', '2', '--json'])
        lists = ['--media', str(tmp_path / 'media.txt'), '--pairs', str(tmp_path / 'pairs.txt'), '--json']
        verify_templates.main(['--model', model, '--images', str(tmp_path), *lists])
        told[model] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first, second = told.values()
    one, other = normalise(wanted(network, photos[:2]))
    assert first[0]['cosine'] == pytest.approx(one @ other, abs=2e-3)
    assert first[0]['cosine'] == pytest.approx(second[0]['cosine'], abs=1e-5)
    assert first[1]['auc'] == second[1]['auc']
    assert first[2] == second[2]
