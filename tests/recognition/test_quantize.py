"""Networks in INT8: what they cost on real faces, what the file says, and what is refused."""

from __future__ import annotations

import json
import logging
import os
import re
import sys

import numpy as np
import onnx
import onnxruntime
import onnxruntime.quantization
import pytest

from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from recognition.embed import Embedder
from recognition.embedding.agreement import cosine_distances, trial_images
from recognition.export.onnx.metadata import read_metadata
from recognition.export.onnx_export import Options, export_onnx
from recognition.quantize import LAYERS, quantize
from recognition.utils.packages import install_command
from recognition.utils.pixels import CENTRED
from recognition.verification.lfw import verify
from tests.helpers.faces import judged_by, photograph_pairs, photographs
from tests.helpers.narrow import SMALL_SHAPE, small, write_network
from tests.helpers.small_network import make_values, write_onnx

SIZE = SMALL_SHAPE[:2]
GREY = np.full((4, *SMALL_SHAPE), 128, np.uint8)  # images that show nothing of the values in a network


@pytest.fixture(scope='module')
def faces():
    return photographs(range(1, 4), SIZE)


@pytest.fixture(scope='module')
def pairs():
    """Pairs of two people, uint8 (2 P, H, W, 3), and whether they are the same."""
    return photograph_pairs(range(31, 33), SIZE)


@pytest.fixture(scope='module')
def saved(make_network, tmp_path_factory):
    """The prefix of a checkpoint of epoch 1."""
    net = make_network(small('r18', image_shape=SMALL_SHAPE, net_output='bn_fc'))
    return write_network(net, tmp_path_factory.mktemp('network') / 'model')


@pytest.fixture(scope='module')
def network(saved):
    """The checkpoint as ONNX."""
    path = saved.with_name('net.onnx')
    export_onnx(saved, 1, path, options=Options(fold=True), image_shape=SMALL_SHAPE)
    return path


@pytest.fixture(scope='module')
def made(network, faces, pairs):
    """The network in INT8: its path, and what quantize told."""
    path = network.parent / 'new' / 'int8.onnx'
    return path, quantize(network, path, faces, *pairs, most_lost=0.2)


def operators(path):
    return [node.op_type for node in onnx.load(str(path)).graph.node]


def test_what_it_costs_is_told_and_is_in_the_file(network, made, pairs):
    (output, outcome), (images, issame) = made, pairs
    plain, eight = (Embedder.load(each, 'onnxruntime')(images) for each in (network, output))
    assert outcome.plain.accuracy == verify(plain, issame).accuracy
    assert outcome.quantized.accuracy == verify(eight, issame).accuracy
    assert outcome.lost == outcome.plain.accuracy - outcome.quantized.accuracy
    assert outcome.distance == pytest.approx(cosine_distances(plain, eight).max())
    assert 1e-5 < outcome.distance < 0.05

    told = read_metadata(output)
    assert told.pop('int8') == {
        'calibrated_on': 30,
        'accuracy': outcome.quantized.accuracy,
        'accuracy_float32': outcome.plain.accuracy,
        'pairs': len(issame),
        'cosine_distance': outcome.distance,
    }
    assert told == read_metadata(network)
    assert len({entry.key for entry in onnx.load(str(output)).metadata_props}) == len(told) + 1
    assert os.listdir(output.parent) == ['int8.onnx']


def test_every_layer_is_of_bytes_but_the_one_that_sees_the_pixels(network, made):
    path, _ = made
    graph = onnx.load(str(path)).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in LAYERS]
    from_bytes = [makers.get(layer.input[1]) == 'DequantizeLinear' for layer in layers]
    assert len(layers) == sum(kind in LAYERS for kind in operators(network)) > 15
    assert from_bytes == [False] + [True] * (len(layers) - 1)
    weights = {held.name: held for held in graph.initializer}
    held = onnx.numpy_helper.to_array(weights[next(n for n in weights if n.endswith('weight_quantized'))])
    assert held.dtype == np.int8
    assert path.stat().st_size < network.stat().st_size


