"""Labels in the audit and the picture of a training script's symbol: inputs, whoever reads them."""

from __future__ import annotations

import pytest

from config.errors import ConfigError
from symbols.audit.core import audit
from symbols.graph.builder import LEVELS, NESTED, build_graph
from tests.helpers.hand_written import CHANNELS, FACE, PEOPLE, S, body, face, label_margin

CONV, DENSE = 27 * CHANNELS + 2 * CHANNELS + CHANNELS, 6 * CHANNELS * 4 * 4 + 6


@pytest.mark.parametrize('batch', [1, 8])
def test_a_margin_that_reads_the_label_makes_it_no_parameter(batch):
    shapes = {'data': (batch, *FACE[1:])}
    symbol = label_margin()
    audited = audit(symbol, shapes)
    assert audited.total.parameters == CONV + DENSE + 6 * PEOPLE
    assert audited.inputs == {**shapes, 'softmax_label': (batch,)}
    assert audited == audit(symbol, {**shapes, 'softmax_label': (batch,)})


@pytest.mark.parametrize('level', [*LEVELS, NESTED])
def test_the_picture_has_it_as_an_input(level):
    graph = build_graph(label_margin(), {'data': FACE}, level)
    assert [box.title for box in graph.boxes if box.kind == 'input'] == ['data', 'softmax_label']
    assert graph.parameters == CONV + DENSE + 6 * PEOPLE


LOSSES = {
    'reshaped': lambda: S.SoftmaxOutput(face(), S.Reshape(S.var('y', shape=(1, 1)), shape=(-1,))),
    'cross-entropy': lambda: S.MakeLoss(S.pick(S.log_softmax(face()), S.var('y', shape=(1,)))),
    'grouped': lambda: S.Group(
        [S.LinearRegressionOutput(face(), S.var('y')), S.SVMOutput(face('other', layer='conv1'), S.var('z'))]
    ),
    'one_hot before its shape is known': lambda: S.SoftmaxOutput(
        S.broadcast_mul(face(), 1 - S.one_hot(S.var('y'), depth=6)), S.var('y')
    ),
    'where': lambda: S.SoftmaxOutput(
        S.where(S.one_hot(S.var('y'), depth=6), face() - 0.35, face()), S.var('y')
    ),
    'Embedding': lambda: S.MakeLoss(
        S.square(face() - S.Embedding(S.var('y'), S.var('w', shape=(1, 6)), input_dim=1, output_dim=6))
    ),
    'two inputs on its way': lambda: S.SoftmaxOutput(face(), S.var('y') + S.zeros_like(S.var('y'))),
    'the difference to it': lambda: S.MakeLoss(S.smooth_l1(face() - S.var('y'), scalar=1)),
    'by its name': lambda: S.MakeLoss(S.square(face() - S.var('who_label', shape=(1, 6)))),
}


@pytest.mark.parametrize('name', LOSSES)
def test_other_losses_read_labels_too(name):
    symbol = LOSSES[name]()
    audited = audit(symbol, {'data': FACE})
    centres = 6 if name == 'Embedding' else 0
    assert audited.total.parameters == (CONV + DENSE) * (2 if name == 'grouped' else 1) + centres
    assert set(audited.inputs) == {'data', 'y', 'z', 'who_label'} & set(symbol.list_arguments())
    assert set(build_graph(symbol, {'data': FACE}).inputs) == set(audited.inputs)


def test_what_a_layer_makes_of_images_is_no_label():
    teacher = S.FullyConnected(body(layer='teacher'), num_hidden=6, name='taught')
    audited = audit(S.LinearRegressionOutput(face(), S.BlockGrad(teacher)), {'data': FACE})
    assert set(audited.inputs) == {'data'}
    assert audited.total.parameters == 2 * (CONV + DENSE)


def test_a_weight_behind_a_batch_in_one_row_is_a_parameter():
    symbol = S.FullyConnected(S.Reshape(body(), shape=(1, -1)), num_hidden=6, name='fc1')
    audited = audit(symbol, {'data': FACE})
    assert set(audited.inputs) == {'data'}
    assert audited.total.parameters == CONV + DENSE


def test_a_label_of_another_shape_is_to_be_given():
    row = S.Reshape(S.slice_axis(S.var('y'), axis=1, begin=0, end=1), shape=(-1,))
    symbol = S.SoftmaxOutput(face(), row)
    with pytest.raises(ConfigError, match="leave 'y' without a shape; give the shape of every input"):
        audit(symbol, {'data': FACE})
    assert audit(symbol, {'data': FACE, 'y': (1, 2)}).total.parameters == CONV + DENSE
