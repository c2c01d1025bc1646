"""Foreign checkpoints through every door: names of any script, and the output that a user names."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from config.errors import ConfigError
from recognition.checkpoint.network import load_network
from recognition.commands import audit, embed, export, optimize, plot
from recognition.embed import Embedder
from recognition.embedding.storage import load_embeddings
from recognition.engines.record import Record, checkpoint_record
from recognition.export.ncnn_export import export_ncnn
from recognition.export.onnx_export import export_onnx, read_metadata
from recognition.export.optimized_export import export_optimized
from tests.helpers.classifiers import record
from tests.helpers.hand_written import SIDE, S, body, face, save, scores

import mxnet as mx

SIZE, SHAPE = ['--image-size', f'{SIDE},{SIDE}'], (SIDE, SIDE, 3)
NAMES = ['früh/conv', '面 0', 'scope/a b:c']

pytestmark = pytest.mark.usefixtures('cache')


def photos():
    return np.random.default_rng(1).integers(0, 256, (3, *SHAPE), dtype=np.uint8)


def wanted(symbol_prefix, output=None):
    net = load_network(symbol_prefix, 1, image_shape=SHAPE, output=output)
    return net(mx.nd.array(photos().transpose(0, 3, 1, 2))).asnumpy()


def heads():
    return S.Group([scores('embed'), S.FullyConnected(body(layer='other'), num_hidden=2, name='gender')])


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """A checkpoint of two outputs, cls and gender, and a layer embed below the one."""
    return save(tmp_path_factory.mktemp('two') / 'model', heads())


def embedded(path, engine, **settings):
    plain = {'normalise': False, 'mirror': 'none', 'image_shape': SHAPE}
    with Embedder.load(path, engine, **plain, **settings) as embedder:
        return embedder(photos()), embedder.network


@pytest.mark.parametrize('name', NAMES)
def test_names_of_any_script(tmp_path, name):
    prefix, same = save(tmp_path / 'model', face(layer=name)), save(tmp_path / 'same', face())
    expected = wanted(same)
    np.testing.assert_array_equal(wanted(prefix), expected)
    for engine in ('mxnet', 'onnxruntime'):
        np.testing.assert_allclose(embedded(f'{prefix},1', engine)[0], expected, rtol=1e-4, atol=1e-4)
    export_optimized(prefix, 1, tmp_path / 'fast', image_shape=SHAPE, for_mxnet=False)
    np.testing.assert_allclose(wanted(tmp_path / 'fast'), expected, rtol=1e-4, atol=1e-4)
    assert not audit.main([f'{prefix},1', *SIZE, '-o', str(tmp_path / 'audit.json'), '--json'])
    assert not plot.main([f'{prefix},1', *SIZE, '-o', str(tmp_path / 'net.html')])


@pytest.mark.parametrize('engine', ['mxnet', 'onnxruntime', 'openvino'])
def test_engines_give_the_output_that_is_named(two, engine):
    found, network = embedded(f'{two},1', engine, output_layer='embed')
    np.testing.assert_allclose(found, wanted(two, 'embed'), rtol=1e-4, atol=1e-4)
    other, another = embedded(f'{two},1', engine, output_layer='gender_output')
    assert (found.shape, other.shape) == ((3, 6), (3, 2))
    assert network == embedded(f'{two},1', 'mxnet', output_layer='embed_output')[1] != another


def test_an_onnx_file_ends_in_the_output_that_is_named(two, tmp_path):
    export_onnx(two, 1, tmp_path / 'net.onnx', image_shape=SHAPE, output_layer='embed')
    found, network = embedded(tmp_path / 'net.onnx', 'onnxruntime')
    np.testing.assert_allclose(found, wanted(two, 'embed'), rtol=1e-4, atol=1e-4)
    assert network == embedded(f'{two},1', 'mxnet', output_layer='embed')[1]
    assert read_metadata(tmp_path / 'net.onnx')['output_layer'] == 'embed'


@pytest.mark.torch  # for pnnx
def test_ncnn_s_pair_does_too(two, tmp_path):
    export_ncnn(two, 1, tmp_path / 'net.ncnn.param', image_shape=SHAPE, output_layer='embed')
    np.testing.assert_allclose(
        embedded(tmp_path / 'net.ncnn.param', 'ncnn')[0], wanted(two, 'embed'), rtol=1e-2, atol=1e-2
    )


def test_what_is_recorded_of_the_network_is_not_said_of_another_output(tmp_path):
    prefix = save(record(tmp_path / 'model', shape=SHAPE), heads())
    with pytest.raises(ConfigError, match='class scores'):
        embedded(f'{prefix},1', 'mxnet')
    np.testing.assert_array_equal(embedded(f'{prefix},1', 'mxnet', output_layer='embed')[0].shape, (3, 6))
    export_onnx(prefix, 1, tmp_path / 'net.onnx', output_layer='embed')
    assert not {'kind', 'classes', 'config'} & set(read_metadata(tmp_path / 'net.onnx'))
    export_optimized(prefix, 1, tmp_path / 'fast', output_layer='embed')
    assert checkpoint_record(tmp_path / 'fast') == Record()


def test_the_commands_take_an_output_layer(two, tmp_path, capsys):
    (tmp_path / 'faces').mkdir()
    for number, photo in enumerate(photos()):
        cv2.imwrite(str(tmp_path / 'faces' / f'{number}.png'), photo[:, :, ::-1])
    model = ['--model', f'{two},1', *SIZE, '--output-layer', 'embed']
    assert not export.main([*model, '-o', str(tmp_path / 'net.onnx')])
    assert 'output      6 values' in capsys.readouterr().out
    assert not optimize.main([*model, '-o', str(tmp_path / 'fast'), '--portable'])
    np.testing.assert_allclose(wanted(tmp_path / 'fast', 'embed'), wanted(two, 'embed'), rtol=1e-4, atol=1e-4)
    plain = ['--engine', 'mxnet', '--mirror', 'none', '--no-normalise']
    assert not embed.main([str(tmp_path / 'faces'), *model, *plain, '-o', str(tmp_path / 'faces.npz')])
    rows = load_embeddings(tmp_path / 'faces.npz').rows
    np.testing.assert_allclose(rows, wanted(two, 'embed'), rtol=1e-4, atol=1e-4)


def test_audit_and_plot_show_it_all_or_up_to_a_layer(two, tmp_path, capsys):
    assert not audit.main([f'{two},1', *SIZE, '--format', 'csv'])
    whole = capsys.readouterr().out
    assert not audit.main([f'{two},1', *SIZE, '--format', 'csv', '--output-layer', 'embed'])
    part = capsys.readouterr().out
    assert [name in whole for name in ('cls', 'gender', 'embed')] == [True, True, True]
    assert [name in part for name in ('cls', 'gender', 'embed')] == [False, False, True]
    assert not plot.main([f'{two},1', *SIZE, '-o', str(tmp_path / 'net.dot'), '--output-layer', 'embed'])
    assert 'gender' not in (tmp_path / 'net.dot').read_text()
