from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from config.errors import CheckpointError, ConfigError, DataError
from recognition.checkpoint.network import save_network
from recognition.commands.export import main
from recognition.commands.import_weights import main as import_weights
from recognition.commands.optimize import main as optimize
from recognition.export.onnx_export import read_metadata
from recognition.utils.run_paths import symbol_path
from symbols import get_symbol
from tests.helpers.exported import save_tiny
from tests.helpers.narrow import small

import mxnet as mx

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def prefix(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp('models') / 'model')


def arguments(prefix, output, *more):
    return ['--model', f'{prefix},1', '--output', str(output), '--image-size', '32,32', *map(str, more)]


def test_what_is_printed(prefix, tmp_path, capsys):
    output = tmp_path / 'net.onnx'
    assert not main(arguments(prefix, output))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        f'written     {output}, {output.stat().st_size:,} bytes',
        'opset       17; the batch size is free',
        'input       RGB, float32 (N, 3, 32, 32) in 0..255; (x - 127.5) * 0.0078125 is inside the network',
        'output      24 values, not normalised',
    ]
    shown = r'difference  (\S+) of the largest value at most, cosine (\S+) at least'
    difference, cosine = map(float, re.fullmatch(shown, lines[4]).groups())
    assert 0 < difference < 1e-4
    assert cosine == pytest.approx(1, abs=1e-6)
    assert lines[5:] == [
        '            to MXNet, in batches of 1 and 4, on random pixels and 4 photographs of faces (ORL)'
    ]


def test_the_options_are_those_of_the_file(prefix, tmp_path, capsys):
    faces, output = tmp_path / 'faces', tmp_path / 'net.onnx'
    faces.mkdir()
    cv2.imwrite(str(faces / 'one.png'), np.full((40, 40, 3), 90, np.uint8))
    assert not main(
        arguments(
            prefix, output, '--normalise', '--uint8-nhwc', '--fold', '--faces', faces, '--format', 'onnx'
        )
    )
    shown = capsys.readouterr().out
    assert 'input       RGB, uint8 (N, 32, 32, 3) in 0..255' in shown
    assert 'output      24 values, of length 1' in shown
    assert f'on random pixels and 1 faces from {faces}' in shown
    assert read_metadata(output)['options'] == {
        'normalise': True,
        'uint8_nhwc': True,
        'fold': True,
        'pixels': 'inside',
    }
    session = onnxruntime.InferenceSession(str(output))
    (embedding,) = session.run(None, {'data': np.full((1, 32, 32, 3), 90, np.uint8)})[0]
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)


def test_pixels_outside(prefix, tmp_path, capsys):
    output = tmp_path / 'net.onnx'
    assert not main(arguments(prefix, output, '--pixels', 'outside'))
    words = 'RGB, float32 (N, 3, 32, 32), as (x - 127.5) / 127.5 of x in 0..255, which the caller computes'
    assert f'input       {words}\n' in capsys.readouterr().out
    with pytest.raises(ConfigError, match="pixels='outside' does not go with ncnn"):
        main(arguments(prefix, tmp_path / 'net.param', '--format', 'ncnn', '--pixels', 'outside'))


def test_a_file_is_replaced_only_where_that_is_asked_for(prefix, tmp_path, capsys):
    output = tmp_path / 'net.onnx'
    output.write_bytes(b'mine')
    with pytest.raises(
        ConfigError,
        match=r'net\.onnx already exists; choose another --output, or replace it with --overwrite',
    ):
        main(arguments(prefix, output))
    assert output.read_bytes() == b'mine'
    assert not main(arguments(prefix, output, '--overwrite'))
    assert read_metadata(output)['epoch'] == 1
    assert os.listdir(tmp_path) == ['net.onnx']


def test_mistakes_of_the_command_line_are_one_sentence(prefix, tmp_path):
    output = tmp_path / 'net.onnx'
    with pytest.raises(CheckpointError, match='PREFIX,EPOCH'):
        main(['--model', str(prefix), '--output', str(output)])
    with pytest.raises(ConfigError, match='is not H,W or H,W,C'):
        main(['--model', f'{prefix},1', '--output', str(output), '--image-size', '32'])
    with pytest.raises(ConfigError, match=r"--output '.*net\.pb' must end in \.onnx, as net\.onnx does"):
        main(arguments(prefix, tmp_path / 'net.pb'))
    with pytest.raises(ConfigError, match=r'must end in \.onnx; --format ncnn writes \.param'):
        main(arguments(prefix, tmp_path / 'net.param'))
    with pytest.raises(ConfigError, match=r"--output: '' is not a path"):
        main(arguments(prefix, ''))
    with pytest.raises(DataError, match='is no folder'):
        main(arguments(prefix, output, '--faces', tmp_path / 'nothing'))
    with pytest.raises(CheckpointError, match='epochs there are 1'):
        main(['--model', f'{prefix},2', '--output', str(output)])
    assert not output.exists()


