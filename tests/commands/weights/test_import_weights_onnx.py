"""The importer on ONNX files: what it writes and says, that the network trains, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from config import complete
from config.errors import CheckpointError
from recognition.checkpoint.network import load_network
from recognition.checkpoint.run_files import read_json
from recognition.commands.import_weights import main
from recognition.train import train
from tests.helpers import training
from tests.helpers.importing import written
from tests.helpers.narrow import small, write_network
from tests.helpers.onnx import rewritten as other

import mxnet as mx

SHAPE = (32, 32, 3)
NARROW = ['--config', 'net_multiplier=0.125']


@pytest.fixture(scope='module')
def source(tmp_path_factory, make_network):
    """An r18 with its config in the metadata, as its exporter writes it; nobody changes the file."""
    folder = tmp_path_factory.mktemp('source')
    prefix = write_network(make_network(small('r18', image_shape=SHAPE)), folder / 'model')
    return other.exported(prefix, folder / 'net.onnx', SHAPE)


@pytest.fixture
def model(source):
    """A copy of it without metadata."""
    copy = onnx.ModelProto()
    copy.CopyFrom(source)
    return other.bare(copy)


def put_in(path, folder, *words, network='r18'):
    return main(['onnx', str(path), '--network', network, '-o', str(folder / 'new'), *NARROW, *words])


def refused(model, folder, words, *options, **settings):
    path = model if hasattr(model, 'is_file') else folder / 'net.onnx'
    if path is not model:
        onnx.save(model, str(path))
    with pytest.raises(CheckpointError, match=words) as caught:
        put_in(path, folder, *options, **settings)
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)
    assert written(folder) == []


def test_what_is_written_and_said(model, tmp_path, capsys):
    for key, value in {'license': 'MIT', 'origin': 'made for a test'}.items():
        model.metadata_props.add(key=key, value=value)
    path = other.save(other.fold(other.outside(model)), tmp_path / 'net.onnx')
    assert not put_in(path, tmp_path)
    shown = capsys.readouterr().out
    assert 'license   MIT\n' in shown
    assert 'origin    made for a test\n' in shown
    assert f'pixels    taken as (x - 127.5) * {1 / 127.5:.10g}, since the file normalises none' in shown
    assert f'(x - 127.5) * {1 / 127.5:.10g} is inside' in shown
    assert 'embedding the embeddings of the file and of this network are ' in shown
    assert written(tmp_path) == [
        'new-0000.params',
        'new-0000.params.sha256',
        'new-config.json',
        'new-origin.json',
        'new-symbol.json',
    ]
    cfg = complete(read_json(tmp_path / 'new-config.json'))
    assert (cfg.network, cfg.emb_size, tuple(cfg.image_shape)) == ('r18', 24, SHAPE)
    images = np.random.RandomState(0).uniform(0, 255, (2, 3, *SHAPE[:2])).astype(np.float32)
    expected = other.run(path, ((images - 127.5) / 127.5).astype(np.float32))
    found = load_network(tmp_path / 'new', 0, image_shape=SHAPE)(mx.nd.array(images)).asnumpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_auto_says_which_network_it_is(model, tmp_path, capsys):
    put_in(other.save(other.numbered(model), tmp_path / 'net.onnx'), tmp_path, network='auto')
    shown = capsys.readouterr().out
    assert 'network   r18\n' in shown
    assert 'facesymbols train --network r18 ' in shown
    assert f' --image-shape 32,32,3 --pretrained {tmp_path / "new"},0' in shown


def test_pixels_that_the_metadata_asks_for(model, tmp_path, capsys):
    told = {'mean': [1.0, 2.0, 3.0], 'scale': 0.5, 'order': 'bgr'}
    model.metadata_props.add(key='pixels', value=json.dumps(told))
    path = other.save(other.outside(model), tmp_path / 'net.onnx')
    put_in(path, tmp_path)
    assert 'of BGR, which the file leaves to its caller, is inside now' in capsys.readouterr().out
    cfg = complete(read_json(tmp_path / 'new-config.json'))
    assert (tuple(cfg.input_mean), cfg.input_scale, cfg.input_order) == ((1.0, 2.0, 3.0), 0.5, 'bgr')


def test_twenty_steps_lower_the_loss(model, tmp_path):
    put_in(other.save(other.fold(model), tmp_path / 'net.onnx'), tmp_path)
    faces = training.write_faces(tmp_path / 'faces')
    cfg = complete(read_json(tmp_path / 'new-config.json'))
    settings = {key: cfg[key] for key in ('net_multiplier', 'emb_size', 'image_shape')}
    settings.update(
        end_epoch=3, max_steps=20, frequent=1, pretrained=str(tmp_path / 'new'), pretrained_epoch=0
    )
    train(training.config(faces, **settings), prefix=tmp_path / 'run' / 'model')
    lines = (tmp_path / 'run' / 'model-history.jsonl').read_text().splitlines()
    losses = [row['loss'] for row in map(json.loads, lines) if 'loss' in row]
    assert len(losses) == 20
    assert np.mean(losses[-5:]) < losses[0]


def test_another_head_is_drawn_fresh(model, tmp_path, capsys):
    path = other.save(other.fold(model), tmp_path / 'net.onnx')
    put_in(path, tmp_path, '--fresh-head', '--head', 'GAP')
    assert 'was drawn fresh' in capsys.readouterr().out
    assert complete(read_json(tmp_path / 'new-config.json')).net_output == 'GAP'


def test_another_network_is_refused_by_what_differs_first(model, tmp_path):
    there = r'has \S+ \(Conv 3x3, 8 -> 16\) where {} has stage1_unit3_'
    refused(model, tmp_path, r'has stage2_unit1_bn1 \(Batch.*\)|' + there.format('r34'), network='r34')
    refused(model, tmp_path, r'has conv0 \(Conv 3x3, 3 -> 8\) where y1 has conv_1_conv2d', network='y1')
    refused(model, tmp_path, r'\(Gemm, \d+ -> 24\) where r18 has pre_fc1 \(', '--emb-size', '8')
    model.graph.node[10].op_type = 'Softsign'
    del model.graph.node[10].input[1:], model.graph.node[10].attribute[:]
    refused(
        model,
        tmp_path,
        r'is of no preset; the nearest is r18, but it has .*\(Softsign\) where',
        network='auto',
    )


def damaged(model, name, value):
    held = other.arrays(model)
    weight = held[name].copy()
    weight.flat[0] = value
    return other.put(model, **{name: weight})


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_values_that_are_not_finite(model, tmp_path, value):
    refused(damaged(model, 'conv0_weight', value), tmp_path, "values that are not finite in 'conv0_weight'$")


def test_files_that_hold_no_network_to_read(model, tmp_path):
    path = tmp_path / 'net.onnx'
    content = model.SerializeToString()
    path.write_bytes(content[: len(content) // 2])
    refused(path, tmp_path, 'is damaged or not an ONNX file$')
    path.write_bytes(b'')
    refused(path, tmp_path, 'has 0 inputs')
    with pytest.raises(CheckpointError, match='does not exist'):
        put_in(tmp_path / 'none.onnx', tmp_path)


def test_weights_in_a_file_that_is_missing(model, tmp_path):
    path = tmp_path / 'net.onnx'
    onnx.save(model, str(path), save_as_external_data=True, location='net.data', size_threshold=0)
    put_in(path, tmp_path, '--overwrite')
    for file in tmp_path.glob('new*'):
        file.unlink()
    (tmp_path / 'net.data').unlink()
    path.touch()
    refused(path, tmp_path, 'keeps weights in a file beside it that is missing or damaged')


def test_graphs_of_other_kinds(model, tmp_path):
    output = model.graph.output[0]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info('conv0', TensorProto.FLOAT, ['N', 8, 32, 32])
    )
    refused(model, tmp_path, r"has 2 outputs \('embedding', 'conv0'\), where one is wanted$")
    del model.graph.output[1:]
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    refused(model, tmp_path, 'does not take images in float32 or uint8')
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
    refused(model, tmp_path, r'which is not a batch of images$')
    assert output.name == 'embedding'


def test_a_layer_without_its_weight(model, tmp_path):
    del next(node for node in model.graph.node if node.op_type == 'Conv').input[1:]
    refused(model, tmp_path, 'is damaged: its graph cannot be read$')


def test_a_quantised_file(model, tmp_path):
    node = next(node for node in model.graph.node if node.op_type == 'Conv')
    node.op_type = 'ConvInteger'
    refused(model, tmp_path, r'is quantised \(ConvInteger\)')


def test_a_graph_that_computes_otherwise_is_seen_by_its_outputs(model, tmp_path):
    """A Reshape that mixes the batch in is no Flatten; only the numbers show it."""
    flatten = next(node for node in model.graph.node if node.op_type == 'Flatten')
    turned = onnx.helper.make_node('Flatten', [flatten.input[0]], [flatten.output[0]], axis=1)
    swap = onnx.helper.make_node('Reshape', [flatten.input[0], 'mixed'], ['mixed_map'])
    back = onnx.helper.make_node('Transpose', ['mixed_map'], ['mixed_back'], perm=[0, 2, 1, 3])
    turned.input[0] = 'mixed_back'
    place = list(model.graph.node).index(flatten)
    del model.graph.node[place]
    for number, node in enumerate((swap, back, turned)):
        model.graph.node.insert(place + number, node)
    refused(other.put(model, mixed=np.int64([0, 8, -1, 4])), tmp_path, r'Transpose')
