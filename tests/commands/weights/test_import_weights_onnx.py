"""The importer on ONNX files: what it writes and says, that the network trains, and what is refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from config import complete
from config.errors import CheckpointError, MissingExtra
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


def test_a_file_of_another_sum_is_refused(model, tmp_path):
    path = tmp_path / 'net.onnx'
    onnx.save(model, str(path))
    path.with_name('net.onnx.sha256').write_text('0' * 64 + '  net.onnx\n')
    with pytest.raises(
        CheckpointError, match=r'net\.onnx is damaged: its sum is not the one in net\.onnx\.sha256'
    ):
        put_in(path, tmp_path)
    assert written(tmp_path) == []


def test_what_is_written_and_said(model, tmp_path, capsys):
    for key, value in {'license': 'MIT', 'origin': 'made for a test'}.items():
        model.metadata_props.add(key=key, value=value)
    path = other.save(other.fold(other.outside(model)), tmp_path / 'net.onnx')
    assert not put_in(path, tmp_path)
    shown = capsys.readouterr().out
    assert 'license   MIT\n' in shown
    assert 'origin    made for a test\n' in shown
    assert f'pixels    (x - 127.5) * {1 / 127.5:.10g} is assumed: the file neither normalises them' in shown
    assert f'(x - 127.5) * {1 / 127.5:.10g} is inside' in shown
    assert 'embedding the embeddings of the file and of this network are ' in shown
    assert 'new-config.json, ' in shown
    assert 'new-origin.json\n' in shown
    assert written(tmp_path) == [
        'new-0000.params',
        'new-0000.params.sha256',
        'new-config.json',
        'new-origin.json',
        'new-symbol.json',
    ]
    assert read_json(tmp_path / 'new-origin.json') == {'license': 'MIT', 'origin': 'made for a test'}
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


def test_auto_says_that_a_width_may_be_missing(model, tmp_path):
    path = str(other.save(model, tmp_path / 'net.onnx'))
    with pytest.raises(
        CheckpointError, match=r'the nearest is r18: .*another width needs --config net_multiplier'
    ):
        main(['onnx', path, '--network', 'auto', '-o', str(tmp_path / 'new')])


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
    shown = capsys.readouterr().out
    assert 'was drawn fresh' in shown
    assert 'embedding the backbones of the file and of this network are ' in shown
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
        r'is not a network of any preset; the nearest is r18: the file has .*\(Softsign\) where',
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
    with pytest.raises(CheckpointError, match=r'is a folder$'):
        put_in(tmp_path, tmp_path)


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
    refused(model, tmp_path, r"has 2 outputs \('embedding', 'conv0'\); it must have one$")
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


def test_an_axis_that_moves_behind_the_last_map(model, tmp_path):
    """The dense layer would read the values in another order."""
    flatten = next(node for node in model.graph.node if node.op_type == 'Flatten')
    turned = onnx.helper.make_node('Transpose', [flatten.input[0]], ['turned'], perm=[0, 2, 3, 1])
    flatten.input[0] = 'turned'
    model.graph.node.insert(list(model.graph.node).index(flatten), turned)
    words = r'has turned \(Transpose, perm \(0, 2, 3, 1\)\) where r18 has pre_fc1 \(Gemm, 256 -> 24\)$'
    refused(model, tmp_path, words)


def behind(model, op, *inputs, **constants):
    """Put an operator behind the last one; its other inputs and their values."""
    last = model.graph.node[-1]
    name, last.output[0] = last.output[0], 'before'
    model.graph.node.append(onnx.helper.make_node(op, ['before', *inputs], [name], name='further'))
    return other.put(model, **constants)


@pytest.mark.parametrize('op', ['Mul', 'Div'])
def test_an_operator_behind_the_network(model, tmp_path, op):
    words = rf'has further \({op}, constant 2\.0\) behind fc1 \(Batch.*\), where r18 ends$'
    refused(behind(model, op, 'two', two=np.float32(2)), tmp_path, words)


def test_a_sum_of_other_maps_is_told_by_what_it_reads(model, tmp_path):
    node = next(node for node in model.graph.node if node.name == 'stage2_unit2_plus')
    node.input[:] = [node.input[0]] * 2
    refused(
        model, tmp_path, r"\(Add\) of '(\w+)' and '\1', not of .*, where r18 has stage2_unit2_plus \(Add\)$"
    )


@pytest.fixture
def turned(make_network, tmp_path):
    """A file whose first slopes are those of columns, of which there are as many as channels."""
    cfg = small('r18', image_shape=(16, 16, 3), net_multiplier=0.25)
    model = other.bare(
        other.exported(write_network(make_network(cfg), tmp_path / 'm'), tmp_path / 'a.onnx', (16, 16, 3))
    )
    (name,) = [node.input[1] for node in model.graph.node if node.name == 'relu0']
    return other.put(model, **{name: other.arrays(model)[name].reshape(-1)})


@pytest.mark.parametrize('words', [(), ('--fresh-head', '--head', 'GAP')], ids=['whole', 'body'])
def test_what_the_structure_does_not_show_is_seen_by_the_outputs(turned, tmp_path, words):
    first = r'so nothing is written; the first layer that differs is \w+ \(PRelu'
    refused(turned, tmp_path, first, *words, '--config', 'net_multiplier=0.25')


def test_nothing_is_written_without_the_package_that_runs_the_file(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(
        MissingExtra, match=r'comparison of an ONNX file .* needs the package onnxruntime: pip install'
    ):
        put_in(other.save(model, tmp_path / 'net.onnx'), tmp_path)
    assert written(tmp_path) == []
