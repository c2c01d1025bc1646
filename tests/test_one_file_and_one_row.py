"""A backbone, a head and an activation are one file and one row each, as the README has them, and work everywhere."""

from __future__ import annotations

import re

import pytest

from symbols.activations import Act
from symbols.heads import HEADS, FeatureMap, HeadSpec
from symbols.layers import Norm
from symbols.stems import PixelNorm, Stem
from tests.helpers.own_checkout import (
    FILES,
    PACKAGES,
    README,
    ROWS,
    add_all,
    add_file,
    add_row,
    copy_checkout,
    last_line,
    succeed,
)
from tests.helpers.training import SMALL, write_faces

import mxnet as mx

HEADS_FILE = 'symbols.heads'  # in which ours are
ALL = ('tinynet', '--head', 'max_fc', '--activation', 'relu6')
LISTS = """
from symbols import get_symbol, list_activations, list_backbones, list_heads
print(list_backbones()[0], list_heads()[0], list_activations()[0])
from config import resolve
print(*get_symbol(resolve('tinynet', net_output='max_fc', net_act='relu6')).list_arguments()[-2:])
"""


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """A checkout with the README's three files and three rows; the tests only add files of their own."""
    return add_all(copy_checkout(tmp_path_factory.mktemp('own')))


@pytest.fixture
def fresh(tmp_path):
    return copy_checkout(tmp_path, PACKAGES)


@pytest.fixture(scope='module')
def trained(copy):
    """The prefix of a checkpoint after two steps."""
    faces, prefix = copy / 'faces', copy / 'run' / 'model'
    write_faces(faces)
    settings = {**SMALL, 'net_multiplier': 0.5, 'net_act': 'relu6', 'net_output': 'max_fc', 'max_steps': 2}
    words = ['-m', 'recognition.train', '--network', 'tinynet', '--dataset-path', faces, '--prefix', prefix]
    for key, value in settings.items():
        shown = ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += ['--' + key.replace('_', '-'), shown]
    succeed(copy, *words)
    return prefix


def test_the_readme_has_three_files_and_three_rows():
    assert sorted(FILES) == ['symbols/max_fc.py', 'symbols/relu6.py', 'symbols/tinynet.py']
    assert [row.split("'")[1] for row in ROWS.values()] == ['tinynet', 'max_fc', 'relu6']


def test_they_are_listed_and_built(copy):
    assert succeed(copy, '-c', LISTS).splitlines() == ['tinynet max_fc relu6', 'fc1_weight fc1_bias']


def test_the_audit_takes_them(copy):
    assert '163,728' in succeed(copy, 'tools/audit_net.py', *ALL)


def test_they_are_drawn(copy):
    succeed(copy, 'tools/plot_net.py', *ALL, '-o', copy / 'tinynet.svg')
    assert 'stage4' in (copy / 'tinynet.svg').read_text('utf-8')


@pytest.mark.slow
def test_they_train_and_are_exported(copy, trained):
    model, file = f'{trained},1', copy / 'net.onnx'
    succeed(copy, 'tools/export_onnx.py', '--model', model, '--output', file)
    assert file.stat().st_size > 0


@pytest.mark.slow
def test_the_tables_of_the_readme_get_their_rows(copy):
    succeed(copy, 'tools/write_tables.py')
    text = (copy / 'README.md').read_text('utf-8')
    for start in ('| `tinynet` | `tinynet` |', '| `max_fc` | - |', '| `relu6` |'):
        assert f'\n{start}' in text


@pytest.mark.slow
def test_the_tests_take_them(copy):
    tests = ['tests/symbols', 'tests/config', 'tests/test_architecture.py', 'tests/recognition/checkpoint']
    chosen = 'tinynet or max_fc or relu6 or registry or presets or architecture or heads or activations'
    argv = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-m', 'not slow and not torch and not browser']
    assert re.search(r'\d{3,} passed', succeed(copy, *argv, *tests, '-k', chosen))


BUILD = """
from config import resolve
from symbols import get_block
get_block(resolve('y1'))  # what has its file works
get_block(resolve('tinynet'))
"""


@pytest.mark.parametrize(
    ('text', 'end'),
    [
        (None, 'is missing: write it, with'),
        ('"""Nothing is registered here."""\n', 'does not register it: put'),
    ],
)
def test_a_row_without_its_file_is_reported_in_one_sentence(fresh, text, end):
    add_row(fresh, 'FAMILIES', ROWS['FAMILIES'])
    if text:
        add_file(fresh, 'symbols/tinynet.py', text)
    sentence = (
        "net_name='tinynet' has a row in FAMILIES of config/presets.py, but symbols/tinynet.py "
        f"{end} @BACKBONES.register('tinynet') above the class or function that builds it"
    )
    assert last_line(fresh, 'tools/audit_net.py', 'tinynet') == f'error: {sentence}'
    assert last_line(fresh, '-c', BUILD) == f'config.errors.ConfigError: {sentence}'


def test_a_name_of_the_head_in_the_backbone_is_reported_in_one_sentence_by_training_too(fresh):
    add_row(fresh, 'FAMILIES', ROWS['FAMILIES'])
    text = FILES['symbols/tinynet.py'].replace("f'stage{stage}_bn'", "f'bn{stage}'")
    add_file(fresh, 'symbols/tinynet.py', text)
    sentence = (
        "the backbone 'tinynet' and the head 'bn_dropout_fc_bn' both have a layer named 'bn1'; "
        'rename one of them'
    )
    write_faces(fresh / 'faces')
    words = (
        '-m',
        'recognition.train',
        '--network',
        'tinynet',
        '--image-shape',
        '32,32,3',
        '--per-batch-size',
        '6',
    )
    assert last_line(fresh, *words, '--dataset-path', 'faces') == f'error: {sentence}'
    assert last_line(fresh, 'tools/plot_net.py', 'tinynet', '-o', 'a.svg') == f'error: {sentence}'


def layer_names():
    """Yield the name of every node of the input, the stem and our heads, at any width."""
    cfg = {'input_order': 'rgb', 'input_mean': 127.5, 'input_scale': 0.0078125}
    stem = Stem(PixelNorm(cfg), 3, 4, Norm(), Act('prelu'))
    blocks = [stem]
    for name in (name for name in HEADS.names() if HEADS.get(name).__module__ == HEADS_FILE):
        for width in (1, 3):  # narrower and wider than the map of two channels, which GNAP tells apart
            blocks.append(HEADS.get(name)(HeadSpec(FeatureMap(2, 7, 7), width, width, Norm(), Act('prelu'))))
    for block in blocks:
        for output in block(mx.sym.var('data')).get_internals().list_outputs():
            yield output.rpartition('_output')[0] or output


def test_the_names_that_the_readme_reserves_are_those_that_are_taken():
    reserved = set(re.search(r'after a `_`:\n`([^`]+)`', README).group(1).split())
    begins = {name: {r for r in reserved if name == r or name.startswith(f'{r}_')} for name in layer_names()}
    assert [name for name, found in begins.items() if not found] == []
    assert reserved - set().union(*begins.values()) == {
        'fc7'
    }  # of training, tests/symbols/test_layer_names.py
