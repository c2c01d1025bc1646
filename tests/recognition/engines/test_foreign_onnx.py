"""Others' ONNX files: each form gives the embeddings of the network, by the pixels that it wants."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from config.errors import CheckpointError, ConfigError
from recognition.embed import Embedder
from recognition.engines.onnx_file import read_onnx_file
from recognition.utils.pixels import CENTRED, RAW, Pixels
from tests.helpers.small_network import FORMS, IMAGES, SHAPE, SIZE, STATISTICS, write_foreign, write_ncnn

ENGINES = ('onnxruntime', 'openvino')
LEAST_COSINE = 0.999999

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(1).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def opened(path, engine='onnxruntime', **settings):
    return Embedder.load(path, engine, mirror='none', normalise=False, image_shape=SHAPE, **settings)


def least_cosine(found, wanted):
    return (
        np.sum(found * wanted, axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    ).min()


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('form', FORMS)
def test_every_form_gives_the_embeddings(small, images, tmp_path, caplog, engine, form):
    path = write_foreign(tmp_path / 'net.onnx', small.values, **FORMS[form])
    found = opened(path, engine)(images)
    assert found.shape == (5, SIZE)
    assert least_cosine(found, small.values.embed(images)) > LEAST_COSINE
    (line,) = [each.getMessage() for each in caplog.records if 'does not record' in each.getMessage()]
    wanted = FORMS[form].get('pixels', CENTRED)
    assert f'pixels are {wanted}, ' in line
    assert '--input-mean, --input-scale and --channels change that' in line


def insightface_rule(path):
    """Whether the package insightface gives pixels as they are (model_zoo/arcface_onnx.py, written anew)."""
    names = [node.name for node in onnx.load(str(path)).graph.node[:8]]
    sub, mul = (
        any(name[: len(start)] == start for name in names for start in starts)
        for starts in (['Sub', '_minus'], ['Mul', '_mul'])
    )
    return sub and mul


@pytest.mark.parametrize(
    'inside',
    [
        (),
        ('Sub_1', 'Mul_2'),
        ('_minus0', 'Mul'),
        ('Sub', 'x'),
        ('x', 'Mul'),
        ('/Sub', '/Mul'),
        ('sub', 'mul'),
    ],
)
def test_the_rule_is_insightfaces(small, tmp_path, caplog, inside):
    path = write_foreign(tmp_path / 'net.onnx', small.values, inside=inside)
    opened(path)
    assert (f'pixels are {RAW}' in caplog.text) == insightface_rule(path)
    assert (f'pixels are {CENTRED}' in caplog.text) == (not insightface_rule(path))


def test_the_rule_reads_eight_nodes(small, tmp_path, caplog):
    path = write_foreign(tmp_path / 'net.onnx', small.values, inside=('Sub_1', 'Mul_2'))
    model = onnx.load(str(path))
    for number in range(6):  # Cast_0 and these, then Sub_1 is the eighth
        node = helper.make_node('Identity', ['weight'], [f'w{number}'], name=f'Identity_{number}')
        model.graph.node.insert(0, node)
    onnx.save(model, str(path))
    opened(path)
    assert f'pixels are {CENTRED}' in caplog.text
    assert not insightface_rule(path)


def test_a_normalisation_that_the_rule_does_not_see_is_named(small, tmp_path, caplog):
    path = write_foreign(tmp_path / 'net.onnx', small.values, inside=('/Sub', '/Mul'))
    model = onnx.load(str(path))
    model.graph.node[1].input[0] = 'input.1'
    del model.graph.node[0]
    onnx.save(model, str(path))
    opened(path)
    assert 'if its own Sub normalises, give --input-mean 0 --input-scale 1' in caplog.text


def test_names_that_deceive_the_rule_are_named(small, tmp_path, caplog):
    path = write_foreign(tmp_path / 'net.onnx', small.values, inside=('Sub', 'Mul'))
    model = onnx.load(str(path))
    opened(path)
    assert 'straight to a Conv' not in caplog.text
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), 'eye')
    model.graph.initializer.append(weight)
    model.graph.node[0].CopyFrom(helper.make_node('Conv', ['input.1', 'eye'], model.graph.node[0].output))
    onnx.save(model, str(path))
    opened(path)
    assert 'straight to a Conv: if its caller normalises, give --input-mean 127.5' in caplog.text


@pytest.mark.parametrize('engine', [*ENGINES, 'ncnn'])
@pytest.mark.parametrize(
    'pixels', [RAW, CENTRED, Pixels(127.5, 1 / 128, 'bgr'), STATISTICS, STATISTICS._replace(order='bgr')]
)
def test_the_options_say_what_a_file_wants(small, images, tmp_path, caplog, engine, pixels):
    if engine == 'ncnn':
        path = write_ncnn(tmp_path / 'net.ncnn', small.values, pixels)
    else:
        path = write_foreign(tmp_path / 'net.onnx', small.values, pixels)
    embedder = opened(path, engine, pixels=pixels)
    assert least_cosine(embedder(images), small.values.embed(images)) > LEAST_COSINE
    assert embedder.pixels == ('' if pixels == RAW else str(pixels))
    assert 'does not record' not in caplog.text


@pytest.mark.parametrize('pixels', [CENTRED, STATISTICS._replace(order='bgr')])
def test_what_a_file_records_comes_first(small, images, tmp_path, caplog, pixels):
    told = {'params_sha256': 'known', 'pixels': json.dumps(pixels.as_metadata())}
    path = write_foreign(tmp_path / 'net.onnx', small.values, pixels, metadata=told)
    embedder = opened(path)
    assert least_cosine(embedder(images), small.values.embed(images)) > LEAST_COSINE
    assert (embedder.network, embedder.pixels, caplog.text) == ('known', '', '')
    opened(path, pixels=pixels._replace(scale=np.float32(pixels.scale).tolist()))
    with pytest.raises(ConfigError, match=re.escape(f'records pixels {pixels}, but --input-mean')):
        opened(path, pixels=RAW)


def test_ncnns_file_beside_it_records_them_too(small, images, tmp_path, caplog):
    pair = write_ncnn(tmp_path / 'net.ncnn', small.values, STATISTICS)
    told = {'params_sha256': 'known', 'pixels': STATISTICS.as_metadata()}
    (tmp_path / 'net.ncnn.json').write_text(json.dumps(told))
    assert least_cosine(opened(pair, 'ncnn')(images), small.values.embed(images)) > LEAST_COSINE
    assert caplog.text == ''
    with pytest.raises(ConfigError, match='records pixels'):
        opened(pair, 'ncnn', pixels=RAW)
    with pytest.raises(ConfigError, match="has no output 'fc2'; choose one by --output-layer: fc1"):
        opened(pair, 'ncnn', output_layer='fc2')


def test_a_file_of_ours_from_before_takes_pixels_as_they_are(small, images, tmp_path):
    path = write_foreign(tmp_path / 'net.onnx', small.values, RAW, metadata={'params_sha256': 'known'})
    assert least_cosine(opened(path)(images), small.values.embed(images)) > LEAST_COSINE
    with pytest.raises(ConfigError, match=r'net\.onnx records pixels 0\.\.255 as they are'):
        opened(path, pixels=CENTRED)


@pytest.mark.parametrize('engine', ENGINES)
def test_several_outputs_need_a_name(small, images, tmp_path, engine):
    path = write_foreign(tmp_path / 'net.onnx', small.values, extra=['age', 'gender'])
    for layer, words in ((None, '3 outputs'), ('fc1', "no output 'fc1'")):
        with pytest.raises(
            ConfigError, match=rf'has {words}; choose one by --output-layer: age, gender, 683'
        ):
            opened(path, engine, output_layer=layer)
    embedder = opened(path, engine, output_layer='683')
    np.testing.assert_allclose(embedder(images), small.values.embed(images), atol=1e-4)
    np.testing.assert_allclose(opened(path, engine, output_layer='age')(images), -embedder(images), atol=1e-5)


@pytest.mark.parametrize('engine', ENGINES)
def test_a_batch_of_one_that_the_output_alone_fixes(small, images, tmp_path, engine):
    path = write_foreign(tmp_path / 'net.onnx', small.values)
    model = onnx.load(str(path))
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.array([1, SIZE]), 'shape'))
    onnx.save(model, str(path))
    np.testing.assert_allclose(opened(path, engine)(images), small.values.embed(images), atol=1e-4)


@pytest.mark.parametrize('engine', ENGINES)
def test_half_precision_is_cast_and_said(small, images, tmp_path, engine):
    path = write_foreign(tmp_path / 'net.onnx', small.values, kind=TensorProto.FLOAT16)
    embedder = opened(path, engine)
    assert embedder.precision == 'float16'
    assert least_cosine(embedder(images), small.values.embed(images)) > 1 - 1e-5


@pytest.mark.parametrize(
    ('form', 'pixels', 'words'),
    [
        ({'kind': TensorProto.DOUBLE}, None, 'takes another type than float32, float16 or uint8 of shape'),
        (
            FORMS['bytes'],
            CENTRED,
            r'takes bytes, 0..255 as they are, which cannot hold pixels \(x - 127.5\) / 127.5',
        ),
        ({}, Pixels((1, 2), 1), r'mean=\(1, 2\) \(--input-mean\) must be 1 finite number, or 3'),
        ({}, Pixels(np.nan, 1), r'mean=nan \(--input-mean\) must be'),
        ({}, Pixels('a', 1), r'mean=a \(--input-mean\) must be'),
        ({}, Pixels(0, (1, 0, 1)), r'\(--input-scale\) must not be 0'),
        ({}, Pixels(0, 1, 'grb'), r"order='grb' \(--channels\) must be rgb or bgr"),
        (
            {'metadata': {'pixels': '{"mean": [1, 2]}'}},
            None,
            r'net\.onnx is damaged: its record of pixels',
        ),
        ({'metadata': {'pixels': 'x'}}, None, r'net\.onnx is damaged: its record of pixels'),
    ],
)
def test_what_cannot_be_is_one_sentence(small, tmp_path, form, pixels, words):
    path = write_foreign(tmp_path / 'net.onnx', small.values, **form)
    with pytest.raises((ConfigError, CheckpointError), match=words) as caught:
        opened(path, pixels=pixels)
    assert len(str(caught.value).splitlines()) == 1


def test_three_means_for_grey_images_are_refused(tmp_path):
    graph = helper.make_graph(
        [helper.make_node('Flatten', ['data'], ['out'])],
        'grey',
        [helper.make_tensor_value_info('data', TensorProto.FLOAT, ['N', 1, *SHAPE[:2]])],
        [helper.make_tensor_value_info('out', TensorProto.FLOAT, ['N', SHAPE[0] * SHAPE[1]])],
    )
    onnx.save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid('', 17)]),
        tmp_path / 'n.onnx',
    )
    with pytest.raises(ConfigError, match='must be 1 finite number, or 1'):
        Embedder.load(tmp_path / 'n.onnx', 'onnxruntime', pixels=STATISTICS)


def test_values_in_a_file_beside_it_tell_networks_apart(small, images, tmp_path):
    path = write_foreign(tmp_path / 'net.onnx', small.values)
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location='net.data', size_threshold=100)
    embedder, graph = opened(path), path.read_bytes()
    np.testing.assert_allclose(embedder(images), small.values.embed(images), atol=1e-4)
    values = (tmp_path / 'net.data').read_bytes()
    (tmp_path / 'net.data').write_bytes(values[:100] + bytes(4) + values[104:])
    assert path.read_bytes() == graph
    assert opened(path).network != embedder.network
    (tmp_path / 'net.data').unlink()
    with pytest.raises(CheckpointError, match=r'net\.data cannot be read: No such file'):
        opened(path, 'auto')
    with pytest.raises(
        CheckpointError, match=r'net\.data does not exist, in which \S+net\.onnx keeps values$'
    ):
        opened(path)


@pytest.mark.parametrize('engine', ENGINES)
def test_an_output_without_a_type(small, images, tmp_path, engine):
    path = write_foreign(tmp_path / 'net.onnx', small.values)
    model = onnx.load(str(path))
    model.graph.output[0].ClearField('type')
    onnx.save(model, str(path))
    np.testing.assert_allclose(opened(path, engine)(images), small.values.embed(images), atol=1e-4)


def test_a_second_input_is_named(small, tmp_path):
    path = write_foreign(tmp_path / 'net.onnx', small.values)
    model = onnx.load(str(path))
    model.graph.input.append(helper.make_tensor_value_info('landmarks', TensorProto.FLOAT, [1, 10]))
    onnx.save(model, str(path))
    with pytest.raises(CheckpointError, match=r'has 2 inputs \(input\.1, landmarks\)'):
        opened(path)


def test_a_checkpoint_holds_its_own(small):
    with pytest.raises(ConfigError, match='is a checkpoint, whose network normalises pixels itself'):
        opened(small.checkpoint, 'mxnet', pixels=CENTRED)


def test_what_is_read_is_what_the_package_onnx_reads(small, tmp_path):
    path = write_foreign(
        tmp_path / 'net.onnx', small.values, sides=IMAGES, kept=True, metadata={'a': 'b', 'c': 'ü'}
    )
    read, model = read_onnx_file(path), onnx.load(str(path))
    assert read.node_names == tuple(node.name for node in model.graph.node)
    assert read.first_operators == ('Cast',)
    assert [(port.name, port.kind, port.sides) for port in read.inputs] == [
        ('input.1', 'float32', (None, *IMAGES[1:]))
    ]
    assert [(port.name, port.sides) for port in read.outputs] == [('683', (1, SIZE))]
    assert read.metadata == {'a': 'b', 'c': 'ü'}


@pytest.mark.parametrize('size', range(1, 400, 7))
def test_a_file_that_is_cut_is_damaged(small, tmp_path, size):
    content = write_foreign(tmp_path / 'whole.onnx', small.values).read_bytes()
    (tmp_path / 'net.onnx').write_bytes(content[: len(content) - size])
    with pytest.raises(CheckpointError, match=r'net\.onnx is damaged or not an ONNX file'):
        read_onnx_file(tmp_path / 'net.onnx')
