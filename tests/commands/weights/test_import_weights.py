"""The importer from the command line: what it writes, what it says, and that it writes nothing that is not whole."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from config import complete, resolve
from config.errors import CheckpointError, ConfigError, FaceSymbolsError
from recognition.checkpoint.matching import parts_of
from recognition.checkpoint.network import load_embedding, load_network
from recognition.checkpoint.run_files import read_json
from recognition.commands.import_weights import main
from recognition.data.class_names import write_classes
from recognition.engines.record import checkpoint_record
from recognition.utils.run_paths import classes_path
from symbols import get_block, get_symbol
from tests.helpers.importing import ROOT, images, written

import mxnet as mx

SMALL = {'net_multiplier': 0.0625, 'emb_size': 16, 'image_shape': (32, 32, 3)}
WORDS = ['--config', 'net_multiplier=0.0625', '--config', 'emb_size=16', '--config', 'image_shape=32,32,3']


def save_as_insightface(prefix, cfg, *, symbol=None, without=(), **more):
    """Write a checkpoint as InsightFace's train.py does, with its classifier in the parameters."""
    random = np.random.RandomState(3)
    embedding = get_symbol(cfg)
    auxiliary = set(embedding.list_auxiliary_states())
    values = {name: random.uniform(0.5, 1, p.shape) for name, p in get_block(cfg).collect_params().items()}
    values = {**values, 'fc7_weight': random.rand(5, cfg.emb_size), **more}
    arrays = {name: mx.nd.array(value) for name, value in values.items() if name not in without}
    args = {name: value for name, value in arrays.items() if name not in auxiliary}
    auxs = {name: value for name, value in arrays.items() if name in auxiliary}
    mx.model.save_checkpoint(str(prefix), 0, embedding if symbol is None else symbol, args, auxs)
    return {name: value.asnumpy() for name, value in arrays.items()}


def import_insightface(folder, *words, settings=WORDS):
    return main(
        [
            'insightface',
            f'{folder / "old"},0',
            '--network',
            'r18',
            '--output',
            str(folder / 'new'),
            *settings,
            *words,
        ]
    )


def refused(folder, words, *options, error=CheckpointError, **settings):
    with pytest.raises(error, match=words) as caught:
        import_insightface(folder, *options, **settings)
    assert '\n' not in str(caught.value)
    assert written(folder) == []


def test_a_checkpoint_of_insightface_becomes_one_here(tmp_path, capsys):
    cfg = resolve('r18', **SMALL)
    save_as_insightface(tmp_path / 'old', cfg)
    assert import_insightface(tmp_path, '--epoch', '2') is None
    assert written(tmp_path) == [
        'new-0002.params',
        'new-0002.params.sha256',
        'new-config.json',
        'new-symbol.json',
    ]
    old, new = (
        load_network(tmp_path / name, epoch, image_shape=(32, 32, 3))
        for name, epoch in (('old', 0), ('new', 2))
    )
    assert np.array_equal(old(images()).asnumpy(), new(images()).asnumpy())
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == ['loaded', str(len(list(get_block(cfg).collect_params())))]
    assert (
        'embedding the embeddings of the file and of this network are 0 of the largest value apart' in shown
    )
    assert 'input     RGB in 0..255; (x - 127.5) * 0.0078125 is inside' in shown
    parts = ('symbol.json', '0002.params', 'config.json')
    assert f'written   {", ".join(str(tmp_path / f"new-{part}") for part in parts)}' in shown
    assert complete(read_json(tmp_path / 'new-config.json')) == cfg
    assert '--config net_multiplier=0.0625' in shown
    assert (
        f'--net-multiplier 0.0625 --emb-size 16 --image-shape 32,32,3 --pretrained {tmp_path / "new"},2'
        in shown
    )


