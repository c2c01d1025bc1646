import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recognition.cli import run
from config.errors import ConfigError
from recognition.commands.demo import main

import mxnet as mx

ROOT = Path(__file__).parents[2]
SMALL = ('end_epoch=2', 'warmup_steps=2', 'net_multiplier=0.05', 'emb_size=16', 'net_output=GAP')
FILES = ('audit.txt', 'network.svg', 'training.png', 'roc.png', 'report.html', 'model-symbol.json')


def demo(folder, *argv):
    settings = [word for setting in SMALL for word in ('--config', setting)]
    return subprocess.run(
        [sys.executable, '-m', 'tools.demo', '--output', str(folder), *settings, *argv],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.slow
def test_the_demo_leaves_everything_it_promises_and_can_be_repeated(tmp_path):
    results = []
    for _ in range(2):
        done = demo(tmp_path / 'demo', '--seed', '3', '--overwrite')
        assert done.returncode == 0, done.stderr
        results.append(json.loads((tmp_path / 'demo' / 'result.json').read_text()))
    result = results[0]
    assert set(result) == {
        'accuracy',
        'accuracy_std',
        'pairs',
        'baselines',
        'seconds',
        'network',
        'seed',
    }
    assert (result['pairs'], result['network'], result['seed']) == (900, 'r18', 3)
    assert 0.8 < result['baselines']['raw_pixels'] < 0.9
    assert 0.8 < result['baselines']['whitened_pca'] < 0.9
    assert results[1]['accuracy'] == result['accuracy']
    assert f'{result["accuracy"]:.2%}' in done.stdout
    for name in FILES:
        assert (tmp_path / 'demo' / name).stat().st_size > 1000, name
    symbol, args, aux = mx.model.load_checkpoint(str(tmp_path / 'demo' / 'model'), 2)
    assert symbol.list_outputs() == ['fc1_output']
    assert set(args) == set(symbol.list_arguments()) - {'data'}
    assert set(aux) == set(symbol.list_auxiliary_states())


def test_an_earlier_demo_is_not_replaced_unasked(tmp_path):
    (tmp_path / 'report.html').write_text('mine')
    with pytest.raises(ConfigError, match=r'report\.html already exists; .* --overwrite'):
        main(['--output', str(tmp_path)])
    assert [file.name for file in tmp_path.iterdir()] == ['report.html']


@pytest.mark.parametrize(
    ('argv', 'sentence'),
    [
        (('--network', 'r19'), "did you mean 'r18'?"),
        (('--config', 'val_targets='), 'val_targets is not set by --config here'),
        (('--config', 'end_epoch'), 'must have the form KEY=VALUE'),
        (('--config', 'end_epochs=3'), "did you mean 'end_epoch'?"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(tmp_path, capsys, argv, sentence):
    output = tmp_path / 'demo'
    with pytest.raises(SystemExit) as ended:
        run(lambda: main(['--output', str(output), *argv]))
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    assert sentence in said
    assert not output.exists()
