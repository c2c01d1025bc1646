from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from recognition.commands.verify import main
from recognition.export.onnx_export import Options, export_onnx
from recognition.verification.lfw import embed, load_bin, verify

import mxnet as mx

ROOT = Path(__file__).parents[2]
SIZE = 12
PAIRS = 40


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A verification set, and a checkpoint in InsightFace's layout with a classifier above fc1."""
    folder = tmp_path_factory.mktemp('verify')
    rng = np.random.default_rng(0)
    people = rng.integers(0, 200, (2 * PAIRS, SIZE, SIZE, 3))
    images = []
    for pair in range(PAIRS):
        for person in (pair, pair if pair % 2 == 0 else PAIRS + pair):
            photo = np.clip(people[person] + rng.normal(0, 60, people[person].shape), 0, 255).astype(np.uint8)
            images.append(cv2.imencode('.png', photo)[1].tobytes())
    issame = [pair % 2 == 0 for pair in range(PAIRS)]
    (folder / 'pairs.bin').write_bytes(pickle.dumps((images, issame), protocol=2))

    data = mx.sym.var('data')
    body = mx.sym.Convolution((data - 127.5) / 128, kernel=(3, 3), num_filter=6, no_bias=True, name='conv0')
    body = mx.sym.FullyConnected(mx.sym.Flatten(body), num_hidden=16, name='pre_fc1')
    fc1 = mx.sym.BatchNorm(body, eps=2e-5, fix_gamma=True, name='fc1')
    fc7 = mx.sym.FullyConnected(fc1, num_hidden=5, name='fc7')
    symbol = mx.sym.SoftmaxOutput(fc7, name='softmax')
    shapes, _, states = symbol.infer_shape(data=(1, 3, SIZE, SIZE))
    names = zip(symbol.list_arguments(), shapes)
    args = {n: mx.nd.array(0.1 * rng.normal(size=s)) for n, s in names if n not in ('data', 'softmax_label')}
    auxs = {n: mx.nd.ones(s) for n, s in zip(symbol.list_auxiliary_states(), states)}
    mx.model.save_checkpoint(str(folder / 'model'), 7, symbol, args, auxs)
    auxs['fc1_moving_var'][:] = np.nan
    mx.model.save_checkpoint(str(folder / 'sick'), 1, symbol, args, auxs)
    return folder


def arguments(folder, *more: str, pairs='pairs.bin') -> list:
    return ['--model', f'{folder / "model"},7', '--pairs', str(folder / pairs), *more]


def expected(folder, flip: str = 'sum', folds: int = 10):
    images, issame = load_bin(folder / 'pairs.bin')
    symbol, args, auxs = mx.model.load_checkpoint(str(folder / 'model'), 7)
    net = symbol.get_internals()['fc1_output']

    def run(data):
        values = {name: args[name] for name in net.list_arguments() if name != 'data'}
        return net.bind(mx.cpu(), {**values, 'data': data}, aux_states=auxs).forward()[0]

    return verify(embed(run, images, mx.cpu(), flip=flip), issame, folds)


@pytest.mark.parametrize(
    ('options', 'settings'),
    [([], {}), (['--mirror', 'none', '--folds', '4', '--batch-size', '7'], {'flip': 'none', 'folds': 4})],
)
def test_json_holds_the_figures_of_the_fc1_embedding(folder, capsys, options, settings):
    assert not main(arguments(folder, '--json', *options))
    shown = json.loads(capsys.readouterr().out)
    wanted = expected(folder, **settings).as_dict()
    assert shown.pop('model') == f'{folder / "model"},7'
    assert shown.pop('set') == str(folder / 'pairs.bin')
    assert shown.pop('tar_at_far') == pytest.approx(wanted.pop('tar_at_far'))
    assert shown.pop('tar_intervals') == {'0.1': pytest.approx(wanted.pop('tar_intervals')['0.1'])}
    assert shown.pop('accuracy_interval') == pytest.approx(wanted.pop('accuracy_interval'))
    assert shown == pytest.approx(wanted)
    assert 0.7 < shown['accuracy'] < 1
    assert set(shown) == {'accuracy', 'accuracy_std', 'pairs', 'folds', 'threshold', 'eer', 'auc'}


@pytest.mark.parametrize('mirror', ['sum', 'concat', 'none'])
def test_an_onnx_file_has_the_figures_of_its_checkpoint(folder, capsys, tmp_path, mirror):
    path = tmp_path / 'net.onnx'
    export_onnx(folder / 'model', 7, path, image_shape=(SIZE, SIZE, 3))
    both = ['--model', str(path), '--json', '--mirror', mirror]
    assert not main(arguments(folder, *both))
    checkpoint, exported = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert exported.pop('model') == str(path)
    assert checkpoint.pop('model') == f'{folder / "model"},7'
    assert exported == checkpoint


@pytest.mark.parametrize('mirror', ['sum', 'none'])
def test_a_file_that_normalises_by_itself_warns_where_mirror_images_are_added(
    folder, tmp_path, caplog, mirror
):
    path = tmp_path / 'net.onnx'
    options = Options(normalise=True)
    export_onnx(folder / 'model', 7, path, image_shape=(SIZE, SIZE, 3), options=options)
    assert not main(['--model', str(path), '--pairs', str(folder / 'pairs.bin'), '--mirror', mirror])
    assert ('gives embeddings of length 1' in caplog.text) == (mirror == 'sum')


