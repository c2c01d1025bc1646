"""Each engine with the graphs that it may meet, and with files that are damaged."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from config.errors import CheckpointError
from recognition.data.images import PNG, encode_image
from recognition.embedding.engine_choice import open_engine
from recognition.engines import ENGINES
from recognition.engines.base import INT8_LIMIT, LIMIT, WINOGRAD_LIMIT
from recognition.engines.model import find_model
from tests.helpers.small_network import SHAPE, make_values, write_ncnn, write_onnx

ROOT = Path(__file__).resolve().parents[3]
ONNX = ('onnxruntime', 'openvino')


def opened(path, engine, **settings):
    return open_engine(engine, find_model(path), batch_size=8, **settings)


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(1).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


@pytest.mark.parametrize('engine', ONNX)
@pytest.mark.parametrize('as_bytes', [False, True])
@pytest.mark.parametrize('batch', ['N', 1, 2, 5, 8])
def test_bytes_or_floats_and_any_batch_that_a_graph_fixes(small, tmp_path, images, engine, as_bytes, batch):
    path = write_onnx(tmp_path / 'net.onnx', small.values, as_bytes=as_bytes, batch=batch)
    net = opened(path, engine)
    assert net.image_shape == SHAPE
    np.testing.assert_allclose(net.embed(images), small.values.embed(images), atol=1e-4)
    np.testing.assert_allclose(net.embed(images[:2]), small.values.embed(images[:2]), atol=1e-4)
    assert (net.precision, net.limit) == ('float32', LIMIT)


@pytest.mark.parametrize('engine', ONNX)
def test_a_size_that_the_graph_leaves_open(small, tmp_path, images, engine):
    path = write_onnx(tmp_path / 'net.onnx', small.values, size=('height', 'width'))
    net = opened(path, engine, image_shape=SHAPE)
    assert net.image_shape == SHAPE
    np.testing.assert_allclose(net.embed(images), small.values.embed(images), atol=1e-4)


def test_images_that_the_network_cannot_take_are_told_when_it_is_opened(small, tmp_path):
    path = write_onnx(tmp_path / 'net.onnx', small.values, size=('height', 'width'))
    with pytest.raises(
        CheckpointError, match=r'onnxruntime cannot run the network on images of \(112, 112, 3\)'
    ):
        opened(path, 'onnxruntime')


@pytest.mark.parametrize('engine', ONNX)
def test_an_int8_file_says_what_it_is(small, tmp_path, engine):
    model = onnx.load(str(write_onnx(tmp_path / 'net.onnx', small.values)))
    nodes = [
        helper.make_node('QuantizeLinear', ['scaled', 'step', 'zero'], ['eight']),
        helper.make_node('DequantizeLinear', ['eight', 'step', 'zero'], ['back']),
    ]
    model.graph.node[4].input[0] = 'back'
    for place, node in enumerate(nodes, 4):
        model.graph.node.insert(place, node)
    model.graph.initializer.append(helper.make_tensor('step', TensorProto.FLOAT, [], [1 / 127]))
    model.graph.initializer.append(helper.make_tensor('zero', TensorProto.INT8, [], [0]))
    onnx.save(model, str(tmp_path / 'int8.onnx'))
    net = opened(tmp_path / 'int8.onnx', engine, reference=find_model(small.checkpoint))
    assert (net.precision, net.limit) == ('INT8', INT8_LIMIT)


def test_ncnn_says_what_it_is(small):
    net = opened(small.ncnn, 'ncnn', image_shape=SHAPE)
    assert (net.precision, net.limit) == ('float32 with Winograd', WINOGRAD_LIMIT)


@pytest.mark.parametrize('engine', ONNX)
@pytest.mark.parametrize('content', [b'', b'no network', None])
def test_a_damaged_onnx_file_is_one_sentence(small, tmp_path, engine, content):
    cut = Path(small.onnx).read_bytes()[:900]
    (tmp_path / 'net.onnx').write_bytes(cut if content is None else content)
    with pytest.raises(CheckpointError, match=r'net\.onnx is damaged or not an ONNX file') as caught:
        opened(tmp_path / 'net.onnx', engine)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize('engine', ONNX)
@pytest.mark.parametrize('shape', [['N', 512], ['N', 4, 14, 12], ['N', 14, 12, 4], ['N', 'C', 14]])
def test_a_graph_that_takes_no_images_is_one_sentence(tmp_path, engine, shape):
    graph = helper.make_graph(
        [helper.make_node('Relu', ['data'], ['out'])],
        'other',
        [helper.make_tensor_value_info('data', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('out', TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.save(model, str(tmp_path / 'net.onnx'))
    with pytest.raises(CheckpointError, match='which is not a batch of RGB or grey images'):
        opened(tmp_path / 'net.onnx', engine)


@pytest.mark.parametrize(
    'damage',
    [
        lambda graph, values: values.write_bytes(values.read_bytes()[:4000]),
        lambda graph, values: values.write_bytes(b''),
        lambda graph, values: graph.write_text(graph.read_text().replace('InnerProduct', 'Unknown')),
        lambda graph, values: graph.write_text(''),
    ],
)
def test_a_damaged_pair_of_ncnn_is_one_sentence(tmp_path, damage):
    graph = write_ncnn(tmp_path / 'net.ncnn', make_values())
    damage(graph, graph.with_suffix('.bin'))
    with pytest.raises(CheckpointError, match='damaged, or not a pair that ncnn can load'):
        opened(graph, 'ncnn', image_shape=SHAPE)


def test_paths_that_stand_for_networks(small, tmp_path):
    assert find_model(small.ncnn) == find_model(small.ncnn.replace('.param', '.bin'))
    assert find_model(small.checkpoint).kind == 'checkpoint'
    with pytest.raises(CheckpointError, match=r'is not PREFIX,EPOCH.*or give a file NET\.onnx or a pair'):
        find_model(tmp_path / 'net.pt')
    for name in ('none.onnx', 'none.ncnn.param', 'none.ncnn.bin'):
        with pytest.raises(CheckpointError, match=r'none\..* does not exist'):
            find_model(tmp_path / name)
    with pytest.raises(CheckpointError, match=r'none-0003\.params does not exist|none-symbol\.json'):
        opened(tmp_path / 'none,3', 'mxnet')


@pytest.mark.parametrize('engine', ONNX)
def test_a_graph_that_gives_maps_is_refused_when_it_is_opened(tmp_path, engine):
    sides = ['N', 3, 14, 12]
    graph = helper.make_graph(
        [helper.make_node('Relu', ['data'], ['out'])],
        'maps',
        [helper.make_tensor_value_info('data', TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info('out', TensorProto.FLOAT, sides)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.save(model, str(tmp_path / 'net.onnx'))
    with pytest.raises(CheckpointError, match=r'gives shape \(4, 3, 14, 12\).*its head gives neither'):
        opened(tmp_path / 'net.onnx', engine)


def test_maps_of_ncnn_are_not_taken_for_embeddings(tmp_path):
    lines = ['7767517', '2 2', 'Input data 0 1 data', 'ReLU out 1 1 data out']
    (tmp_path / 'net.ncnn.param').write_text('\n'.join(lines) + '\n')
    (tmp_path / 'net.ncnn.bin').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'gives shape \(4, 3, 14, 12\).*its head gives neither'):
        opened(tmp_path / 'net.ncnn.param', 'ncnn', image_shape=SHAPE)


def write_convolution(folder):
    """Write a pair of ncnn with a 3x3 convolution and a mean over its map."""
    weight = np.random.default_rng(0).normal(0, 0.01, (16, 3, 3, 3)).astype(np.float32)
    lines = [
        '7767517',
        '3 3',
        'Input data 0 1 data',
        'Convolution conv 1 1 data conv 0=16 1=3 4=1 6=432',
        'Pooling fc1 1 1 conv fc1 0=1 4=1',
    ]
    (folder / 'net.ncnn.param').write_text('\n'.join(lines) + '\n')
    (folder / 'net.ncnn.bin').write_bytes(np.zeros(1, np.uint32).tobytes() + weight.tobytes())
    return folder / 'net.ncnn.param', weight


def test_ncnn_is_silent_whatever_the_number_of_images(tmp_path, capfd):
    """It tells of every convolution on standard error where the threads change after a net is loaded."""
    path, weight = write_convolution(tmp_path)
    net = opened(path, 'ncnn', image_shape=(48, 48, 3), threads=4)
    images = np.random.default_rng(1).integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)
    path.unlink()  # what runs on all threads is loaded from the same files
    found = [net.embed(images), np.concatenate([net.embed(images[:1]), net.embed(images[1:])])]
    padded = np.pad(images.transpose(0, 3, 1, 2).astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    sums = np.array(
        [[padded[:, :, y : y + 48, x : x + 48].mean(axis=(2, 3)) for x in range(3)] for y in range(3)]
    )
    wanted = np.einsum('yxnc,ocyx->no', sums, weight)
    for each in found:
        np.testing.assert_allclose(each, wanted, rtol=1e-3, atol=1e-3)
    assert capfd.readouterr().err == ''


def test_threads_come_too_late_for_an_mxnet_that_is_imported(small, monkeypatch, caplog):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    with caplog.at_level(logging.WARNING):
        opened(small.checkpoint, 'mxnet', image_shape=SHAPE, threads=1)
        assert caplog.text == ''
        opened(small.checkpoint, 'mxnet', image_shape=SHAPE, threads=3)
    assert 'set OMP_NUM_THREADS=3 before' in caplog.text


SETTLED = """
import os, sys
from recognition.embed import Embedder
engine, threads = sys.argv[2], int(sys.argv[3])
embedder = Embedder.load(sys.argv[1], engine, threads=threads, image_shape=(14, 12, 3))
import mxnet
print(mxnet.base._LIB.omp_get_max_threads(), os.environ.get('OMP_NUM_THREADS'))
"""


def engines_and_threads():
    """Yield every engine with both settings; one of the two is quick, since the engine does not read it."""
    for quick, engine in ((None, 'auto'), ('2', 'mxnet'), (None, 'onnxruntime')):
        for before in (None, '2'):
            yield pytest.param(engine, before, marks=[] if before == quick else pytest.mark.slow)


@pytest.mark.parametrize(('engine', 'before'), list(engines_and_threads()))
def test_threads_hold_for_mxnet_where_it_is_not_imported_yet(small, cache, engine, before):
    others = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SETTLED, small.checkpoint, engine, '3'],
        env={**others, **({'OMP_NUM_THREADS': before} if before else {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ['3', str(before)], done.stderr
    assert 'no effect' not in done.stderr


CTRL_C = """
import signal, sys
from recognition.cli import run
from recognition.embed import Embedder
def main():
    embedder = Embedder.load(sys.argv[1], sys.argv[2], image_shape=(14, 12, 3))
    print(embedder(sys.argv[3]).shape, flush=True)
    signal.raise_signal(signal.SIGINT)
run(main)
"""


@pytest.mark.parametrize('engine', sorted(ENGINES))
def test_ctrl_c_ends_a_program_in_order_whichever_engine_is_loaded(small, cache, tmp_path, engine):
    """What OpenVINO leaves behind as the stack of signal handlers ended the process with a segmentation fault."""
    network = {'checkpoint': small.checkpoint, 'ncnn': small.ncnn}.get(ENGINES[engine].reads, small.onnx)
    image = tmp_path / 'face.png'
    image.write_bytes(encode_image(np.zeros((14, 12, 3), np.uint8), PNG))
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', CTRL_C, network, engine, str(image)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.count('(1, ')) == (130, 1), done.stderr
    assert done.stderr.endswith('interrupted\n')
