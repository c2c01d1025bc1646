"""Exported networks: every family with every head, the options, and files that are damaged, missing or cut short."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from config import network
from config.errors import CheckpointError, ConfigError, MissingExtra
from config.presets import FAMILIES
from recognition.checkpoint.network import load_embedding, load_network, save_network
from recognition.export.onnx_export import Options, export_onnx, read_metadata
from recognition.export.parity import TOLERANCE
from recognition.utils.packages import install_command
from recognition.utils.run_paths import params_path
from recognition.verification.lfw import normalise
from symbols import list_activations, list_heads
from tests.helpers.classifiers import NAMES, record
from tests.helpers.exported import SHAPE, export, images, save_tiny
from tests.helpers.families import in_turn
from tests.helpers.narrow import LIKE_OTHERS, SLOW_TO_BUILD, SMALLEST, small
from tests.helpers.rewritten import operators

import mxnet as mx

ROOT = Path(__file__).resolve().parents[3]


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': images})[0]


def planes(faces):
    return faces.transpose(0, 3, 1, 2).astype(np.float32)


def assert_exported(prefix, cfg, tmp_path, **settings):
    output = tmp_path / 'net.onnx'
    check = export_onnx(prefix, 1, output, image_shape=cfg.image_shape, **settings)
    assert check.difference <= TOLERANCE
    assert check.cosine > 1 - 1e-6
    assert read_metadata(output)['image_shape'] == list(cfg.image_shape)


def families_and_heads():
    """Yield every family with every head, but of families that are slow or like others one head."""
    for pair in in_turn([*FAMILIES], list_heads(), also=['gdc_fc_bn']):
        family, head = pair.values
        if head == 'gdc_fc_bn' or family not in (*SLOW_TO_BUILD, *LIKE_OTHERS):
            yield pair


@pytest.mark.parametrize(('family', 'head'), list(families_and_heads()))
def test_every_family_with_every_head(family, head, save, tmp_path):
    cfg = small(SMALLEST[family], net_output=head)
    assert_exported(save(cfg), cfg, tmp_path)


@pytest.mark.parametrize('activation', list_activations())
def test_every_activation(activation, save, tmp_path):
    cfg = small('m05', net_act=activation, image_shape=SHAPE)
    assert_exported(save(cfg), cfg, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('preset', network)
def test_every_preset_with_every_head(preset, save, tmp_path):
    for head in list_heads():
        cfg = small(preset, net_output=head)
        assert_exported(save(cfg), cfg, tmp_path)


@pytest.mark.parametrize('preset', ['r18', 'd121', 'xception', 'y1', 'vargfacenet'])
def test_folded_batch_norms(preset, save, tmp_path):
    cfg, output = small(preset), tmp_path / 'net.onnx'
    prefix = save(cfg)
    assert_exported(prefix, cfg, tmp_path, options=Options(fold=True))
    left = [node.op_type for node in onnx.load(str(output)).graph.node].count('BatchNormalization')
    assert left < operators(load_embedding(prefix, 1).symbol)['BatchNorm']


# The options.


def test_the_batch_is_free_and_the_embedding_mxnets(saved, tmp_path):
    export(saved, tmp_path / 'net.onnx')
    net = load_network(saved, 1, image_shape=SHAPE)
    for count in (1, 2, 5, 17):
        data = planes(images(count))
        theirs = net(mx.nd.array(data)).asnumpy()
        np.testing.assert_allclose(
            run(tmp_path / 'net.onnx', data), theirs, atol=TOLERANCE * np.abs(theirs).max()
        )


BGR = {'input_order': 'bgr', 'input_mean': (103.939, 116.779, 123.68), 'input_scale': (0.02, 0.01, 0.015)}


@pytest.mark.parametrize('pixels', [{}, BGR], ids=['one mean', 'BGR'])
def test_every_combination_of_options(pixels, save, tmp_path):
    saved = save(small('r18', image_shape=SHAPE, **pixels))
    export(saved, tmp_path / 'plain.onnx')
    plain = run(tmp_path / 'plain.onnx', planes(images()))
    for unit in (False, True):
        for bytewise in (False, True):
            for fold in (False, True):
                options = Options(normalise=unit, uint8_nhwc=bytewise, fold=fold)
                export(saved, tmp_path / 'net.onnx', options=options)
                found = run(tmp_path / 'net.onnx', images() if bytewise else planes(images()))
                wanted = normalise(plain) if unit else plain
                np.testing.assert_allclose(found, wanted, atol=TOLERANCE * np.abs(wanted).max())


def test_a_feature_map_is_not_normalised(save, tmp_path):
    prefix = save(small('y1', net_output='bn_dropout', image_shape=SHAPE))
    with pytest.raises(ConfigError, match='needs an embedding'):
        export(prefix, tmp_path / 'net.onnx', options=Options(normalise=True))
    assert not (tmp_path / 'net.onnx').exists()


# Files that are damaged, missing, or cut short.


def test_a_damaged_or_missing_checkpoint_is_one_sentence(saved, tmp_path):
    whole = params_path(saved, 1).read_bytes()
    for content, words in ((whole[:-100], 'is damaged'), (b'', 'is damaged'), (None, 'does not exist')):
        params_path(saved, 1).unlink()
        if content is not None:
            params_path(saved, 1).write_bytes(content)
        with pytest.raises(CheckpointError, match=words) as caught:
            export(saved, tmp_path / 'net.onnx')
        assert '\n' not in str(caught.value)
        params_path(saved, 1).write_bytes(whole)
    assert not (tmp_path / 'net.onnx').exists()


def test_values_that_are_not_finite_are_named(tmp_path):
    save_tiny(tmp_path / 'sick', conv0_weight=np.full((6, 3, 3, 3), np.nan))
    with pytest.raises(CheckpointError, match='values that are not finite in conv0_weight'):
        export(tmp_path / 'sick', tmp_path / 'net.onnx')


def test_another_image_size_than_the_networks(saved, tmp_path):
    with pytest.raises(CheckpointError, match='it differs in pre_fc1_weight'):
        export(saved, tmp_path / 'net.onnx', image_shape=(112, 112, 3))


def test_an_operator_without_a_rule_is_named(tmp_path):
    symbol = mx.sym.FullyConnected(mx.sym.gamma(mx.sym.var('data'), name='gamma0'), num_hidden=4, name='fc1')
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 32, 32))
    args = {name: mx.nd.ones(shape) for name, shape in zip(symbol.list_arguments(), shapes) if name != 'data'}
    save_network(tmp_path / 'm', 1, symbol, args, {})
    with pytest.raises(ConfigError, match="'gamma0' is an operator gamma, which cannot be exported to ONNX"):
        export(tmp_path / 'm', tmp_path / 'net.onnx')


KILLED = """
import os, signal, sys
from pathlib import Path
from recognition.export.onnx_export import export_onnx
whole = Path.write_bytes
def half(path, content):
    whole(path, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
Path.write_bytes = half
export_onnx(sys.argv[1], 1, sys.argv[2], image_shape=(32, 32, 3))
"""


def test_one_that_is_killed_while_it_writes_leaves_no_half_file(saved, tmp_path):
    output = tmp_path / 'out' / 'net.onnx'
    export(saved, output)
    whole = output.read_bytes()
    words = [sys.executable, '-W', 'ignore', '-c', KILLED, str(saved), str(output)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert output.read_bytes() == whole
    assert len(os.listdir(output.parent)) == 2  # what it had written so far
    export(saved, output)
    assert os.listdir(output.parent) == ['net.onnx']


def test_a_folder_that_cannot_be_written(saved, tmp_path):
    (tmp_path / 'file').write_text('no folder')
    with pytest.raises(CheckpointError, match='cannot be written'):
        export(saved, tmp_path / 'file' / 'net.onnx')


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime'])
def test_a_missing_package_is_named(package, saved, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtra, match=rf'needs? the package {package}: {re.escape(install_command("onnx"))}'
    ):
        export(saved, tmp_path / 'net.onnx')


def test_class_scores_have_no_length_to_normalise(saved, tmp_path):
    for source in saved.parent.glob(f'{saved.name}-*'):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    prefix = record(tmp_path / saved.name, shape=SHAPE)
    with pytest.raises(ConfigError, match='gives class scores, not an embedding'):
        export(prefix, tmp_path / 'net.onnx', options=Options(normalise=True))
    export_onnx(prefix, 1, tmp_path / 'net.onnx')  # its size is recorded
    told = read_metadata(tmp_path / 'net.onnx')
    assert (told['kind'], told['classes'], told['keras']) == ('class scores', list(NAMES), False)
    with pytest.raises(ConfigError, match=r'images of 112x112x3 do not fit .*,1, which takes 32x32x3'):
        export_onnx(prefix, 1, tmp_path / 'net.onnx', image_shape=(112, 112, 3))
