import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.errors import CheckpointError, ConfigError
from recognition.commands.audit import main
from symbols.audit.core import audit
from symbols.ir.nodes import load_symbol

import mxnet as mx

ROOT = Path(__file__).parents[2]
LONG = 'a_layer_whose_name_is_far_too_long_for_a_column_of_an_ordinary_terminal_window'


@pytest.fixture
def network(tmp_path):
    body = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), num_filter=64, no_bias=True, name=LONG)
    body = mx.sym.LeakyReLU(body, act_type='prelu', name='[bold]relu')
    body = mx.sym.FullyConnected(body, num_hidden=256, name='pre_fc1')
    symbol = mx.sym.BatchNorm(body, name='fc1')
    path = tmp_path / 'small-symbol.json'
    symbol.save(str(path))
    return str(path)


def printed_json(capsys, *argv):
    assert main([*argv, '--json']) is None
    return json.loads(capsys.readouterr().out)


def test_json_of_a_file(network, capsys):
    shown = printed_json(capsys, network, '--shape', '2,3,10,10')
    expected = audit(load_symbol(network), {'data': (2, 3, 10, 10)}).total
    assert shown['total'] == {
        'parameters': expected.parameters,
        'trainable': expected.trainable,
        'fixed': 256,
        'auxiliary': 512,
        'flops': 2 * (64 * 64 * 27 + 256 * 4096),
        'bytes': 2 * 4 * (2 * 64 * 8 * 8 + 2 * 256),
    }
    assert shown['inputs'] == {'data': [2, 3, 10, 10]}
    assert [layer['name'] for layer in shown['layers']] == [LONG, '[bold]relu', 'pre_fc1', 'fc1']
    assert shown['layers'][3]['parameters'][0] == {
        'name': 'fc1_gamma',
        'shape': [256],
        'kind': 'fixed',
        'shared_with': [],
    }
    missing = shown['total']['parameters'] - shown['print_summary']['total']
    assert sum(item['difference'] for item in shown['differences']) == missing == 64 + 256 * (4096 - 64)
    assert shown['print_summary']['error'] is None


def test_the_default_shape_is_a_face(network, capsys):
    assert printed_json(capsys, network)['inputs'] == {'data': [1, 3, 112, 112]}


def test_text_for_a_pipe_is_whole(network, capsys):
    main([network, '--shape', '1,3,10,10'])
    text = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows[LONG] == [LONG, 'Convolution', '1x3x10x10', '1x64x8x8', '1,728', '110,592', '16,384', '1,728']
    assert rows['[bold]relu'] == ['[bold]relu', 'PReLU', '1x64x8x8', '1x64x8x8', '64', '16,384', '0']
    assert rows['pre_fc1'][-4:] == ['1,048,832', '1,048,576', '1,024', '16,640']
    assert rows['total'] == ['total', '1,050,880', '256', '512', '1,159,168', '34,816', '18,880']
    assert 'off by 1,032,256' in text
    assert 'print_summary does not count PReLU slopes' in text
    assert 'it flattens its 1x64x8x8 input to 4096 features' in text
    assert '\x1b' not in text


def test_layers_in_json_and_the_layers_of_a_file(network, capsys):
    shown = printed_json(capsys, network, '--shape', '2,3,10,10', '--level', 'layers')
    expected = [('data', 'InputLayer', []), (LONG, 'Conv2D', ['data']), ('[bold]relu', 'PReLU', [LONG])]
    expected += [('pre_fc1', 'Dense', ['[bold]relu']), ('fc1', 'BatchNormalization', ['pre_fc1'])]
    assert [(each['name'], each['type'], each['inputs']) for each in shown['layers']] == expected
    assert shown['layers'][4] == {
        'name': 'fc1',
        'type': 'BatchNormalization',
        'inputs': ['pre_fc1'],
        'output_shapes': [[2, 256]],
        'trainable': 256,
        'fixed': 256,
        'auxiliary': 512,
        'flops': 0,
        'bytes': 2 * 256 * 4,
        'operators': ['fc1'],
    }
    assert sum(each['flops'] for each in shown['layers']) == shown['total']['flops']
    assert shown['weighted_layers'] == {'count': 2, 'terms': '1 + 1'}


def test_text_names_what_is_shared_uncounted_or_crashes(tmp_path, capsys):
    data, weight = mx.sym.var('data'), mx.sym.var('w')
    body = mx.sym.Correlation(data, data, kernel_size=1, max_displacement=1, pad_size=1, name='corr')
    body = mx.sym.broadcast_div(body, mx.sym.mean(body, name='mean'), name='divide')
    body = mx.sym.FullyConnected(body, weight, no_bias=True, num_hidden=9 * 16, name='one')
    body = mx.sym.FullyConnected(body, weight, no_bias=True, num_hidden=9 * 16, name='two')
    path = tmp_path / 'odd-symbol.json'
    body.save(str(path))
    main([str(path), '--shape', '1,3,4,4'])
    text = capsys.readouterr().out
    assert 'w is shared, and counts once, at one' in text
    assert 'layers without a rule for MACs: Correlation' in text
    assert 'crashes at divide: IndexError' in text
    shown = printed_json(capsys, str(path), '--shape', '1,3,4,4')
    assert shown['print_summary']['total'] is None
    assert shown['uncounted'] == [{'layer': 'corr', 'operator': 'Correlation'}]
    assert shown['layers'][0]['flops'] is None


