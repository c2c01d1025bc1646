"""The predictor: probabilities, names and pixels, whichever engine and file they come from."""

from __future__ import annotations

import json
import re
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from recognition.checkpoint.network import load_network
from recognition.data.imagenet import imagenet_classes
from recognition.embed import Embedder
from recognition.export.onnx_export import export_onnx
from recognition.predict import Predictor
from recognition.utils.packages import install_command
from recognition.utils.run_paths import config_path
from tests.helpers.classifiers import KINDS, NAMES, record, write_files
from tests.helpers.narrow import small as small_settings
from tests.helpers.narrow import write_network
from tests.helpers.small_network import SHAPE, STATISTICS, write_checkpoint, write_foreign

import mxnet as mx

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp('classifier'))


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(1).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize('engine', KINDS)
def test_every_engine_gives_the_softmax_of_the_scores(made, images, engine):
    values, files = made
    for kind in {'checkpoint', KINDS[engine]} - ({'checkpoint'} if engine == 'ncnn' else set()):
        with Predictor.load(files[kind], engine, batch_size=2, threads=1) as predictor:
            found = predictor.probabilities(images)
            predictions = predictor(images)
        wanted = softmax(values.embed(images))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=2e-6)
        assert [each.index for each in predictions] == wanted.argmax(axis=1).tolist()
        for row, each in zip(wanted, predictions):
            order = np.argsort(-row)[:5]
            assert each.classes == tuple(NAMES[number] for number in order)
            np.testing.assert_allclose(each.probabilities, row[order], atol=2e-6)


def test_auto_compares_with_mxnet_and_is_the_same(made, images):
    values, files = made
    found = Predictor.load(files['checkpoint']).probabilities(images)
    np.testing.assert_allclose(found, softmax(values.embed(images)), atol=2e-6)
    other = write_files(config_path(files['checkpoint'].split(',')[0]).parent)  # the same network: it passes
    assert Predictor.load(other[1]['onnx'], reference=files['checkpoint']).classes == NAMES


@pytest.mark.parametrize('preset', ['keras_resnet50', pytest.param('keras_xception', marks=pytest.mark.slow)])
def test_a_network_of_keras_with_its_preprocessing_inside(make_network, tmp_path, preset):
    cfg = small_settings(preset, image_shape=(73, 90, 3), input_mean=120.0, input_scale=1 / 64)
    prefix = write_network(make_network(cfg), tmp_path / 'model')
    config_path(prefix).write_text(json.dumps(cfg))
    image = np.random.RandomState(2).randint(0, 256, (100, 131, 3)).astype(np.uint8)
    # Keras's load_img(target_size=...) is Pillow's nearest
    seen = np.asarray(Image.fromarray(image).resize((90, 73), Image.Resampling.NEAREST))
    net = load_network(prefix, 1, image_shape=cfg.image_shape)
    wanted = softmax(net(mx.nd.array(seen.transpose(2, 0, 1)[None])).asnumpy().astype(np.float64))
    for engine in ('mxnet', 'onnxruntime', 'openvino'):
        found = Predictor.load(f'{prefix},1', engine).probabilities([image])
        np.testing.assert_allclose(found, wanted, atol=5e-5)  # statistics of two images magnify the rounding
    other = Predictor.load(f'{prefix},1', 'mxnet', interpolation='area').probabilities([image])
    assert np.abs(other - wanted).max() > 1e-3


def test_of_other_networks_images_are_stretched_as_an_embedder_does(made):
    values, files = made
    image = np.random.default_rng(4).integers(0, 256, (50, 33, 3), dtype=np.uint8)
    for interpolation, method in ((None, cv2.INTER_AREA), ('bilinear', cv2.INTER_LINEAR)):
        seen = cv2.resize(image, SHAPE[1::-1], interpolation=method)
        found = Predictor.load(files['onnx'], 'onnxruntime', interpolation=interpolation).probabilities(image)
        np.testing.assert_allclose(found, softmax(values.embed(seen[None])), atol=2e-6)


def test_a_network_that_ends_in_a_softmax_has_no_second_one(made, images, tmp_path):
    values, _ = made
    checkpoint = write_checkpoint(record(tmp_path / 'model'), 1, values)
    symbol = mx.sym.softmax(mx.sym.load(f'{tmp_path}/model-symbol.json'), name='prob')
    symbol = mx.sym.Group([symbol])
    text = symbol.tojson().replace('"fc1"', '"scores"').replace('"prob"', '"fc1"')
    (tmp_path / 'model-symbol.json').write_text(text)
    found = Predictor.load(checkpoint, 'mxnet')
    np.testing.assert_allclose(found.probabilities(images), softmax(values.embed(images)), atol=2e-6)
    logs = np.stack([row for _, row in found.scores(images)])
    np.testing.assert_allclose(softmax(logs), softmax(values.embed(images)), atol=2e-6)


