"""The embedder: the numbers, whichever engine, thread or batch they come from."""

from __future__ import annotations

import logging
import os
import re
import sys
import weakref

import cv2
import numpy as np
import pytest

import recognition.embedding.runner
from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from recognition.embed import Embedder, Settings
from recognition.embedding import agreement
from recognition.engines import ENGINES
from recognition.engines.base import BFLOAT16_LIMIT, WINOGRAD_LIMIT
from recognition.utils.packages import install_command
from recognition.verification.lfw import embed, normalise
from tests.helpers.small_network import SHAPE, make_values, write_ncnn, write_onnx

import mxnet as mx

KINDS = {
    'mxnet': 'checkpoint',
    'onnxruntime': 'onnx',
    'openvino': 'onnx',
    'ncnn': 'ncnn',
    'openvino-bf16': 'onnx',
}

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(1).integers(0, 256, (7, *SHAPE), dtype=np.uint8)


def load(small, engine='mxnet', **settings):
    return Embedder.load(getattr(small, KINDS[engine]), engine, image_shape=SHAPE, **settings)


def wanted(values, images, mirror='sum', unit=True):
    plain, mirrored = values.embed(images), values.embed(images[:, :, ::-1])
    rows = {'sum': plain + mirrored, 'concat': np.hstack([plain, mirrored]), 'none': plain}[mirror]
    return normalise(rows) if unit else rows


def test_every_engine_is_tested():
    assert set(KINDS) == set(ENGINES)


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('mirror', ['sum', 'concat', 'none'])
def test_every_engine_gives_the_embeddings(small, images, engine, mirror):
    for unit in (True, False):
        with load(small, engine, mirror=mirror, normalise=unit, batch_size=4, threads=1) as embedder:
            found = embedder(images)
        assert found.dtype == np.float32
        expected = wanted(small.values, images, mirror, unit)
        if ENGINES[engine].exact:
            np.testing.assert_allclose(found, expected, atol=1e-5)
        assert agreement.cosine_distances(found, expected).max() < BFLOAT16_LIMIT
        assert embedder.engine == engine


def test_the_embeddings_are_those_of_verification(small, images):
    from recognition.checkpoint.network import load_network

    prefix, epoch = small.checkpoint.split(',')
    net = load_network(prefix, int(epoch), image_shape=SHAPE)
    verified = embed(net, images.transpose(0, 3, 1, 2), mx.cpu())
    np.testing.assert_allclose(load(small)(images), verified, atol=1e-6)


@pytest.mark.parametrize('batch_size', [1, 2, 3, 5, 64])
def test_any_batch_size_gives_the_same(small, images, batch_size):
    found = load(small, 'onnxruntime', batch_size=batch_size)(images)
    np.testing.assert_allclose(found, wanted(small.values, images), atol=1e-5)


def test_the_engine_sees_no_more_than_the_batch_size(small, images, monkeypatch):
    seen = []
    original = ENGINES['onnxruntime'].embed

    def counted(engine, batch):
        seen.append(len(batch))
        return original(engine, batch)

    monkeypatch.setattr(ENGINES['onnxruntime'], 'embed', counted)
    embedder = load(small, 'onnxruntime', batch_size=6)
    seen.clear()  # of the trial
    embedder(images)
    assert max(seen) == 6
    assert sum(seen) == 2 * len(images)


def test_one_image_alone_and_none(small, images):
    embedder = load(small)
    np.testing.assert_allclose(embedder(images[0]), wanted(small.values, images[:1]), atol=1e-5)
    with pytest.raises(DataError, match='no images to embed'):
        embedder([])


def test_another_size_is_stretched_with_one_warning(small, images, caplog):
    larger = [cv2.resize(image, (33, 50)) for image in images]
    with caplog.at_level(logging.WARNING):
        embedder = load(small)
        found = embedder([images[0], *larger])
        embedder(larger[0])
    warnings = [
        record.getMessage() for record in caplog.records if record.name == 'recognition.embedding.runner'
    ]
    assert len(warnings) == 1
    assert 'image 1 is 50x33, and the network takes 14x12' in warnings[0]
    small_again = np.stack([cv2.resize(image, (12, 14), interpolation=cv2.INTER_AREA) for image in larger])
    np.testing.assert_allclose(found[1:], wanted(small.values, small_again), atol=1e-5)