def test_the_names_of_the_classes_go_with_a_classifier(tmp_path):
    settings = {**SMALL, 'net_output': 'classifier', 'num_classes': 3}
    save_as_insightface(tmp_path / 'old', resolve('r18', **settings))
    write_classes(classes_path(tmp_path / 'old'), ['ant', 'bee', 'cat'])
    words = [*WORDS, '--config', 'net_output=classifier', '--config', 'num_classes=3']
    import_insightface(tmp_path, settings=words)
    assert checkpoint_record(tmp_path / 'new').classes == ('ant', 'bee', 'cat')
    import_insightface(tmp_path, '--overwrite', '--fresh-head', settings=words)
    assert not classes_path(tmp_path / 'new').exists()


def test_another_head_that_is_asked_for_is_drawn_fresh_and_said_so(tmp_path, capsys):
    values = save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    import_insightface(tmp_path, '--head', 'GAP', '--config', 'emb_size=8')
    saved = load_embedding(tmp_path / 'new', 0)
    own = parts_of(resolve('r18', **{**SMALL, 'net_output': 'GAP', 'emb_size': 8}))
    assert all(np.array_equal(saved.values[name].asnumpy(), values[name]) for name in own.backbone)
    assert set(own.head) | set(own.backbone) == set(saved.values)
    assert saved.values['pre_fc1_weight'].shape == (8, 32)
    shown = capsys.readouterr().out
    assert f'missing   {len(own.head):>5}  bn1_gamma' in shown
    assert 'was drawn fresh, and needs training before use' in shown
    assert 'apart' not in shown


def test_the_head_of_the_checkpoint_is_loaded_where_it_is_the_one_asked_for(tmp_path, capsys):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL, net_output='GAP'))
    import_insightface(tmp_path, '--head', 'GAP')
    assert 'missing' not in capsys.readouterr().out
    import_insightface(tmp_path, '--head', 'GAP', '--fresh-head', '--overwrite')
    assert 'missing' in capsys.readouterr().out


def test_a_head_that_does_not_fit_is_refused_where_no_other_was_asked_for(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL, net_output='GAP'))
    words = [*WORDS[:2], *WORDS[4:]]
    refused(tmp_path, 'pre_fc1_weight.*; --fresh-head leaves its head out and draws one', settings=words)


def test_a_file_is_not_replaced_unless_it_is_asked_for(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    (tmp_path / 'new-0000.params').write_text('mine')
    with pytest.raises(ConfigError, match=r'new-0000\.params already exists'):
        import_insightface(tmp_path)
    assert (tmp_path / 'new-0000.params').read_text() == 'mine'
    import_insightface(tmp_path, '--overwrite')
    assert load_network(tmp_path / 'new', 0, image_shape=(32, 32, 3))
    with pytest.raises(ConfigError, match=r'new-symbol\.json already exists'):
        import_insightface(tmp_path, '--epoch', '4')


def test_what_does_not_fit_is_refused_and_nothing_written(tmp_path):
    save_as_insightface(
        tmp_path / 'old', resolve('r18', **SMALL), without=['relu0_gamma'], old_bias=np.ones(2)
    )
    refused(
        tmp_path,
        r'old-0000\.params does not fit .*old-symbol\.json: it lacks relu0_gamma; it has also old_bias',
    )
    import_insightface(tmp_path, '--partial')
    assert load_network(tmp_path / 'new', 0, image_shape=(32, 32, 3))


def test_layers_that_compute_something_else_are_refused(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    refused(tmp_path, 'bn0 has eps 2e-05 instead of 0.001', '--config', 'bn_eps=0.001')
    refused(tmp_path, 'with input_scale=0.0078125 it is built so', '--config', 'input_scale=0.5')


def test_layers_that_are_connected_otherwise_are_refused(tmp_path):
    cfg = resolve('r18', **SMALL)
    symbol = get_symbol(cfg)
    text = symbol.tojson().replace('"op": "elemwise_add"', '"op": "elemwise_sub"')
    save_as_insightface(tmp_path / 'old', cfg, symbol=mx.sym.load_json(text))
    refused(tmp_path, 'the same parameters and give embeddings that are .* apart')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--config', 'net_akt=relu'], "'net_akt' is not a key of the config"),
        (['--head', 'GAPP'], "did you mean 'GAP'"),
        (['--config', 'r18'], 'must have the form KEY=VALUE'),
    ],
)
def test_mistakes_of_the_command_line_are_one_sentence(tmp_path, words, message):
    refused(tmp_path, message, *words, error=ConfigError)