def test_names_come_from_where_they_are(made, tmp_path, caplog):
    _, files = made
    checkpoint = files['checkpoint']
    (tmp_path / 'names.txt').write_text('\n'.join('abcdefgh'))
    for classes in (tmp_path / 'names.txt', list('abcdefgh')):
        assert Predictor.load(checkpoint, 'mxnet', classes=classes).classes == tuple('abcdefgh')
    prefix, epoch = checkpoint.split(',')
    export_onnx(prefix, int(epoch), tmp_path / 'named.onnx')
    assert Predictor.load(tmp_path / 'named.onnx', 'onnxruntime').classes == NAMES
    assert not [each for each in caplog.records if 'no names' in each.getMessage()]
    bare = write_checkpoint(record(tmp_path / 'bare', names=()), 1, made[0])
    predictor = Predictor.load(bare, 'mxnet', top=99)
    assert (predictor.classes, predictor.named) == (tuple('01234567'), False)
    assert 'bare,1 has no names for its 8 classes, which are numbered' in caplog.text
    assert len(predictor(np.zeros(SHAPE, np.uint8))[0].classes) == 8


def test_names_that_do_not_fit_are_one_sentence(made, tmp_path, monkeypatch):
    checkpoint = made[1]['checkpoint']
    (tmp_path / 'names.txt').write_text('a\nb\n')
    for classes, words in (
        (list('abcdefga'), "the list of classes has 'a' more than once"),
        (tmp_path / 'names.txt', r'names\.txt names 2 classes, and .*model,7 gives a score for each of 8'),
        (['a'], 'the list of classes names 1 classes'),
        ('imagenet', 'ImageNet names 1000 classes'),
        (tmp_path / 'none.txt', r'none\.txt cannot be read'),
    ):
        with pytest.raises(DataError, match=words):
            Predictor.load(checkpoint, 'mxnet', classes=classes)
    monkeypatch.setitem(sys.modules, 'imagenet_classes', None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('imagenet'))):
        Predictor.load(checkpoint, 'mxnet', classes='imagenet')


def test_imagenets_names_are_keras_and_in_the_order_of_the_synsets():
    import imagenet_classes as package

    names = imagenet_classes()
    synsets = [package.imagenet1k_to_21k(number) for number in range(1000)]
    assert synsets == sorted(synsets)  # that of Keras's imagenet_class_index.json
    assert (names[0], names[386], names[999]) == ('tench', 'African_elephant', 'toilet_tissue')
    assert (names[134], names[517]) == ('crane_n02012849', 'crane_n03126707')
    assert len(set(names)) == 1000


@pytest.mark.parametrize('kind', ['embedding', 'feature map'])
@pytest.mark.parametrize('file', ['checkpoint', 'onnx', 'ncnn'])
def test_what_gives_no_class_scores_is_refused(tmp_path, kind, file):
    _, files = write_files(tmp_path, kind)
    record(tmp_path / 'model', {'embedding': 'E', 'feature map': 'Z'}[kind], names=())
    with pytest.raises(ConfigError, match=f'gives an? {kind}, not class scores; '):
        Predictor.load(files[file])


@pytest.mark.parametrize('file', ['checkpoint', 'onnx', 'ncnn'])
def test_class_scores_are_no_embeddings(made, file):
    with pytest.raises(ConfigError, match='gives class scores, not an embedding; `facesymbols predict`'):
        Embedder.load(made[1][file])


def test_a_network_of_which_nothing_is_known(small, images):
    for file in (small.checkpoint, small.onnx, small.ncnn):
        settings = {'image_shape': SHAPE}
        with pytest.raises(ConfigError, match=r'nothing records what .* gives: .*--classes FILE'):
            Predictor.load(file, **settings)
        found = Predictor.load(file, classes=list(NAMES), **settings).probabilities(images)
        np.testing.assert_allclose(found, softmax(small.values.embed(images)), atol=2e-6)


def test_of_others_classifiers_no_rule_is_assumed_and_the_options_say_it(small, images, tmp_path, caplog):
    path = write_foreign(tmp_path / 'net.onnx', small.values, STATISTICS, extra=['features'])
    settings = {'classes': list(NAMES), 'output_layer': '683'}
    Predictor.load(path, 'onnxruntime', **settings)
    assert 'pixels are 0..255 as they are, by default' in caplog.text
    found = Predictor.load(path, 'onnxruntime', pixels=STATISTICS, **settings).probabilities(images)
    np.testing.assert_allclose(found, softmax(small.values.embed(images)), atol=1e-4)


def test_mistakes_are_one_sentence(made, tmp_path):
    checkpoint = made[1]['checkpoint']
    with pytest.raises(ConfigError, match=r"interpolation='nearst' is not one of .*did you mean 'nearest'"):
        Predictor.load(checkpoint, interpolation='nearst')
    for top in (0, 1.5, True):
        with pytest.raises(ConfigError, match='top='):
            Predictor.load(checkpoint, top=top)
    with pytest.raises(ConfigError, match=r'images of 28x28x3 do not fit .*model,7, which takes 14x12x3'):
        Predictor.load(checkpoint, image_shape=(28, 28, 3))
    with pytest.raises(DataError, match='no images to predict'):
        Predictor.load(checkpoint, 'mxnet').probabilities([])
    damaged = write_checkpoint(record(tmp_path / 'model'), 1, made[0]._replace(bias=np.full(8, np.nan)))
    with pytest.raises(CheckpointError, match='not finite'):
        Predictor.load(damaged, 'mxnet')
