"""Checkpoints of other people's scripts: what is left of their losses, and what their images are called."""

from __future__ import annotations

import itertools
import json
import logging

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.checkpoint.network import input_channels, load_embedding, load_network
from symbols.ir.nodes import load_symbol
from tests.helpers.hand_written import FACE, PEOPLE, S, body, face, faces, label_margin, outputs, save, scores

import mxnet as mx

SHAPE = (*FACE[2:], FACE[1])


def loaded(prefix, images, output=None, shape=SHAPE):
    return load_network(prefix, 1, image_shape=shape, output=output)(mx.nd.array(images)).asnumpy()


def age(top='age'):
    return S.FullyConnected(face('hidden'), num_hidden=1, name=top)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def entropy(logits, label='who_label'):
    """Cross-entropy of plain operators, as InsightFace's ce_loss."""
    return S.sum(S.log_softmax(logits) * S.one_hot(S.var(label), depth=PEOPLE)) * -1


# (symbol on top of what is kept, what is kept, what a loss makes of it)
KEPT = {
    'SoftmaxOutput': (lambda: S.SoftmaxOutput(scores(), name='softmax'), scores, softmax),
    'a label that is cut and reshaped': (
        lambda: S.SoftmaxOutput(
            scores(), S.Reshape(S.slice_axis(S.var('all'), axis=1, begin=0, end=1), shape=(-1,)), name='s'
        ),
        scores,
        softmax,
    ),
    'multi_output': (
        lambda: S.SoftmaxOutput(body(), multi_output=True, name='softmax'),
        body,
        softmax,
    ),
    'MAE': (lambda: S.MAERegressionOutput(age(), S.var('age_label'), name='lro'), age, None),
    'linear': (lambda: S.LinearRegressionOutput(age(), S.var('years'), name='lro'), age, None),
    'SVM': (lambda: S.SVMOutput(scores(), S.var('side'), name='svm'), scores, None),
    'logistic': (
        lambda: S.LogisticRegressionOutput(age(), name='lro'),
        age,
        lambda x: 1 / (1 + np.exp(-x)),
    ),
    'softmax_cross_entropy': (
        lambda: S.softmax_cross_entropy(scores(), S.var('y', shape=(1,))),
        scores,
        None,
    ),
    'MakeLoss': (
        lambda: S.MakeLoss(S.square(age() - S.Reshape(S.var('y_label'), shape=(-1, 1)))),
        age,
        None,
    ),
    'MakeLoss beside what it is of': (
        lambda: S.Group([S.MakeLoss(entropy(scores())), S.BlockGrad(scores(), name='seen')]),
        scores,
        None,
    ),
    'plain operators': (lambda: S.MakeLoss(entropy(scores())), lambda: S.log_softmax(scores()), None),
    'an output and its metrics': (
        lambda: S.Group(
            [S.SoftmaxOutput(scores(), S.var('who_label'), name='s'), S.BlockGrad(entropy(scores()))]
        ),
        scores,
        softmax,
    ),
    'the distance to a class centre': (
        lambda: S.MakeLoss(
            S.square(age() - S.Embedding(S.var('who', shape=(1,)), input_dim=4, output_dim=1))
        ),
        age,
        None,
    ),
    'a margin below fc1': (label_margin, face, None),
}


@pytest.mark.parametrize('name', KEPT)
def test_a_checkpoint_that_ends_in_its_loss_runs_without_it(tmp_path, name):
    build, kept, made = KEPT[name]
    prefix, images = save(tmp_path / 'model', build()), faces()
    (expected,) = outputs(kept(), prefix, images)
    np.testing.assert_allclose(
        loaded(prefix, images), made(expected) if made else expected, rtol=1e-5, atol=1e-6
    )


def test_what_is_left_is_said_once(tmp_path, caplog):
    prefix = save(tmp_path / 'model', KEPT['SoftmaxOutput'][0]())
    with caplog.at_level(logging.WARNING):
        loaded(prefix, faces())
        loaded(prefix, faces())
    (record,) = caplog.records
    assert record.getMessage() == (
        f'{prefix}-symbol.json: the loss softmax_output is left out; the output is softmax_output (softmax)'
    )


def refused(prefix, *words, output=None):
    with pytest.raises(CheckpointError) as caught:
        load_embedding(prefix, 1, output)
    message = str(caught.value)
    assert '\n' not in message
    assert [word for word in words if word not in message] == []


def two_heads():
    heads = [
        S.SoftmaxOutput(scores(), name='gender'),
        S.MAERegressionOutput(age(), S.var('years'), name='lro'),
    ]
    return S.Group(heads)


