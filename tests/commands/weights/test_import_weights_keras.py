"""The importer on weights of Keras."""

from __future__ import annotations

import numpy as np
import pytest

from config import ConfigError, complete, resolve
from config.checks import CLASS_SCORES, output_kind
from config.errors import CheckpointError
from config.keys import NETWORK
from config.preprocessing import MODES, PIXEL_KEYS
from recognition.checkpoint.layer_diff import pixel_formula
from recognition.checkpoint.matching import parts_of
from recognition.checkpoint.network import load_embedding
from recognition.checkpoint.run_files import read_json
from recognition.cli.config_options import config_from
from recognition.cli.train_options import build_parser
from recognition.commands.import_weights import main
from recognition.engines.record import checkpoint_record
from tests.helpers.importing import written
from tests.helpers.keras_numbers import AXES, key_of, write_weights

KERAS = {'net_multiplier': 0.25, 'num_classes': 10, 'image_shape': (64, 64, 3)}
KERAS_WORDS = ['--config', 'net_multiplier=0.25', '--config', 'image_shape=64,64,3']


def write_keras(path, cfg, *, classifier=True):
    """Write the weights of a Keras network in the HDF5 layout of Keras 2, and return them by our names."""
    random = np.random.RandomState(4)
    own = parts_of(cfg)
    values = {
        name: random.uniform(0.5, 1, shape).astype('f4')
        for name, shape in {**own.backbone, **own.head}.items()
    }
    theirs = {key_of(name): value.transpose(AXES[value.ndim]) for name, value in values.items()}
    write_weights(
        path, {key: value for key, value in theirs.items() if classifier or 'predictions' not in key}
    )
    return values


def import_keras(folder, *words):
    command = ['keras', str(folder / 'weights.h5'), '--network', 'keras_resnet50', *KERAS_WORDS]
    return main([*command, '--output', str(folder / 'new'), *words])


def test_weights_of_keras_are_imported_with_their_classifier(tmp_path, capsys):
    values = write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    import_keras(tmp_path, '--config', 'num_classes=10')
    shown = capsys.readouterr().out
    assert 'missing' not in shown
    inside = '(x - (103.939, 116.779, 123.68)) * 1 of BGR'
    assert f'input     RGB in 0..255; {inside} is inside\n' in shown
    words = '--input-order bgr --input-mean 103.939,116.779,123.68 '
    assert words in next(line for line in shown.splitlines() if line.startswith('train '))
    saved = load_embedding(tmp_path / 'new', 0).values
    assert saved.keys() == values.keys()
    assert [name for name in values if not np.array_equal(saved[name].asnumpy(), values[name])] == []


def test_the_names_of_an_older_networks_classes_go(tmp_path):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    (tmp_path / 'new-classes.txt').write_text(''.join(f'class {number}\n' for number in range(10)))
    with pytest.raises(ConfigError, match=r'new-classes\.txt already exists'):
        import_keras(tmp_path, '--config', 'num_classes=10')
    import_keras(tmp_path, '--config', 'num_classes=10', '--overwrite')
    assert checkpoint_record(tmp_path / 'new').classes == ()


@pytest.mark.parametrize(
    'words', [['--head', 'E'], ['--fresh-head'], ['--fresh-head', '--config', 'num_classes=7']]
)
def test_the_classifier_of_keras_is_left_out_on_request(tmp_path, capsys, words):
    cfg = resolve('keras_resnet50', **KERAS)
    values = write_keras(tmp_path / 'weights.h5', cfg, classifier=words[0] == '--head')
    import_keras(tmp_path, *words)
    saved = load_embedding(tmp_path / 'new', 0).values
    body = parts_of(cfg).backbone
    assert [name for name in body if not np.array_equal(saved[name].asnumpy(), values[name])] == []
    shown = capsys.readouterr().out
    assert 'missing' in shown
    assert 'was drawn fresh' in shown


def test_another_number_of_classes_is_refused_unless_a_fresh_head_is_asked_for(tmp_path):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **{**KERAS, 'num_classes': 1000}))
    words = r'fc1_weight \(1000, 512\) instead of \(12, 512\), .*; --fresh-head leaves its head out'
    with pytest.raises(CheckpointError, match=words):
        import_keras(tmp_path, '--config', 'num_classes=12')
    assert written(tmp_path) == []