def test_another_size_is_refused_where_that_is_asked_for(small, images):
    with pytest.raises(
        DataError, match='image 0 is 20x20, and the network takes 14x12; resizing is turned off'
    ):
        load(small, resize=False)(np.zeros((20, 20, 3), np.uint8))
    assert load(small, resize=False)(images).shape == (7, 8)


def test_a_folder_is_never_in_memory_whole(small, tmp_path, monkeypatch):
    for number in range(60):
        cv2.imwrite(str(tmp_path / f'{number:03}.png'), np.full(SHAPE, number, np.uint8))
    alive, most = weakref.WeakSet(), [0]

    class Watched(np.ndarray):
        def __hash__(self):
            return id(self)

        def __eq__(self, other):
            return self is other

    def watched(image, *_):
        image = image.copy().view(Watched)
        alive.add(image)
        most[0] = max(most[0], len(alive))
        return image

    original = Embedder._fitted
    monkeypatch.setattr(Embedder, '_fitted', lambda self, image, name: watched(original(self, image, name)))
    embedder = load(small, 'onnxruntime', batch_size=8)  # four images and their mirror images
    names = []
    for name, _ in embedder.stream(tmp_path):
        names.append(os.path.basename(name))
    assert names == [f'{number:03}.png' for number in range(60)]
    assert 4 <= most[0] <= 8


def test_a_slow_reader_holds_the_decoding_back(small, tmp_path, monkeypatch):
    for number in range(40):
        cv2.imwrite(str(tmp_path / f'{number:03}.png'), np.zeros(SHAPE, np.uint8))
    read = []
    original = recognition.embedding.runner.items

    def counted(images, channels):
        for item in original(images, channels):
            read.append(item.name)
            yield item

    monkeypatch.setattr(recognition.embedding.runner, 'items', counted)
    stream = load(small, 'onnxruntime', batch_size=4).stream(tmp_path)
    next(stream)
    assert len(read) == (recognition.embedding.runner.AHEAD + 1) * 2


def test_images_that_cannot_be_read_are_told_and_left_out(small, images, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), images[0])
    (tmp_path / 'b.png').write_bytes(b'no image')
    cv2.imwrite(str(tmp_path / 'c.png'), images[1])
    faults = []
    embedder = load(small)
    names = [name for name, _ in embedder.stream(tmp_path, lambda *fault: faults.append(fault))]
    assert names == [str(tmp_path / 'a.png'), str(tmp_path / 'c.png')]
    assert [name for name, _ in faults] == [str(tmp_path / 'b.png')]
    with pytest.raises(DataError, match=r'b\.png holds 8 bytes that are no readable image'):
        embedder(tmp_path)


class Broken:
    """An engine that gives whatever it is told to."""

    name, precision, image_shape = 'broken', 'float32', SHAPE

    def __init__(self, give):
        self.embed = give


@pytest.mark.parametrize(
    ('give', 'words'),
    [
        (lambda images: np.full((len(images), 4), np.nan), 'not finite'),
        (lambda images: np.zeros((len(images), 4, 1)), r'gives shape \(2, 4, 1\) for 2 images'),
        (lambda images: np.zeros((1, 4)), r'gives shape \(1, 4\) for 2 images'),
    ],
)
def test_a_network_that_gives_no_embeddings_is_told(images, give, words):
    embedder = Embedder(Broken(give), 'sum', Settings())
    for _ in range(2):  # it works on after an error
        with pytest.raises(CheckpointError, match=words):
            embedder(images[0])


def test_settings_that_are_wrong(small):
    with pytest.raises(
        ConfigError, match=r"mirror='sun' is not one of sum, concat, none; did you mean 'sum'"
    ):
        load(small, mirror='sun')
    for number in (0, -1, 2.5, True):
        with pytest.raises(ConfigError, match='batch_size='):
            load(small, batch_size=number)
        with pytest.raises(ConfigError, match='threads='):
            load(small, threads=number)
    with pytest.raises(ConfigError, match=r"engine='openvivo' is not one of .*did you mean 'openvino'"):
        Embedder.load(small.onnx, 'openvivo')
    for shape in ((112, 112), 112):
        with pytest.raises(ConfigError, match=r'not \(height, width, channels\)'):
            Embedder.load(small.checkpoint, image_shape=shape)
    with pytest.raises(ConfigError, match=r'112x112x3 do not fit .*net\.onnx, which takes 14x12x3'):
        Embedder.load(small.onnx, 'onnxruntime', image_shape=(112, 112, 3))
    with pytest.raises(ConfigError, match=r'the engine ncnn reads a pair .*net\.onnx is a file NET\.onnx'):
        Embedder.load(small.onnx, 'ncnn')
    with pytest.raises(ConfigError, match='is not a checkpoint'):
        Embedder.load(small.onnx, reference=small.onnx)


