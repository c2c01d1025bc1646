"""Networks that pnnx converts and ncnn runs: every family, every head but GNAP, with embeddings of length 1."""

from __future__ import annotations

import json

import numpy as np
import pytest

from config.presets import FAMILIES, HEADS
from recognition.checkpoint.network import load_network
from recognition.data.images import channels_first
from recognition.embed import Embedder
from recognition.embedding.agreement import cosine_distances
from recognition.export.ncnn_export import export_ncnn
from recognition.export.onnx_export import Options
from recognition.export.parity import TOLERANCE
from tests.helpers.families import MAPS
from tests.helpers.narrow import SLOW_TO_BUILD, SMALL_SHAPE, SMALLEST, small

import mxnet as mx


def export(prefix, output, image_shape=SMALL_SHAPE, **settings):
    return export_ncnn(prefix, 1, output, image_shape=image_shape, **settings)


def draw(count, shape=SMALL_SHAPE):
    return np.random.RandomState(5).randint(0, 256, (count, *shape)).astype(np.uint8)


def families():
    return [
        pytest.param(each, marks=[pytest.mark.slow] if each in SLOW_TO_BUILD else []) for each in FAMILIES
    ]


@pytest.mark.torch
@pytest.mark.parametrize('family', families())
def test_every_family(family, save, tmp_path):
    cfg = small(SMALLEST[family])
    prefix, output = save(cfg), tmp_path / 'net.ncnn.param'
    check = export(prefix, output, cfg.image_shape)
    assert check.difference <= TOLERANCE
    images = draw(3, cfg.image_shape)
    embedder = Embedder.load(output, 'ncnn', mirror='none', normalise=False, reference=f'{prefix},1')
    assert embedder.image_shape == cfg.image_shape
    net = load_network(prefix, 1, image_shape=cfg.image_shape)
    wanted = net(mx.nd.array(channels_first(images))).asnumpy()
    assert np.abs(embedder(images) - wanted).max() <= 1e-3 * np.abs(wanted).max()


@pytest.mark.torch
def test_channels_in_another_order(save, tmp_path):
    """pnnx wants the sizes of a split, without which ncnn crashes."""
    own = {'input_order': 'bgr', 'input_mean': (103.939, 116.779, 123.68), 'input_scale': (0.5, 0.1, 0.02)}
    prefix = save(small('r18', image_shape=SMALL_SHAPE, **own))
    assert export(prefix, tmp_path / 'net.param').difference <= TOLERANCE


@pytest.mark.torch
@pytest.mark.parametrize(
    'head', [pytest.param(head, marks=pytest.mark.slow) for head in HEADS if head != 'gnap']
)
def test_every_head_but_gnap_and_those_of_maps_as_maps(head, save, tmp_path):
    prefix, output = save(small('r18', image_shape=SMALL_SHAPE, net_output=head)), tmp_path / 'net.param'
    assert export(prefix, output).difference <= TOLERANCE
    told = json.loads(output.with_suffix('.json').read_text())
    assert len(told['embedding_shape']) == (3 if head in MAPS else 1)


@pytest.mark.torch
@pytest.mark.parametrize('side', [47, 48])
def test_tensorflows_padding(side, save, tmp_path):
    cfg = small('article_xception', image_shape=(side, 48, 3))
    assert export(save(cfg), tmp_path / 'net.param', cfg.image_shape).difference <= TOLERANCE


@pytest.mark.torch
def test_embeddings_of_length_1(save, tmp_path):
    prefix = save(small('r18', image_shape=SMALL_SHAPE))
    for name, unit in (('plain', False), ('unit', True)):
        options = Options(normalise=unit)
        export(prefix, tmp_path / f'{name}.param', options=options)
    plain, unit = (
        Embedder.load(tmp_path / f'{name}.param', 'ncnn', mirror='none', normalise=False)(draw(3))
        for name in ('plain', 'unit')
    )
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(plain, axis=1).min() > 2
    assert cosine_distances(plain, unit).max() < 1e-6
    assert json.loads((tmp_path / 'unit.json').read_text())['options']['normalise'] is True
