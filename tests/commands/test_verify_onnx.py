"""Others' ONNX files verified from the command line: the figures are those of the checkpoint."""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError
from recognition.commands.verify import main
from recognition.commands.verify_templates import main as verify_templates
from recognition.utils.pixels import RAW, Pixels
from tests.helpers.small_network import FORMS, HEIGHT, WIDTH, make_values, write_checkpoint, write_foreign

import mxnet as mx

PAIRS = 40
BGR = Pixels((100.0, 110.0, 120.0), (1 / 60, 1 / 128, 0.01), 'bgr')
BGR_OPTIONS = ['--input-mean', '100,110,120', '--input-scale', '1/60,1/128,0.01', '--channels', 'bgr']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Pairs of coloured images, of which some of the same person are little alike, and a checkpoint."""
    folder = tmp_path_factory.mktemp('verify')
    rng = np.random.default_rng(0)
    encoded = []
    for pair in range(PAIRS):
        one = rng.integers(0, 256, (HEIGHT, WIDTH, 3))
        share = 0.5 if pair % 2 else 0.25
        other = one * share + rng.integers(0, 256, (HEIGHT, WIDTH, 3)) * (1 - share)
        encoded += [cv2.imencode('.png', each.astype(np.uint8))[1].tobytes() for each in (one, other)]
    (folder / 'pairs.bin').write_bytes(pickle.dumps((encoded, [bool(pair % 2) for pair in range(PAIRS)])))
    write_checkpoint(folder / 'model', 7, make_values())
    return folder


def figures(folder, capsys, model, *options):
    capsys.readouterr()
    assert not main(['--model', str(model), '--pairs', str(folder / 'pairs.bin'), '--json', *options])
    found = json.loads(capsys.readouterr().out)
    return {key: found[key] for key in ('accuracy', 'accuracy_std', 'threshold', 'eer', 'auc')}


@pytest.mark.parametrize('mirror', ['sum', 'none'])
def test_the_figures_are_those_of_the_checkpoint(folder, capsys, caplog, tmp_path, mirror):
    more = ['--mirror', mirror, '--batch-size', '9']
    wanted = figures(folder, capsys, f'{folder / "model"},7', *more)
    assert 0.6 < wanted['accuracy'] < 1
    for form, settings in FORMS.items():
        path = write_foreign(tmp_path / 'net.onnx', make_values(), **settings)
        found = figures(folder, capsys, path, *more)
        assert found == pytest.approx(wanted, abs=1e-6), form
    assert caplog.text.count('does not record its preprocessing: pixels are') == len(FORMS)


def test_the_options_say_what_is_wanted(folder, capsys, tmp_path):
    wanted = figures(folder, capsys, f'{folder / "model"},7')
    path = write_foreign(tmp_path / 'net.onnx', make_values(), BGR, extra=['age'])
    found = figures(folder, capsys, path, '--output-layer', '683', *BGR_OPTIONS)
    assert found == pytest.approx(wanted, abs=1e-6)
    wrong = figures(folder, capsys, path, '--output-layer', '683', *BGR_OPTIONS[:-1], 'rgb')
    assert abs(wrong['auc'] - wanted['auc']) > 0.01
    with pytest.raises(ConfigError, match='choose one by --output-layer: age, 683'):
        figures(folder, capsys, path, *BGR_OPTIONS)
    with pytest.raises(ConfigError, match=r'is a checkpoint, whose network normalises pixels itself'):
        figures(folder, capsys, f'{folder / "model"},7', *BGR_OPTIONS)


def test_a_layer_of_a_checkpoint(folder, capsys, tmp_path):
    symbol, args, auxs = mx.model.load_checkpoint(str(folder / 'model'), 7)
    wide = mx.sym.FullyConnected(symbol.get_internals()['fc1_output'], num_hidden=3, name='more')
    args = {**args, 'more_weight': mx.nd.random.normal(shape=(3, 8)), 'more_bias': mx.nd.zeros(3)}
    mx.model.save_checkpoint(str(tmp_path / 'model'), 1, wide, args, auxs)
    plain = figures(folder, capsys, f'{folder / "model"},7')
    assert figures(folder, capsys, f'{tmp_path / "model"},1') == plain
    assert figures(folder, capsys, f'{tmp_path / "model"},1', '--output-layer', 'fc1') == plain
    assert figures(folder, capsys, f'{tmp_path / "model"},1', '--output-layer', 'more') != plain
    with pytest.raises(CheckpointError, match="no output 'gone'"):
        figures(folder, capsys, f'{tmp_path / "model"},1', '--output-layer', 'gone')


def test_another_size_than_the_file_takes_is_refused(folder, capsys, tmp_path):
    path = write_foreign(tmp_path / 'net.onnx', make_values())
    with pytest.raises(ConfigError, match=r'images of 112x112 do not fit .*net\.onnx, which takes 14x12x3'):
        figures(folder, capsys, path, '--image-size', '112,112')


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--input-mean', '127.5'], '--input-mean, --input-scale and --channels go together'),
        (
            ['--channels', 'bgr'],
            r'go together: give a mean and a scale \(0 and 1 where the file takes pixels in 0..255\)',
        ),
        (['--input-mean', 'x', '--input-scale', '1'], "--input-mean: 'x' is not a number, or three"),
        (['--input-mean', '1,2', '--input-scale', '1'], "'1,2' is not a number, or three"),
        (['--input-mean', '0', '--input-scale', '1/0'], "'1/0' is not a number, or three"),
        (['--input-mean', '0', '--input-scale', '0'], r'scale=0.0 \(--input-scale\) must not be 0'),
        (['--input-mean', 'nan', '--input-scale', '1'], r'mean=nan \(--input-mean\) must be'),
    ],
)
def test_options_that_say_too_little_or_nothing(folder, capsys, tmp_path, options, words):
    path = write_foreign(tmp_path / 'net.onnx', make_values())
    with pytest.raises(ConfigError, match=words):
        figures(folder, capsys, path, *options)


def test_templates_by_another_file_are_those_of_the_checkpoint(folder, capsys, tmp_path):
    rng = np.random.default_rng(2)
    lines = []
    for number in range(24):
        cv2.imwrite(str(tmp_path / f'{number}.png'), rng.integers(0, 256, (HEIGHT, WIDTH, 3)))
        lines.append(f'{number}.png {number // 2} {number}')
    (tmp_path / 'media.txt').write_text('\n'.join(lines) + '\n')
    pairs = [f'{a} {b} {(a + b) % 2}' for a in range(12) for b in range(a)]
    (tmp_path / 'pairs.txt').write_text('\n'.join(pairs) + '\n')
    path = write_foreign(tmp_path / 'net.onnx', make_values(), RAW)
    found = []
    for model in ([f'{folder / "model"},7'], [str(path), '--input-mean', '0', '--input-scale', '1']):
        named = ['--images', str(tmp_path), '--media', str(tmp_path / 'media.txt'), '--json']
        size = ['--pairs', str(tmp_path / 'pairs.txt'), '--image-size', f'{HEIGHT},{WIDTH}']
        assert not verify_templates(['--model', *model, *named, *size])
        found.append(json.loads(capsys.readouterr().out)['verification'])
    assert found[0]['auc'] == pytest.approx(found[1]['auc'], abs=1e-6)