@pytest.mark.parametrize('engine', [name for name in ENGINES if name != 'mxnet'])
def test_an_engine_that_is_not_installed_names_the_pip_line(small, monkeypatch, engine):
    kind = ENGINES[engine]
    monkeypatch.setitem(sys.modules, kind.package, None)
    with pytest.raises(MissingExtra, match=re.escape(install_command(kind.extra))):
        load(small, engine)


def test_where_no_engine_is_installed(small, monkeypatch):
    for package in ('onnxruntime', 'openvino'):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ConfigError,
        match=rf'{re.escape(install_command("onnx"))}.* or {re.escape(install_command("openvino"))}',
    ):
        Embedder.load(small.onnx)


@pytest.mark.parametrize('engine', ['onnxruntime', 'openvino', 'ncnn'])
def test_a_file_of_another_network_is_refused(small, tmp_path, engine):
    other = make_values(seed=5)
    file = (
        write_ncnn(tmp_path / 'net', other) if engine == 'ncnn' else write_onnx(tmp_path / 'net.onnx', other)
    )
    settings = {'image_shape': SHAPE, 'reference': small.checkpoint}
    first = r'above [\d.]+; the first layer that differs is fc1 \(FullyConnected\): value \[\d\] for image \d is .* in '
    with pytest.raises(CheckpointError, match=rf'the engine {engine} .*disagrees with mxnet.*{first}'):
        Embedder.load(file, engine, **settings)
    assert Embedder.load(getattr(small, KINDS[engine]), engine, **settings).engine == engine


def test_a_small_disagreement_is_refused_too_but_not_of_winograd(small, tmp_path):
    noise = np.random.default_rng(0).normal(0, 1, small.values.weight.shape)
    off = small.values._replace(weight=(small.values.weight * (1 + 0.01 * noise)).astype(np.float32))
    images = agreement.trial_images(SHAPE, agreement.COUNT)
    worst = agreement.cosine_distances(small.values.embed(images), off.embed(images)).max()
    assert 1e-4 < worst < WINOGRAD_LIMIT
    with pytest.raises(CheckpointError, match='disagrees'):
        Embedder.load(write_onnx(tmp_path / 'off.onnx', off), 'onnxruntime', reference=small.checkpoint)
    pair = write_ncnn(tmp_path / 'off', off)
    embedder = Embedder.load(pair, reference=small.checkpoint, image_shape=SHAPE)
    assert embedder.precision == 'float32 with Winograd'


def test_a_network_is_known_by_its_values(small, tmp_path):
    networks = [load(small, engine).network for engine in ('mxnet', 'onnxruntime', 'ncnn')]
    assert len(set(networks)) == 3  # three files of which none says where it comes from
    made = write_onnx(tmp_path / 'net.onnx', small.values, metadata={'params_sha256': networks[0]})
    for engine in ('onnxruntime', 'openvino'):
        assert Embedder.load(made, engine).network == networks[0]


def test_what_is_assumed_of_a_file_is_said_unless_it_is_compared(small, tmp_path, caplog):
    made = write_onnx(tmp_path / 'net.onnx', small.values, metadata={'params_sha256': 'known'})
    Embedder.load(made, 'onnxruntime')
    Embedder.load(small.onnx, 'onnxruntime', reference=small.checkpoint)
    Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)
    assert 'does not record' not in caplog.text
    Embedder.load(small.onnx, 'onnxruntime')
    assert 'net.onnx does not record its preprocessing: pixels are 0..255 as they are, by' in caplog.text
    Embedder.load(small.ncnn, 'ncnn', image_shape=SHAPE)
    assert 'pixels are 0..255 as they are, by default' in caplog.text