def test_several_inputs_are_named(tmp_path, capsys):
    symbol = mx.sym.FullyConnected(mx.sym.var('left') + mx.sym.var('right'), num_hidden=4, name='fc')
    path = tmp_path / 'two-symbol.json'
    symbol.save(str(path))
    shown = printed_json(capsys, str(path), '--shape', 'left=1,5', '--shape', 'right=1,5')
    assert shown['total']['parameters'] == 24
    assert shown['inputs'] == {'left': [1, 5], 'right': [1, 5]}


def test_a_preset_and_its_overrides(capsys):
    shown = printed_json(capsys, 'r18', '--activation', 'relu')
    assert shown['inputs'] == {'data': [1, 3, 112, 112]}
    assert shown['total']['parameters'] == 24023616
    assert shown['total']['auxiliary'] == 14720
    assert shown['total']['fixed'] == 512
    assert shown['print_summary']['total'] == 24023616
    assert shown['differences'] == []
    small = printed_json(
        capsys,
        'r18',
        '--head',
        'GAP',
        '--emb-size',
        '64',
        '--config',
        'net_multiplier=0.25',
        '--shape',
        '2,3,64,48',
    )
    assert small['inputs'] == {'data': [2, 3, 64, 48]}
    assert small['total']['fixed'] == 64
    assert small['layers'][-1]['output_shapes'] == [[2, 64]]


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['d12'], "'d12' is not a network preset.*did you mean 'd121'"),
        (['r18', '--config', 'emb_sze=3'], "did you mean 'emb_size'"),
        (['r18', '--config', 'emb_size'], 'KEY=VALUE'),
        (['r18', '--shape', '1,3,x,112'], 'must be whole numbers with commas'),
        (['r18', '--shape', '1,3,99999999999,112'], r'image_shape=\(99999999999, 112, 3\) is not allowed'),
        (['r18', '--shape', '0,3,112,112'], 'must be whole numbers with commas'),
        (['r18', '--shape', '1,3,70000,112'], 'image_shape=.* whole number from 1 to 65535'),
        (['r18', '--config', 'network=r50'], '--config network=r50: network is not set by --config here'),
        (['r18', '--config', 'dataset=emore'], 'dataset is not set by --config here'),
        (['r18', '--config', 'loss=arcface'], 'loss is not set by --config here'),
        (['r18', '--shape', 'dta=1,3,112,112'], "no input 'dta'; did you mean 'data'"),
        (['any-symbol.json', '--head', 'E'], 'already built, so net_output cannot change'),
    ],
)
def test_a_mistake_is_one_sentence(argv, message):
    with pytest.raises(ConfigError, match=message):
        main(argv)


@pytest.mark.parametrize('shape', ['1,3,99999999999,112', 'data=1,3,65536,65536'])
def test_a_shape_no_array_can_have_is_one_sentence_for_a_file_too(network, shape):
    with pytest.raises(ConfigError, match=r"^the shape .*'data'"):
        main([network, '--shape', shape])


def test_a_missing_file_is_one_sentence():
    with pytest.raises(CheckpointError, match=r'none-symbol\.json does not exist'):
        main(['none-symbol.json'])


def test_no_colour_and_no_cut_without_a_terminal(network, capsys, monkeypatch):
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('COLUMNS', '40')
    main([network])
    text = capsys.readouterr().out
    assert '\x1b' not in text
    assert any(line.split()[:2] == [LONG, 'Convolution'] for line in text.splitlines() if line)


def test_as_a_program_it_leaves_one_sentence_and_a_status(tmp_path):
    (tmp_path / 'cut-symbol.json').write_text('{"nodes": [')
    command = [
        sys.executable,
        '-W',
        'ignore',
        '-m',
        'tools.audit_net',
        str(tmp_path / 'cut-symbol.json'),
        '--json',
    ]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stdout == ''
    assert failed.stderr.count('\n') == 1
    assert 'cut-symbol.json is damaged' in failed.stderr


def test_a_narrow_terminal_gets_whole_words(tmp_path, capsys, monkeypatch):
    body = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), num_filter=64, name='stage1_unit1_conv1')
    body.save(str(tmp_path / 'small-symbol.json'))
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    monkeypatch.setenv('COLUMNS', '80')
    monkeypatch.setenv('TERM', 'dumb')
    main([str(tmp_path / 'small-symbol.json')])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    row = next(i for i, line in enumerate(lines) if 'stage1_unit1_conv1' in line)
    assert lines[row].split()[1] == '1,792'
    assert [line.strip() for line in lines[row + 1 : row + 3]] == ['Convolution', '1x64x110x110']


def test_a_terminal_of_some_width_does_without_spare_columns_alone(tmp_path, capsys, monkeypatch):
    body = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), num_filter=64, name='stage1_unit1_conv1')
    body.save(str(tmp_path / 'small-symbol.json'))
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    monkeypatch.setenv('COLUMNS', '100')
    monkeypatch.setenv('TERM', 'xterm')  # a dumb one is taken to have 80 columns
    main([str(tmp_path / 'small-symbol.json'), '--level', 'layers'])
    text = capsys.readouterr().out
    assert ' stage1_unit1_conv1  Conv2D      1x64x110x110      1,792 ' in text
    assert 'reads' not in text


@pytest.mark.parametrize('options', [[], ['--json']])
def test_a_reader_that_has_enough_is_no_fault(network, options):
    """As `tool | head -1` leaves it, table or JSON."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [
        sys.executable,
        '-W',
        'ignore',
        '-m',
        'tools.audit_net',
        network,
        '--shape',
        '1,3,10,10',
        *options,
    ]
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, '')