def test_a_file_for_centred_pixels_is_quantised_on_these(network, made, faces, pairs, tmp_path):
    model = onnx.load(str(network))
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = 'undone' if name == 'data' else name
    model.graph.initializer.append(onnx.helper.make_tensor('half', onnx.TensorProto.FLOAT, [], [127.5]))
    for node in (('Add', ['scaled', 'half'], ['undone']), ('Mul', ['data', 'half'], ['scaled'])):
        model.graph.node.insert(0, onnx.helper.make_node(*node))
    for entry in [each for each in model.metadata_props if each.key == 'pixels']:
        model.metadata_props.remove(entry)
    model.metadata_props.add(key='pixels', value=json.dumps(CENTRED.as_metadata()))
    onnx.save(model, str(tmp_path / 'outside.onnx'))
    outcome = quantize(tmp_path / 'outside.onnx', tmp_path / 'int8.onnx', faces, *pairs, most_lost=0.2)
    assert outcome.distance == pytest.approx(made[1].distance, rel=0.1)
    assert outcome.plain.accuracy == pytest.approx(made[1].plain.accuracy, abs=1e-6)
    eight = (Embedder.load(each, 'onnxruntime')(pairs[0]) for each in (made[0], tmp_path / 'int8.onnx'))
    assert cosine_distances(*eight).max() < 1e-3


def test_class_scores_are_not_judged_by_pairs(network, faces, pairs, tmp_path):
    model = onnx.load(str(network))
    model.metadata_props.add(key='kind', value='class scores')
    onnx.save(model, str(tmp_path / 'net.onnx'))
    with pytest.raises(ConfigError, match=r'net\.onnx gives class scores, not an embedding'):
        quantize(tmp_path / 'net.onnx', tmp_path / 'int8.onnx', faces, *pairs)


def test_engines_name_the_precision_and_agree(network, saved, faces, pairs, tmp_path):
    every_kind = np.concatenate([faces, trial_images(SMALL_SHAPE, 8, seed=1)])  # as engines are compared on
    quantize(network, tmp_path / 'int8.onnx', every_kind, *pairs, most_lost=1)
    plain = Embedder.load(network, 'onnxruntime')
    for engine in ('onnxruntime', 'openvino'):
        eight = Embedder.load(tmp_path / 'int8.onnx', engine, reference=f'{saved},1')
        assert (eight.precision, plain.precision) == ('INT8', 'float32')
        assert eight.network == plain.network
        assert 1e-5 < cosine_distances(eight(faces), plain(faces)).max() < 0.05


def test_a_network_that_takes_bytes(saved, faces, pairs, tmp_path):
    for name, as_bytes in (('planes', False), ('bytes', True)):
        options = Options(fold=True, uint8_nhwc=as_bytes)
        export_onnx(saved, 1, tmp_path / 'net.onnx', options=options, image_shape=SMALL_SHAPE)
        quantize(tmp_path / 'net.onnx', tmp_path / f'{name}.onnx', faces, *pairs, most_lost=1)
    session = onnxruntime.InferenceSession(str(tmp_path / 'bytes.onnx'))
    assert session.get_inputs()[0].type == 'tensor(uint8)'
    planes, of_bytes = (
        Embedder.load(tmp_path / f'{name}.onnx', 'onnxruntime')(faces) for name in ('planes', 'bytes')
    )
    assert cosine_distances(planes, of_bytes).max() < 1e-3  # the scales were chosen on the same pixels