def test_a_checkpoint_for_other_programs_of_mxnet(prefix, tmp_path, capsys):
    output = tmp_path / 'v1.2' / 'plain.net'
    output.parent.mkdir()
    written = [f'{output}{end}' for end in ('-0001.params', '-0001.params.sha256', '-symbol.json')]
    assert not main(arguments(prefix, output, '--format', 'mxnet'))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'written     {written[2]}, ')
    assert lines[1:3] == [
        f'beside it   {written[0]}',
        'difference  0 of the largest value at most, cosine 1.00000000 at least',
    ]
    assert sorted(map(str, output.parent.iterdir())) == written
    assert Path(written[0]).read_bytes() == Path(f'{prefix}-0001.params').read_bytes()
    with pytest.raises(ConfigError, match=r'plain\.net-symbol\.json already exists'):
        main(arguments(prefix, output, '--format', 'mxnet'))
    Path(written[2]).unlink()
    with pytest.raises(ConfigError, match=r'plain\.net-0001\.params already exists'):
        main(arguments(prefix, output, '--format', 'mxnet'))


@pytest.mark.parametrize(
    ('output', 'more', 'error', 'sentence'),
    [
        (
            'net.onnx',
            [],
            ConfigError,
            r'net\.onnx. must be the prefix of a checkpoint; --format onnx writes \.onnx',
        ),
        (
            'net',
            ['--fold'],
            ConfigError,
            '--fold does not go with --format mxnet; `facesymbols optimize` folds a',
        ),
        ('net', ['--uint8-nhwc'], ConfigError, '--uint8-nhwc does not go with --format mxnet$'),
        ('', [], ConfigError, "--output: '' is not a path"),
    ],
)
def test_mistakes_with_such_a_checkpoint(prefix, tmp_path, output, more, error, sentence):
    with pytest.raises(error, match=sentence):
        main(arguments(prefix, tmp_path / output if output else '', '--format', 'mxnet', *more))
    assert not list(tmp_path.iterdir())


def test_such_a_checkpoint_does_not_replace_its_source(prefix):
    before = symbol_path(prefix).read_bytes()
    with pytest.raises(ConfigError, match=r'model-symbol\.json is read as an input'):
        main(arguments(prefix, prefix, '--format', 'mxnet', '--overwrite'))
    assert symbol_path(prefix).read_bytes() == before


def test_the_checkpoint_is_not_replaced(prefix, tmp_path):
    """The third of ncnn's files would have the name of the symbol."""
    before = symbol_path(prefix).read_bytes()
    output = prefix.with_name(f'{prefix.name}-symbol.param')
    with pytest.raises(ConfigError, match=r'model-symbol\.json is read as an input'):
        main(arguments(prefix, output, '--format', 'ncnn', '--overwrite'))
    assert symbol_path(prefix).read_bytes() == before


def test_a_network_in_float16_is_told_its_way(tmp_path):
    symbol = get_symbol(small('r18', image_shape=(32, 32, 3), fp16=True))
    shapes, _, states = symbol.infer_shape(data=(1, 3, 32, 32))
    args, auxs = (
        {name: mx.nd.ones(shape) for name, shape in zip(names, sizes) if name != 'data'}
        for names, sizes in ((symbol.list_arguments(), shapes), (symbol.list_auxiliary_states(), states))
    )
    save_network(tmp_path / 'half', 1, symbol, args, auxs)
    for tool, output in ((main, 'net.onnx'), (optimize, 'fast')):
        with pytest.raises(
            ConfigError, match=r'computes in float16 .*`facesymbols import-weights insightface`'
        ):
            tool(arguments(tmp_path / 'half', tmp_path / output))
    settings = [
        '--network',
        'r18',
        '--config',
        'image_shape=32,32,3',
        '--config',
        'net_multiplier=0.125',
        '--emb-size',
        '24',
    ]
    source, output = f'{tmp_path / "half"},1', str(tmp_path / 'whole')
    assert not import_weights(['insightface', source, '--output', output, *settings])
    assert not main(
        ['--model', f'{output},0', '--output', str(tmp_path / 'net.onnx'), '--image-size', '32,32']
    )


def test_as_a_program(prefix, tmp_path):
    output = tmp_path / 'net.onnx'
    words = [sys.executable, '-W', 'ignore', 'tools/export_onnx.py']
    done = subprocess.run([*words, *arguments(prefix, output)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    assert read_metadata(output)['embedding_shape'] == [24]
    again = subprocess.run([*words, *arguments(prefix, output)], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 1
    assert (
        again.stderr
        == f'error: {output} already exists; choose another --output, or replace it with --overwrite\n'
    )