def test_of_several_outputs_one_is_named(tmp_path):
    prefix, images = save(tmp_path / 'model', two_heads()), faces()
    refused(prefix, 'no output fc1_output but gender_output and age_output', '--output-layer')
    for name, kept in {'embedding': face('embedding'), 'age_output': age(), 'lro': age()}.items():
        np.testing.assert_array_equal(loaded(prefix, images, name), outputs(kept, prefix, images)[0])
    np.testing.assert_allclose(
        loaded(prefix, images, 'gender'), softmax(outputs(scores(), prefix, images)[0]), rtol=1e-5
    )
    refused(prefix, "no output 'embeding'; did you mean 'embedding_output'?", output='embeding')


def test_an_output_that_depends_on_the_label_is_refused(tmp_path):
    prefix = save(tmp_path / 'model', label_margin())
    refused(prefix, 'softmax_output must read one input', 'data, softmax_label', output='softmax')
    save(tmp_path / 'loss', S.MakeLoss(S.sum(S.square(face('hidden')))))
    refused(tmp_path / 'loss', 'no output fc1_output but hidden_output', '--output-layer')


@pytest.mark.parametrize('name', ['data0', 'input/0:x', 'ü'])
def test_the_input_may_have_any_name(tmp_path, name):
    prefix = save(tmp_path / 'model', face(data=name), **{name: FACE})
    same = save(tmp_path / 'same', face())
    np.testing.assert_array_equal(loaded(prefix, faces()), loaded(same, faces()))
    assert 'data' in load_embedding(prefix, 1).symbol.list_arguments()


def test_inputs_that_are_not_one(tmp_path):
    pair = S.Concat(face('left', data='one'), face('right', data='two', layer='conv1'), name='fc1')
    prefix = save(tmp_path / 'model', pair, one=FACE, two=FACE)
    refused(prefix, 'fc1_output must read one input', 'it reads one, two', '--output-layer')
    assert load_embedding(prefix, 1, 'right').symbol.list_arguments()[0] == 'data'
    save(
        tmp_path / 'taken',
        S.broadcast_mul(face('top', data='image'), S.var('data', shape=(1, 6)), name='fc1'),
        image=FACE,
    )
    refused(tmp_path / 'taken', "an input 'image' and a parameter 'data'")


def behind(operator):
    return lambda channels: S.FullyConnected(
        S.Convolution(operator(S.var('data')), num_filter=4, kernel=(3, 3), name='c'),
        num_hidden=3,
        name='fc1',
    )


FIRST = {
    'nothing': behind(lambda x: x),
    'Pad': behind(lambda x: S.Pad(x, mode='constant', pad_width=(0, 0, 0, 0, 1, 1, 1, 1))),
    'Cast': behind(lambda x: S.Cast(x, dtype='float32')),
    'BatchNorm': behind(lambda x: S.BatchNorm(x, name='bn_data')),
    'one channel of several': behind(lambda x: S.slice_axis(S.BatchNorm(x), axis=1, begin=0, end=1)),
    'all channels twice': behind(lambda x: S.Concat(x, x * 2)),
}


@pytest.mark.parametrize(
    ('name', 'channels'),
    [*itertools.product(FIRST, (1, 3)), ('nothing', 4)],  # 4: by the first convolution
)
def test_the_channels_are_those_that_the_parameters_want(tmp_path, name, channels):
    prefix = save(tmp_path / 'model', FIRST[name](channels), data=(1, channels, 20, 24))
    assert input_channels(load_embedding(prefix, 1)) == channels


NONE = {'op': 'MoonOutput', 'name': 'moon', 'inputs': []}
CUSTOM = {'op': 'Custom', 'name': 'mine', 'attrs': {'op_type': 'my_proposals'}, 'inputs': []}


@pytest.mark.parametrize(
    ('node', 'words'),
    [
        (
            CUSTOM,
            "'mine' is a custom operator my_proposals, which its Python module registers (mx.operator.register); ",
        ),
        (NONE, f"'moon' is an operator MoonOutput, which MXNet {mx.__version__} does not have; "),
    ],
)
def test_an_operator_that_mxnet_does_not_have_is_named_and_what_is_below_it_runs(tmp_path, node, words):
    prefix, images = save(tmp_path / 'model', scores('fc1')), faces()
    path = tmp_path / 'model-symbol.json'
    graph = json.loads(path.read_text())
    last = len(graph['nodes'])
    graph['nodes'].append({**node, 'inputs': [[last - 1, 0, 0]]})
    graph['heads'] = [[last, 0, 0]]
    path.write_text(json.dumps(graph))
    with pytest.raises(CheckpointError) as caught:
        load_symbol(path)
    assert words in str(caught.value)
    assert not [word for word in ('damaged', 'Check failed', '.cc', '\n') if word in str(caught.value)]
    np.testing.assert_array_equal(loaded(prefix, images), outputs(face(), prefix, images)[0])
    np.testing.assert_array_equal(loaded(prefix, images, 'cls'), outputs(scores('fc1'), prefix, images)[0])