def test_the_table_shows_them_and_the_picture_is_drawn(folder, capsys, tmp_path):
    assert not main(arguments(folder, '--roc', str(tmp_path / 'roc.png')))
    shown = capsys.readouterr().out
    wanted = expected(folder)
    assert f'accuracy   {100 * wanted.accuracy:.2f} % +- {100 * wanted.accuracy_std:.2f} %' in shown
    assert f'TAR at FAR 0.1    {100 * wanted.tar_at_far[0.1]:6.2f} %' in shown
    assert 'TAR at FAR 0.01' not in shown  # twenty different pairs do not support it
    assert cv2.imread(str(tmp_path / 'roc.png')) is not None


def test_images_are_resized_where_it_is_asked_for(folder, capsys, tmp_path):
    encoded, issame = pickle.loads((folder / 'pairs.bin').read_bytes())
    larger = [
        cv2.imencode('.png', cv2.resize(cv2.imdecode(np.frombuffer(e, np.uint8), 1), (20, 20)))[1].tobytes()
        for e in encoded
    ]
    (tmp_path / 'pairs.bin').write_bytes(pickle.dumps((larger, issame)))
    command = ['--model', f'{folder / "model"},7', '--pairs', str(tmp_path / 'pairs.bin'), '--json']
    with pytest.raises(CheckpointError, match='pre_fc1_weight'):
        main(command)
    assert not main([*command, '--image-size', '12,12'])
    assert json.loads(capsys.readouterr().out)['pairs'] == PAIRS


def test_mistakes_of_the_command_line_are_one_sentence(folder, tmp_path):
    pairs = ['--pairs', str(folder / 'pairs.bin')]
    for model in ('model', 'model,', ',7', 'model,x', 'model,-1'):
        with pytest.raises(CheckpointError, match='PREFIX,EPOCH'):
            main(['--model', model, *pairs])
    for size in ('112', '0,112', '112,112,3,1', 'a,b'):
        with pytest.raises(ConfigError, match='is not H,W or H,W,C'):
            main(arguments(folder, '--image-size', size))
    with pytest.raises(CheckpointError, match=r'model-0008\.params'):
        main(['--model', f'{folder / "model"},8', *pairs])
    with pytest.raises(CheckpointError, match=r'other-symbol\.json'):
        main(['--model', f'{folder / "other"},7', *pairs])
    with pytest.raises(CheckpointError, match='not finite for 80 of 80 images'):
        main(['--model', f'{folder / "sick"},1', *pairs])
    with pytest.raises(DataError, match='cannot be read'):
        main(arguments(folder, pairs=tmp_path / 'missing.bin'))
    with pytest.raises(DataError, match='40 pairs are too few for 41 folds'):
        main(arguments(folder, '--folds', '41', '--roc', str(tmp_path / 'roc.png')))
    assert not list(tmp_path.iterdir())


def test_gpus_without_the_gpu_wheel(folder):
    if mx.runtime.Features().is_enabled('CUDA'):  # then another GPU than any machine has is the mistake
        with pytest.raises(ConfigError, match='--gpus 999'):
            main(arguments(folder, '--gpus', '999'))
    else:
        with pytest.raises(MissingExtra, match='mxnet-cu112'):
            main(arguments(folder, '--gpus', '0'))


def test_the_program_ends_with_a_sentence_and_a_status(folder):
    """As a user runs it: a pickle that would run a command ends it with status 1, and runs nothing."""
    trace = folder / 'trace'

    class Bad:
        def __reduce__(self):
            return os.system, (f'touch {trace}',)

    bad = folder / 'bad.bin'
    bad.write_bytes(pickle.dumps(([Bad(), b''], [True])))
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'tools.verify', *arguments(folder, pairs=bad)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ''
    assert done.stderr.startswith(f'error: {bad}: refused: the pickle asks for posix.system')
    assert len(done.stderr.splitlines()) == 1
    assert not trace.exists()


def test_the_roc_replaces_no_other_file(folder, tmp_path):
    symbol = (folder / 'model-symbol.json').read_bytes()
    for path in (folder / 'model-symbol.json', tmp_path / 'no.xyz'):
        with pytest.raises(ConfigError, match=r'must be one of \.png'):
            main(arguments(folder, '--roc', str(path), pairs='missing.bin'))  # before any work
    assert (folder / 'model-symbol.json').read_bytes() == symbol
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('options', [[], ['--json']])
def test_a_roc_that_cannot_be_written_is_told_before_the_work(folder, tmp_path, capsys, options):
    (tmp_path / 'file').write_text('in the way')
    (tmp_path / 'old.png').write_text('mine')
    for path, words in (
        ('file/roc.png', 'cannot be written'),
        ('old.png', 'already exists; .* another --roc'),
    ):
        with pytest.raises(ConfigError, match=words):
            main(arguments(folder, '--roc', str(tmp_path / path), *options))
    assert capsys.readouterr().out == ''
    assert (tmp_path / 'old.png').read_text() == 'mine'


def test_several_models_and_sets_on_one_line(folder, tmp_path, capsys):
    other = tmp_path / 'other.bin'
    other.write_bytes((folder / 'pairs.bin').read_bytes())
    words = arguments(folder, '--pairs', str(other), '--model', f'{folder / "model"},7', '--json')
    assert not main([*words, '--roc', str(tmp_path / 'roc.png')])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row['set']).name for row in rows] == ['pairs.bin'] * 2 + ['other.bin'] * 2
    assert len({row['accuracy'] for row in rows}) == 1
    assert (tmp_path / 'roc.png').stat().st_size > 1000


def test_another_flip_is_named_before_any_work(folder):
    with pytest.raises(ConfigError, match="--mirror: invalid choice: 'x'"):
        main(arguments(folder, '--mirror', 'x', pairs='missing.bin'))
