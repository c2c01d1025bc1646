"""Two forms of a network from the command line, and the sentences of what refuses a network."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from config.errors import CheckpointError, ConfigError
from recognition.checkpoint.network import load_params, save_network
from recognition.commands.compare_layers import main
from recognition.data.images import encode_image
from symbols.ir.nodes import load_symbol
from tests.helpers.exported import export, save_tiny
from tests.helpers.iresnets import UNITS, iresnet, write_iresnet
from tests.helpers.small_network import WIDTH

import mxnet as mx

SIZE = ['--image-size', '32,32']


@pytest.fixture(scope='module')
def forms(tmp_path_factory):
    """A checkpoint, its ONNX file, and a copy of each with one wrong weight in conv1."""
    folder = tmp_path_factory.mktemp('forms')
    prefix = save_tiny(folder / 'net')
    export(prefix, folder / 'net.onnx')
    args, auxs = load_params(prefix, 1)
    weight = args['conv1_weight'].asnumpy().copy()
    weight[2, 1, 0, 0] = 9.0
    args['conv1_weight'] = mx.nd.array(weight)
    save_network(folder / 'wrong', 1, load_symbol(f'{prefix}-symbol.json'), args, auxs)
    model = onnx.load(folder / 'net.onnx')
    held = next(each for each in model.graph.initializer if each.name == 'conv1_weight')
    held.CopyFrom(numpy_helper.from_array(weight, held.name))
    onnx.save(model, folder / 'wrong.onnx')
    return folder


@pytest.mark.parametrize(
    ('one', 'other'), [('net,1', 'wrong.onnx'), ('net.onnx', 'wrong,1'), ('net,1', 'wrong,1')]
)
def test_a_wrong_weight_is_named_with_both_values(forms, one, other, capsys):
    assert main([str(forms / one), str(forms / other), *SIZE]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'A        {forms / one}, 1')
    assert 'differs  first conv1 (Conv' in lines[3]
    assert lines[3].endswith('conv1_weight[2, 1, 0, 0] is -0.310426 in A and 9 in B')
    assert lines[4] == 'before   conv0_relu is the last operator that agrees'


def test_what_agrees_is_said_and_listed(forms, capsys):
    pair = [str(forms / 'net,1'), str(forms / 'net.onnx'), *SIZE]
    assert main([*pair, '-v']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith('net,1, 14 operators')
    assert '  conv1_bn: ' in '\n'.join(lines)
    assert lines[-1] == 'differs  none'
    assert main([*pair, '--json', '--faces', str(faces(forms))]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['first'] is None
    assert told['same_output']
    assert {'a': 'fc1', 'b': 'embedding'}.items() <= told['agreed'][-1].items()


def faces(folder):
    path = folder / 'faces'
    path.mkdir(exist_ok=True)
    (path / '1.png').write_bytes(encode_image(np.full((40, 40, 3), 90, np.uint8), '.png'))
    return path


@pytest.mark.parametrize('names', [('net,1', 'net.onnx'), ('net.onnx', 'net,1')])
def test_a_checkpoint_without_a_record_has_the_size_of_the_file(forms, names, capsys):
    assert main([str(forms / name) for name in names]) == 0
    assert capsys.readouterr().out.endswith('differs  none\n')


def test_both_forms_up_to_a_layer(forms, tmp_path, capsys):
    export(forms / 'net', tmp_path / 'part.onnx', output_layer='pre_fc1')
    pair = [str(forms / 'net,1'), str(tmp_path / 'part.onnx')]
    for name in ('pre_fc1', 'pre_fc1_output'):
        assert main([*pair, '--output-layer', name]) == 0
        assert capsys.readouterr().out.endswith('differs  none\n')
    with pytest.raises(ConfigError, match=r"part\.onnx has no output 'conv1'"):
        main([*pair, '--output-layer', 'conv1'])


def test_values_in_a_file_beside_the_graph(forms, tmp_path, capsys):
    model = onnx.load(forms / 'wrong.onnx')
    onnx.save(model, tmp_path / 'wrong.onnx', save_as_external_data=True, location='values', size_threshold=0)
    assert main([str(forms / 'net,1'), str(tmp_path / 'wrong.onnx'), *SIZE]) == 1
    assert 'differs  first conv1 (Conv' in capsys.readouterr().out


def test_json_of_a_difference(forms, capsys):
    assert main([str(forms / 'net,1'), str(forms / 'wrong,1'), *SIZE, '--json', '--tolerance', '1e-3']) == 1
    first = json.loads(capsys.readouterr().out)['first']
    assert first['layers'] == ['conv1', 'conv1']
    assert first['weight'][2] == 9.0


def test_ncnn_has_other_names_and_folds(small, tmp_path, capsys):
    """The pair of the small network holds its scaling in the weights of its one layer."""
    size = ['--image-size', f'14,{WIDTH}']
    assert main([small.checkpoint, small.ncnn, *size]) == 0
    assert main([small.ncnn, small.onnx, *size]) == 0
    capsys.readouterr()
    shutil.copy(small.ncnn, tmp_path / 'net.param')
    values = np.fromfile(small.ncnn.replace('.param', '.bin'), np.float32)
    values[1] += 1  # behind the tag
    values.tofile(tmp_path / 'net.bin')
    assert main([small.checkpoint, str(tmp_path / 'net.param'), *size]) == 1
    assert 'differs  first fc1 (FullyConnected): value [0]' in capsys.readouterr().out


@pytest.mark.slow
def test_a_pytorch_state_beside_its_import(tmp_path, capsys):
    from recognition.commands.import_weights import main as import_weights

    path, _ = write_iresnet(tmp_path / 'backbone.pth', iresnet(UNITS['iresnet18']), value=lambda number: 0.01)
    prefix = tmp_path / 'net'
    import_weights(
        ['arcface_torch', str(path), '--network', 'r18', '-o', str(prefix), '--config', 'emb_size=8']
    )
    assert main([str(path), f'{prefix},0']) == 0
    args, auxs = load_params(prefix, 0)
    args['stage3_unit1_conv1_weight'][0] = 0.5
    save_network(prefix, 0, load_symbol(f'{prefix}-symbol.json'), args, auxs)
    capsys.readouterr()
    assert main([str(path), f'{prefix},0']) == 1
    assert 'first stage3_unit1_conv1 (Convolution)' in capsys.readouterr().out


def test_mistakes(forms, tmp_path):
    net = str(forms / 'net,1')
    with pytest.raises(CheckpointError, match=r'none\.onnx does not exist'):
        main([net, str(tmp_path / 'none.onnx'), *SIZE])
    with pytest.raises(CheckpointError, match=r'none\.pth does not exist'):
        main([str(tmp_path / 'none.pth'), net])
    with pytest.raises(ConfigError, match=r"'2' is not a share, from 0 to below 1"):
        main([net, net, '--tolerance', '2'])
    with pytest.raises(ConfigError, match=r'images of 40x32 do not fit .*net\.onnx, which takes 32x32x3'):
        main([str(forms / 'net.onnx'), net, '--image-size', '40,32'])
    shutil.copy(forms / 'net-0001.params', tmp_path / 'bad.onnx')
    with pytest.raises(CheckpointError, match=r'bad\.onnx is damaged'):
        main([net, str(tmp_path / 'bad.onnx'), *SIZE])