def test_a_file_of_keras_without_its_classifier_is_refused(tmp_path):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS), classifier=False)
    with pytest.raises(CheckpointError, match='it lacks fc1_weight, fc1_bias; --fresh-head'):
        import_keras(tmp_path)
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    'setting', ['bn_eps=0.01', 'net_act=elu', 'net_pool=max', 'input_mean=127.5', 'input_scale=0.5']
)
def test_settings_that_would_falsify_weights_of_keras_are_refused(tmp_path, setting):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    with pytest.raises(CheckpointError, match=f'{setting.partition("=")[0]}=.* its network (has|takes)'):
        import_keras(tmp_path, '--config', 'num_classes=10', '--config', setting)
    assert written(tmp_path) == []


def import_small(folder, preset, *words):
    """Import small weights of a preset, and return its config as it was recorded, and its symbol."""
    write_keras(folder / 'weights.h5', resolve(preset, **{**KERAS, 'image_shape': (96, 96, 3)}))
    small = [
        '--config',
        'net_multiplier=0.25',
        '--config',
        'image_shape=96,96,3',
        '--config',
        'num_classes=10',
    ]
    main(
        ['keras', str(folder / 'weights.h5'), '--network', preset, *small, '-o', str(folder / 'new'), *words]
    )
    return complete(read_json(folder / 'new-config.json')), load_embedding(folder / 'new', 0).symbol


@pytest.mark.parametrize(
    ('preset', 'words', 'mode', 'formula'),
    [
        ('keras_resnet50', [], 'caffe', '(x - (103.939, 116.779, 123.68)) * 1 of BGR'),
        ('keras_resnet50', ['--preprocessing', 'tf'], 'tf', '(x - 127.5) * 0.007843137255'),
        ('keras_resnet50', ['--config', 'input_mean=0'], 'none', ''),
        ('keras_resnet50_elu', ['--preprocessing', 'caffe'], 'caffe', ' of BGR'),
        pytest.param(
            *('keras_densenet121', [], 'torch', '(x - (123.675, 116.28, 103.53)) * (0.01712475383, '),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_preprocessing_of_keras_is_put_inside(preset, words, mode, formula, tmp_path):
    cfg, symbol = import_small(tmp_path, preset, *words)
    assert {key: cfg[key] for key in PIXEL_KEYS} == MODES[mode]
    assert formula in pixel_formula(symbol)
    assert bool(formula) == bool(pixel_formula(symbol))
    assert (cfg.network, cfg.image_shape, output_kind(cfg)) == (preset, (96, 96, 3), CLASS_SCORES)


def test_of_an_article_nothing_is_known_and_said_so(tmp_path, capsys):
    cfg, symbol = import_small(tmp_path, 'keras_resnet50_elu')
    assert {key: cfg[key] for key in PIXEL_KEYS} == MODES['none']
    assert pixel_formula(symbol) == ''
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('input ')]
    assert line.startswith(
        'input     RGB in 0..255 as they are; the file does not say how its images were prepared'
    )
    import_small(tmp_path, 'keras_resnet50', '--overwrite', '--preprocessing', 'none')
    assert "as they are, without Keras's own preprocessing (caffe)\n" in capsys.readouterr().out


def test_what_is_printed_for_training_is_the_network_that_was_imported(tmp_path, capsys):
    """Its settings and its training command give the same config, tuples included."""
    cfg, _ = import_small(tmp_path, 'keras_resnet50', '--head', 'E')
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    again, _ = import_small(tmp_path, 'keras_resnet50', '--overwrite', *lines['settings'].split())
    assert again == cfg
    words = lines['train'].split()[2:]
    trained = config_from(build_parser().parse_args([*words, '--loss', 'arcface']))
    assert network_values(trained) == network_values(cfg)


def network_values(cfg):
    return {key: cfg[key] for key in NETWORK}


@pytest.mark.parametrize('setting', ['input_mean=0', 'input_order=bgr'])
def test_two_ways_of_saying_what_is_done_to_pixels_are_one_too_many(setting, tmp_path):
    with pytest.raises(ConfigError, match=r'--preprocessing and --config .* both say'):
        import_keras(tmp_path, '--preprocessing', 'tf', '--config', setting)


def test_a_config_of_another_network_is_not_replaced(tmp_path):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    (tmp_path / 'new-config.json').write_text('mine')
    with pytest.raises(ConfigError, match=r'new-config\.json already exists'):
        import_keras(tmp_path, '--config', 'num_classes=10')
