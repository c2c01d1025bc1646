"""export and import-weights with files of weights: out and in is the same checkpoint, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from config import CheckpointError, ConfigError, network, resolve
from config.preprocessing import MODES
from recognition.commands.export import main as export
from recognition.commands.import_weights import main as import_weights
from recognition.data.class_names import write_classes
from recognition.engines.record import read_provenance, write_provenance
from recognition.utils.run_paths import classes_path, config_path, params_path
from recognition.weights.safetensors_file import read_safetensors
from tests.helpers.narrow import files_of, save_configured, small

import mxnet as mx

pytestmark = pytest.mark.usefixtures('hdf5_here')

QUICK = ('y1', 'mnas025', 'd2l_densenet')


@pytest.fixture
def hdf5_here(monkeypatch):
    """Spare the process that looks at a file of Keras first."""
    from recognition.weights.keras import reader

    monkeypatch.setattr(reader, 'check_hdf5', lambda source, name: None)


@pytest.fixture
def net(save, tmp_path):
    """Return the prefix of a small MobileFaceNet."""
    return save_configured(save, small('y1'), tmp_path / 'net')


def write(prefix, output, *more, form='safetensors'):
    export(['--format', form, '--model', f'{prefix},1', '--output', str(output), *map(str, more)])
    return output


def read_back(file, *more, form='safetensors'):
    prefix = file.parent / 'back'
    import_weights([form, str(file), '--output', str(prefix), '--epoch', '1', *more])
    return prefix


def presets():
    return [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in network]


@pytest.mark.parametrize('preset', presets())
def test_safetensors_of_every_preset_come_back_the_same(save, tmp_path, preset):
    prefix = save_configured(save, small(preset), tmp_path / 'net')
    back = read_back(write(prefix, tmp_path / 'net.safetensors'))
    assert files_of(back) == files_of(prefix)


def test_what_a_safetensors_file_says_of_itself(net, tmp_path, capsys):
    held = read_safetensors(write(net, tmp_path / 'net.safetensors'))
    assert 'config in the metadata' in capsys.readouterr().out
    told = held.metadata
    assert json.loads(told['pixels']) == {'mean': 0.0, 'scale': 1.0, 'order': 'rgb'}
    assert (told['kind'], json.loads(told['image_shape'])) == ('embedding', [41, 52, 3])
    assert dict(held.cfg) == dict(small('y1'))
    assert {value.dtype.name for value in held.values.values()} == {'float32'}
    assert 'opset' not in told


def test_the_names_of_the_classes_come_with_it(save, tmp_path):
    cfg = small('r18', net_output='classifier')
    prefix = save_configured(save, cfg, tmp_path / 'net')
    write_classes(classes_path(prefix), [f'class {n}' for n in range(cfg.num_classes)])
    back = read_back(write(prefix, tmp_path / 'net.safetensors'))
    assert classes_path(back).read_bytes() == classes_path(prefix).read_bytes()


def test_a_named_network_must_be_that_of_the_file(net, tmp_path):
    file = write(net, tmp_path / 'net.safetensors')
    assert files_of(read_back(file, '--network', 'y1')) == files_of(net)
    for more, words in (
        (['--network', 'y2'], r'net_blocks=\(1, 4, 6, 2\), but --network y2 has \(2, 8, 16, 4\)'),
        (['--activation', 'relu'], "net_act='prelu', but the command line has 'relu'"),
        (['--config', 'bn_eps=1e-3'], 'bn_eps=None, but the command line has 0.001'),
    ):
        with pytest.raises(CheckpointError, match=words):
            read_back(file, '--overwrite', *more)


def test_another_head_is_drawn_fresh(net, tmp_path, capsys):
    file = write(net, tmp_path / 'net.safetensors')
    read_back(file, '--head', 'GAP', '--fresh-head')
    assert 'was drawn fresh' in capsys.readouterr().out


def test_files_that_are_no_such_file(net, tmp_path):
    file = write(net, tmp_path / 'net.safetensors')
    content = file.read_bytes()
    from safetensors.numpy import save_file

    wrong = {
        'is damaged, not a safetensors file, or': content[:-4],
        'is damaged, not a safetensors file, or not of types': b'x' * 100,
        'holds an invalid config: ': content.replace(b'fmobilefacenet', b'fmobilefacenut'),
    }
    for words, each in wrong.items():
        file.write_bytes(each)
        with pytest.raises(CheckpointError, match=words):
            read_back(file)
    save_file({'w': np.ones(3, np.float32)}, file)
    with pytest.raises(CheckpointError, match='does not hold the config of its network'):
        read_back(file)
    assert not list(tmp_path.glob('back*'))


def test_values_that_are_not_finite_are_written_nowhere(net, tmp_path):
    arrays = mx.nd.load(str(params_path(net, 1)))
    arrays['arg:fc1_beta'][0] = np.nan
    mx.nd.save(str(params_path(net, 1)), arrays)
    params_path(net, 1).with_suffix('.params.sha256').unlink()
    with pytest.raises(CheckpointError, match='values that are not finite in fc1_beta'):
        write(net, tmp_path / 'net.safetensors')
    assert not list(tmp_path.glob('*safetensors*'))


def test_a_checkpoint_that_is_not_the_network_of_its_config(net, tmp_path):
    config = config_path(net)
    config.write_text(json.dumps(small('y1', bn_eps=1e-3)))
    with pytest.raises(CheckpointError, match=r'has eps 2e-05 instead of 0\.001'):
        write(net, tmp_path / 'net.safetensors')
    config.unlink()
    with pytest.raises(CheckpointError, match=r'which records the network of .*, does not exist'):
        write(net, tmp_path / 'net.safetensors')


@pytest.mark.parametrize(
    ('form', 'name', 'more', 'words'),
    [
        ('pytorch', 'net.bin', [], r'must end in \.pth or \.pt, as net\.pth does'),
        ('keras', 'net.h5', [], r'must end in \.weights\.h5 or \.keras, as'),
        ('onnx', 'net.pth', [], '--format pytorch writes .pth'),
        ('pytorch', 'net.pth', ['--normalise'], '--normalise does not go with --format pytorch'),
        ('safetensors', 'net.safetensors', ['--uint8-nhwc'], '--uint8-nhwc does not go with'),
        ('keras', 'net.keras', ['--faces', 'folder'], '--faces does not go with --format keras'),
        ('safetensors', 'net.safetensors', ['--image-size', '50,50'], '41x52'),
    ],
)
def test_options_that_do_not_go_together(net, tmp_path, form, name, more, words):
    with pytest.raises(ConfigError, match=words):
        write(net, tmp_path / name, *more, form=form)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ('form', 'name', 'words'),
    [
        ('pytorch', 'net.pth', "net_name='fmobilefacenet' does not go with weights of arcface_torch"),
        ('keras', 'net.keras', "net_name='fmobilefacenet' is not a network of Keras"),
    ],
)
def test_networks_that_a_format_does_not_have(net, tmp_path, form, name, words):
    with pytest.raises(CheckpointError, match=words):
        write(net, tmp_path / name, form=form)
    assert not list(tmp_path.glob(f'*{name}*'))


@pytest.mark.slow
def test_arcface_torchs_file_comes_back_the_same(save, tmp_path, capsys):
    prefix = save_configured(save, resolve('r18', emb_size=8, bn_mom=0), tmp_path / 'net')
    write_provenance(prefix, {'license': 'MIT', 'origin': 'elsewhere'})
    file = write(prefix, tmp_path / 'net.pth', '--origin', 'here', form='pytorch')
    assert '(x - 127.5) / 127.5 of 0..255' in capsys.readouterr().out
    back = read_back(file, '--network', 'r18', form='arcface_torch')
    assert files_of(back) == files_of(prefix)
    assert read_provenance(back) == {'license': 'MIT', 'origin': 'here'}
    read_back(
        file,
        '--network',
        'r18',
        '--overwrite',
        '--emb-size',
        '8',
        '--config',
        'bn_eps=1e-5',
        form='arcface_torch',
    )
    assert 'input_scale=0.00784313725490196' in capsys.readouterr().out


@pytest.mark.parametrize('suffix', ['.keras', '.weights.h5'])
@pytest.mark.parametrize(
    ('preset', 'mode'),
    [
        pytest.param('keras_densenet121', 'torch', marks=pytest.mark.slow),
        pytest.param('keras_resnet50', 'caffe', marks=pytest.mark.slow),
        pytest.param('keras_resnet50_elu', 'none', marks=pytest.mark.slow),
        ('keras_xception', 'tf'),
        ('keras_xception', 'none'),
    ],
)
def test_keras_files_come_back_the_same(save, tmp_path, capsys, preset, mode, suffix):
    cfg = small(preset, **MODES[mode])
    prefix = save_configured(save, cfg, tmp_path / 'net')
    write_provenance(prefix, {'license': 'MIT', 'origin': 'elsewhere'})
    file = write(prefix, tmp_path / f'net{suffix}', '--origin', 'hier, in Köln', form='keras')
    shown = capsys.readouterr().out
    assert (f"mode='{mode}'" in shown) == (mode != 'none')
    sizes = [f'{key}={cfg[key]}' for key in ('bn_mom', 'net_multiplier', 'emb_size', 'num_classes')]
    sizes.append(f'image_shape={",".join(map(str, cfg.image_shape))}')
    more = [word for size in sizes for word in ('--config', size)]
    back = read_back(file, '--network', preset, *more, form='keras')  # the file records the mode
    assert files_of(back) == files_of(prefix)
    assert read_provenance(back) == {'license': 'MIT', 'origin': 'hier, in Köln'}
