"""The command `facesymbols`: its subcommands, their help and their mistakes, without mxnet."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from config.errors import ConfigError
from recognition.commands.main import COMMANDS, dispatch
from tests.helpers.classifiers import record

ROOT = Path(__file__).parents[2]
EVERY_HELP = """
import contextlib, io, json, sys
sys.modules['mxnet'] = None  # importing it fails
from recognition.commands.main import COMMANDS, dispatch
told = {}
for name in COMMANDS:
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            dispatch([name, '--help'])
    except SystemExit as leaving:
        told[name] = [leaving.code, out.getvalue()]
print(json.dumps(told))
"""
MISTAKES = """
import json, sys
sys.modules['mxnet'] = None
from config import FaceSymbolsError
from recognition.commands.main import dispatch
told = []
for words in json.load(sys.stdin):
    try:
        told.append(['status', str(dispatch(words))])
    except FaceSymbolsError as error:
        told.append(['error', str(error)])
    except BaseException as error:
        told.append([type(error).__name__, str(error)])
print(json.dumps(told))
"""


def python(program, text='', **options):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program], input=text, capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_help_of_every_command_needs_no_mxnet():
    told = python(EVERY_HELP, cwd=ROOT)
    assert list(told) == list(COMMANDS)
    for name, (status, text) in told.items():
        assert not status
        assert text.startswith(f'usage: facesymbols {name}')
        assert '  -h, --help' in text


ABOUT_FILES = [
    ('verify --model a --pairs b', "--model|the network 'a' is not PREFIX,EPOCH"),
    ('verify --model a,1 --pairs b', 'a-symbol.json does not exist'),
    ('verify --model model,9 --pairs b', 'model-0009.params does not exist; the epochs there are 1'),
    ('verify --model none.onnx --pairs b', 'none.onnx does not exist'),
    ('verify --model model,1 --pairs b.bin', 'b.bin'),
    ('verify-templates --model model,1 --images . --media none --pairs x', 'none'),
    ('embed photos -o e.npz --model model,1', 'photos'),
    ('embed . -o e.csv --model model,1', 'e.csv does not end in .npz'),
    ('embed . -o old.npz --model model,1', 'old.npz already exists'),
    ('compare one.png --model model,1', 'one.png alone cannot be compared'),
    ('search one.png --gallery none.npz --model model,1', 'none.npz'),
    ('plot r50 -o r50.gif', 'r50.gif: the suffix names the format'),
    ('plot r18 -o old.svg', 'old.svg already exists'),
    ('plot --model model,9', 'model-0009.params does not exist'),
    ('audit r50 -o old.svg', 'old.svg already exists'),
    (
        'audit --diff r50 model-symbol.json -o model-symbol.json --overwrite',
        'model-symbol.json is read as an input',
    ),
    ('plot model,1 -o model-0001.svg --overwrite --level x', "--level: invalid choice: 'x'"),
    ('pack nowhere -o set', 'there is no folder nowhere'),
    ('check-data nowhere', 'there is no folder nowhere'),
    ('clean --model model,1 --dataset-path nowhere -o clean', 'there is no folder nowhere'),
    ('clean --model model,1 --dataset-path set -o .', '. already exists'),
    ('export --model model,1 -o net.onnx.gz', 'must end in .onnx'),
    ('export --model model,1 -o old.onnx', 'old.onnx already exists'),
    ('optimize --model model,1 -o fast,1', 'fast,1 is not a PREFIX'),
    ('quantize --model a.onnx --faces f --pairs p -o new.onnx', 'a.onnx does not exist'),
    (
        'import-weights keras one.png --network keras_resnet50 -o model --epoch 1',
        'model-symbol.json already exists',
    ),
    ('report model', 'model-config.json does not exist'),
    ('report run', 'run-report.html already exists'),
    ('report run -o run.txt', 'run.txt: the suffix names the format'),
    ('report run -o new.html', 'run-curves.png already exists'),
    ('demo -o .', 'report.html already exists'),
    ('demo -o demo', 'demo/data/train.rec already exists'),
    ('train --dataset-path faces -o model', 'model-symbol.json already exists'),
    ('train --dataset-path faces -o run', 'run-config.json already exists'),
    ('train --dataset-path faces -o model --overwrite --pretrained model,1', 'model would be replaced'),
    ('train --dataset-path faces -o old.svg/m', 'old.svg is not a folder'),
    ('pack --pairs pairs.bin -o pairs.bin --overwrite', 'pairs.bin is read as an input'),
    ('pack --pairs pairs.bin -o pairs.txt', 'pairs.txt: the suffix names the format'),
    (
        'import-weights insightface model,1 --network r18 -o model --epoch 1 --overwrite',
        'is read as an input',
    ),
    ('import-weights keras none.h5 --network keras_resnet50 -o new', 'none.h5 does not exist'),
    ('quantize --model one.png --faces f --pairs one.png -o one.png --overwrite', 'one.png: the suffix'),
    ('quantize --model old.onnx --faces f --pairs one.png -o old.onnx --overwrite', 'is read as an input'),
    ('verify --model old.onnx --pairs one.png --gpus x', "--gpus: 'x' is not a list of numbers"),
    ('verify --model model,1 --pairs one.png --roc one.png --overwrite', 'one.png is read as an input'),
    ('audit net.ncnn.param', 'net.ncnn.param does not exist|holds no graph of MXNet'),
    ('audit runs/model', 'is not PREFIX,EPOCH'),
    ('train --dataset-path nowhere', 'there is no folder nowhere'),
    ('predict none.jpg --model scores,1', 'none.jpg does not exist'),
    ('predict one.png --model scores,1 -o old.csv', 'old.csv already exists'),
    ('predict one.png --model scores,9', 'scores-0009.params does not exist'),
    ('predict one.png --model model,1', 'nothing records what model,1 gives'),
    ('evaluate nowhere --model scores,1', 'there is no folder nowhere'),
    ('evaluate set --model scores,1', 'set is neither a data set'),
    ('embed one.png -o new.npz --model scores,1', 'scores,1 gives class scores, not an embedding'),
    ('compare one.png one.png --model scores,1', 'gives class scores, not an embedding'),
    ('verify --model scores,1 --pairs b.bin', 'gives class scores, not an embedding'),
    ('verify-templates --model scores,1 --images . --media m --pairs p', 'gives class scores'),
]
ABOUT_WORDS = [
    ('train --network r5O', "'r5O' is not a network preset"),
    ('train --emb-size x', "emb_size='x' is not allowed"),
    ('train --loss curricularface --sample-rate 0.1', 'sample_rate=0.1 does not go with'),
    ('train --head classifier', "net_output='classifier'"),
    ('train --image-size 112', "'112' is not H,W or H,W,C"),
    ('launch -n 0 -- true', "-n/--workers: '0' is not a whole number of at least 1"),
    ('verify --model a,1 --pairs b --mirror x', "--mirror: invalid choice: 'x'"),
    ('verify --model a,1 --pairs b --image-size 112', "'112' is not H,W or H,W,C in pixels"),
    ('plot r5O', "'r5O' is not a network preset"),
    ('plot', 'the network is missing; give one: a preset'),
    ('plot r18 --network r50', '2 networks are given; give one'),
    ('plot r18 --config net_act=sine', "net_act='sine'"),
    ('plot r18 --image-size 64,64 --shape 1,3,64,64', '--image-size and --shape'),
    ('plot model-symbol.json --head GAP', 'already built, so net_output cannot change'),
    ('audit', 'name one network, or two with --diff, or give --all'),
    ('audit --all --explain', 'limits, --explain, --level and --format keras are for one network'),
    ('audit r18 --config image_shape=64,64,3 --image-size 64,64', '--image-size and --config image_shape'),
    ('train --resume --overwrite', '--resume and --overwrite contradict each other'),
    ('audit -x r18', "'-x' is not an option (facesymbols audit --help"),
    ('audit r18 --max-params many', "--max-params 'many'"),
    ('compare a b --model c,1 --threshold 5', '--threshold 5 must be a squared distance'),
    ('pack -o set', 'give either a source of people or --pairs'),
    ('pack a -o set --quality 0', "'0' is no JPEG quality"),
    ('import-weights keras w.h5 --network keras_resnet -o m', "'keras_resnet' is not a network preset"),
    ('demo --config seed=3', 'seed is not set by --config here'),
    ('predict a.jpg --model b,1 --probabilities', '--probabilities is for a file'),
    ('predict a.jpg --model b,1 --interpolation x', "--interpolation: invalid choice: 'x'"),
    ('predict a.jpg --model b,1 --top 0', "'0' is not a whole number of at least 1"),
    ('veryfy', "'veryfy' is not a command; did you mean 'verify'?"),
    ('--verison', "'--verison' is not an option; did you mean '--version'?"),
]


def test_no_mistake_in_arguments_needs_mxnet(tmp_path):
    for name in ('model-symbol.json', 'model-0001.params', 'model-report.html', 'report.html'):
        (tmp_path / name).touch()
    for name in ('scores-symbol.json', 'scores-0001.params'):
        (tmp_path / name).touch()
    record(tmp_path / 'scores')
    for name in ('old.svg', 'old.npz', 'old.onnx', 'old.csv', 'one.png', 'pairs.bin'):
        (tmp_path / name).touch()
    for name in ('run-config.json', 'run-environment.json', 'run-report.html', 'run-curves.png'):
        (tmp_path / name).touch()
    for name in ('set', 'faces', 'demo/data'):
        (tmp_path / name).mkdir(parents=True)
    for name in ('faces/train.rec', 'faces/property', 'demo/data/train.rec'):
        (tmp_path / name).touch()
    mistakes = [*ABOUT_FILES, *ABOUT_WORDS]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    told = python(
        MISTAKES, json.dumps([words.split() for words, _ in mistakes]), cwd=tmp_path, env=environment
    )
    for (words, sentence), (kind, text) in zip(mistakes, told):
        assert kind == 'error', (words, kind, text)
        assert any(part in text for part in sentence.split('|')), (words, text)
        assert '\n' not in text, words


def test_the_commands_are_listed(capsys):
    assert dispatch([]) == 1
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f'\n  {name} ' not in shown] == []
    with pytest.raises(SystemExit, match=r'^0$'):
        dispatch(['--help'])
    assert capsys.readouterr().out == shown


def test_another_word_is_answered_with_the_nearest_command():
    with pytest.raises(ConfigError, match=r"^'adit' is not a command; did you mean 'audit'\?"):
        dispatch(['adit', 'r18'])


@pytest.mark.parametrize('words', [['-m', 'recognition'], [str(ROOT / 'tools' / 'plot_net.py')]])
def test_a_checkout_has_the_command_and_the_scripts(words):
    command = [] if words[-1].endswith('.py') else ['plot']
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *words, *command, '--level'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, '')
    assert (
        done.stderr == 'error: --level: expected one argument (facesymbols plot --help lists the options)\n'
    )


@pytest.mark.parametrize(('typed', 'completed'), [('quan', 'quantize'), ('verify --mir', '--mirror')])
def test_a_shell_completes_commands_and_options(typed, completed, tmp_path):
    script = tmp_path / 'completion.bash'
    with open(script, 'w') as out:
        subprocess.run(
            [sys.executable, '-m', 'recognition', 'completion', 'bash'], cwd=ROOT, stdout=out, check=True
        )
    shell, terminal = pty.openpty()
    process = subprocess.Popen(
        ['bash', '--noprofile', '--norc', '-i'],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    os.write(shell, f'facesymbols() {{ :; }}\nsource {script}\nfacesymbols {typed}\t#\n'.encode())
    shown = b''
    while f'facesymbols {" ".join([*typed.split()[:-1], completed])} #'.encode() not in shown:
        shown += os.read(shell, 4096)
        assert b'command not found' not in shown, shown
    process.kill()
    process.wait()
    os.close(shell)


def test_the_documented_options_are_those_of_the_parsers():
    done = subprocess.run(
        [sys.executable, 'tools/write_commands.py', '--check'], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, '')