def test_the_scales_are_chosen_on_all_the_faces(network, faces, pairs, tmp_path):
    """The last face alone is bright: the scales are others than without it."""
    bright = np.concatenate([faces[:20] // 4, np.full((1, *SMALL_SHAPE), 255, np.uint8)])
    distances = [
        quantize(network, tmp_path / 'int8.onnx', each, *pairs, most_lost=1).distance
        for each in (bright[:-1], bright)
    ]
    assert distances[0] != distances[1]


def test_where_too_much_is_lost_nothing_is_written(network, pairs, tmp_path):
    output = tmp_path / 'int8.onnx'
    output.write_bytes(b'the file that was there')
    images, _ = pairs
    judged = images, judged_by(network, images)
    words = r'INT8 takes the accuracy from 0\.9\d{3} to 0\.[5-8]\d{3}, more than 0\.1 down, and nothing is written'
    with pytest.raises(CheckpointError, match=words):
        quantize(network, output, GREY, *judged, most_lost=0.1)
    assert output.read_bytes() == b'the file that was there'
    assert os.listdir(tmp_path) == ['int8.onnx']
    assert quantize(network, output, GREY, *judged, most_lost=1).lost > 0.1


def test_int8_is_not_made_of_int8(made, faces, pairs, tmp_path):
    with pytest.raises(CheckpointError, match=r'int8\.onnx is in INT8 already; start from .* float32'):
        quantize(made[0], tmp_path / 'again.onnx', faces, *pairs)
    assert not (tmp_path / 'again.onnx').exists()


def test_a_file_that_is_none_of_ours(faces, pairs, tmp_path):
    write_onnx(tmp_path / 'other.onnx', make_values())
    (tmp_path / 'bad.onnx').write_bytes(b'no network')
    for name, words in (
        ('other.onnx', 'is not a network that was exported here'),
        ('bad.onnx', 'is damaged or not an ONNX file'),
        ('none.onnx', 'does not exist'),
    ):
        with pytest.raises(CheckpointError, match=words) as caught:
            quantize(tmp_path / name, tmp_path / 'int8.onnx', faces, *pairs)
        assert '\n' not in str(caught.value)


def test_a_network_of_maps_is_refused_before_the_work(save, faces, pairs, tmp_path, monkeypatch):
    prefix = save(small('r18', image_shape=SMALL_SHAPE, net_output='bn_dropout'))
    export_onnx(prefix, 1, tmp_path / 'maps.onnx', image_shape=SMALL_SHAPE)
    monkeypatch.setattr(onnxruntime.quantization, 'quantize_static', None)
    with pytest.raises(
        CheckpointError, match=r'maps\.onnx gives maps of 64 x 2 x 2 values, and pairs are judged'
    ):
        quantize(tmp_path / 'maps.onnx', tmp_path / 'int8.onnx', faces, *pairs)
    assert not (tmp_path / 'int8.onnx').exists()


def test_images_that_do_not_fit(network, faces, pairs, tmp_path):
    images, issame = pairs
    wrong = {
        r'faces must be uint8 \(N, 32, 32, 3\), not uint8 \(30, 31, 32, 3\)': (faces[:, 1:], images),
        r'faces must be uint8 \(N, 32, 32, 3\), not float32': (faces.astype(np.float32), images),
        r'faces must be uint8 .*, not uint8 \(32, 32, 3\)': (faces[0], images),
        'there are no images in faces': (faces[:0], images),
        r'pairs must be uint8 \(N, 32, 32, 3\), not uint8 \(\d+, 3, 32, 32\)': (
            faces,
            images.transpose(0, 3, 1, 2),
        ),
        f'{len(images) - 1} images do not fit {len(issame)} answers': (faces, images[1:]),
    }
    for words, given in wrong.items():
        with pytest.raises(DataError, match=words):
            quantize(network, tmp_path / 'int8.onnx', *given, issame)
    assert not (tmp_path / 'int8.onnx').exists()


def test_requests_that_cannot_be(network, faces, pairs, tmp_path):
    with pytest.raises(ConfigError, match=r'int8\.bin must end in \.onnx'):
        quantize(network, tmp_path / 'int8.bin', faces, *pairs)
    with pytest.raises(ConfigError, match='is the network in float32 itself'):
        quantize(network, network.parent / '..' / network.parent.name / 'net.onnx', faces, *pairs)
    for share in (-0.1, 1.5, float('nan')):
        with pytest.raises(ConfigError, match=r'most_lost=.* must be from 0 to 1'):
            quantize(network, tmp_path / 'int8.onnx', faces, *pairs, most_lost=share)


def test_a_missing_package_is_named(network, faces, pairs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(
        MissingExtra, match=rf'needs the package onnxruntime: {re.escape(install_command("onnx"))}'
    ):
        quantize(network, tmp_path / 'int8.onnx', faces, *pairs)


def test_the_log_is_left_as_it_was(network, pairs, tmp_path, caplog):
    logging.getLogger().setLevel(logging.WARNING)
    with caplog.at_level(logging.WARNING):
        quantize(network, tmp_path / 'int8.onnx', GREY, *pairs, most_lost=1)
        assert caplog.text == ''
        assert logging.getLogger().level == logging.WARNING