@pytest.mark.parametrize('file', ['old', 'old,7', 'nowhere,0'])
def test_a_checkpoint_that_is_not_there_is_named(tmp_path, file):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    command = ['insightface', str(tmp_path / file), '--network', 'r18', '--output', str(tmp_path / 'new')]
    with pytest.raises(FaceSymbolsError, match=r'is not PREFIX,EPOCH|does not exist'):
        main(command)
    assert written(tmp_path) == []


def test_a_prefix_that_names_no_file_is_refused(tmp_path):
    command = ['insightface', 'old,0', '--network', 'r18', '--output', str(tmp_path) + os.sep]
    with pytest.raises(ConfigError, match='must end with'):
        main(command)


def test_the_symbol_of_one_network_with_the_parameters_of_another_is_refused(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL), symbol=get_symbol(resolve('r34', **SMALL)))
    for words in ([], ['--head', 'GAP'], ['--fresh-head']):
        refused(
            tmp_path,
            r'old-0000\.params does not fit .*old-symbol\.json: it lacks stage1_unit3_bn1_gamma',
            *words,
        )
    import_insightface(tmp_path, '--partial')  # whatever fits, which all does; the symbol cannot be compared


def test_the_weights_own_head_is_not_another_one(tmp_path):
    row = {**SMALL, 'net_output': 'GDC', 'net_multiplier': 0.25, 'emb_size': 256}
    save_as_insightface(tmp_path / 'old', resolve('m1', **row, head_channels=64))
    words = ['--config', 'net_multiplier=0.25', '--config', 'image_shape=32,32,3']
    command = [
        'insightface',
        f'{tmp_path / "old"},0',
        '--network',
        'm1',
        '--output',
        str(tmp_path / 'new'),
        *words,
    ]
    for head in ([], ['--head', 'GDC'], ['--head', 'gdc_fc_bn'], ['--emb-size', '256']):
        with pytest.raises(CheckpointError, match='--fresh-head leaves its head out'):
            main([*command, *head])
    assert main([*command, '--config', 'head_channels=64']) is None


def test_what_is_left_out_is_told(tmp_path, capsys):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    import_insightface(tmp_path)
    assert 'left out  fc7_weight (5, 16): the classifier over identities' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('own', 'words'),
    [
        ({'net_se': True}, 'net_se=True'),
        ({'net_act': 'relu'}, "net_act='relu'"),
        ({'net_unit': 1}, 'net_unit=1'),
        ({'num_layers': 34}, 'the preset r34'),
    ],
)
def test_the_network_that_weights_are_of_is_named(tmp_path, own, words):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL, **own))
    refused(tmp_path, f'does not fit r18: .*; it is of a network with {words}$')


@pytest.mark.parametrize('words', [[], ['--fresh-head'], ['--partial']])
def test_values_that_are_not_finite_are_refused(tmp_path, words):
    damaged = {'conv0_weight': np.full((4, 3, 3, 3), np.nan)}
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL), **damaged)
    refused(tmp_path, 'old,0 has values that are not finite in conv0_weight', *words)


@pytest.mark.parametrize('epoch', ['-1', str(10**20)])
def test_an_epoch_that_no_file_has_is_refused(tmp_path, epoch):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    refused(tmp_path, f"--epoch: '{epoch}' must be from 0 to", '--epoch', epoch, error=ConfigError)


def test_the_settings_that_are_printed_are_taken(tmp_path, capsys):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    import_insightface(tmp_path)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('settings'))
    assert '--config image_shape=32,32,3' in line
    before = (tmp_path / 'new-config.json').read_text()
    import_insightface(tmp_path, '--overwrite', settings=line.split()[1:])
    assert (tmp_path / 'new-config.json').read_text() == before


def test_the_program_ends_with_a_sentence_and_a_status(tmp_path):
    words = ['insightface', 'nothing,0', '--network', 'r18', '--output', 'new']
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', ROOT / 'tools' / 'import_weights.py', *words],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ['error: nothing-symbol.json does not exist']
    assert list(tmp_path.iterdir()) == []
