"""The first layer that differs, planted in r50's structure and in chains of numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from recognition.export.onnx.converter import to_onnx
from recognition.tracing import Point, Trace, explain, first_difference
from recognition.tracing.onnx_trace import trace_onnx
from recognition.tracing.symbol_trace import trace_symbol
from symbols import get_symbol
from symbols.passes.optimize import optimize
from tests.helpers.narrow import small
from tests.helpers.onnx.rewritten import numbered
from tests.helpers.rewritten import draw

MIDDLE = 'stage3_unit7_conv2_weight'


def chain(*steps, name='{}'):
    """Return the trace of operators in a row, each a function of what the one before gives."""
    values = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 4)).astype(np.float32)
    points = [Point('data', '', (), values)]
    for number, step in enumerate(steps):
        points.append(Point(name.format(number), 'Relu', (number,), step(points[-1].values)))
    return Trace(points, (len(points) - 1,), {})


def double(x):
    return 2 * x


def lower(x):
    return x - 1


class R50:
    """r50, as narrow as it may be unless a config says otherwise: its symbol, its values, and images."""

    def __init__(self, cfg=None):
        cfg = small('r50') if cfg is None else cfg
        height, width, channels = self.image_shape = cfg.image_shape
        self.symbol = get_symbol(cfg)
        self.values = draw(self.symbol, (1, channels, height, width))
        random = np.random.default_rng(1)
        self.images = random.uniform(0, 255, (2, channels, height, width)).astype(np.float32)
        self.own = self.trace()

    def trace(self, **other):
        return trace_symbol(self.symbol, {**self.values, **other}, self.images)

    def planted(self, name, by=0.5):
        """Return the values with the first of a parameter's moved."""
        wrong = self.values[name].copy()
        wrong.flat[0] += by
        return {**self.values, name: wrong}

    def onnx(self, values, fold=False, *, renamed=False, **settings):
        symbol = self.symbol
        if fold:
            symbol, values = optimize(symbol, values, {'data': (1, *self.images.shape[1:])}, **settings)
        model = to_onnx(symbol, values, self.image_shape)
        if renamed:
            numbered(model)
        return trace_onnx(model.SerializeToString(), self.images)


@pytest.fixture(scope='module')
def r50():
    return R50()


def test_a_wrong_weight_in_the_middle_of_r50_is_named(r50):
    own = r50.own
    found = first_difference(own, r50.trace(**r50.planted(MIDDLE))).first
    before = r50.values[MIDDLE].flat[0]
    assert found.layers == ('stage3_unit7_conv2',) * 2
    assert found.weight == (f'{MIDDLE}[0, 0, 0, 0]', pytest.approx(before), pytest.approx(before + 0.5))
    assert found.before == 'stage3_unit7_relu1'
    point = next(each for each in own.points if each.name == 'stage3_unit7_conv2')
    assert found.values[0] == point.values[found.place]
    assert found.place[1] == 0  # the channel that the weight makes


@pytest.mark.parametrize('fold', [False, True])
def test_it_is_named_in_onnx_whichever_is_the_first(r50, fold):
    own, other = r50.own, r50.onnx(r50.planted(MIDDLE), fold)
    for one, two in ((own, other), (other, own)):
        found = first_difference(one, two).first
        assert found.layers == ('stage3_unit7_conv2',) * 2
        assert (found.weight is None) == fold  # a folded weight is another number
        assert found.before
    assert ('stage3_unit7_bn3' in first_difference(own, other).first.folded) == fold


def test_names_need_not_be_alike(r50):
    own, other = r50.own, r50.onnx(r50.planted(MIDDLE), True, renamed=True)
    found = first_difference(own, other).first
    assert found.layers[0] == 'stage3_unit7_conv2'
    assert found.points[1].isdecimal()
    assert first_difference(own, r50.onnx(r50.values, True, renamed=True)).first is None


@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        ('stage1_unit3_bn3_beta', 'stage1_unit3_bn3'),
        ('stage2_unit3_bn3_moving_var', 'stage2_unit3_bn3'),
        ('stage1_unit2_bn1_moving_var', 'stage1_unit2_bn1'),
    ],
)
def test_points_that_belong_together_are_compared_where_all_values_differ(r50, name, layer):
    """A folded form has no points before its batch norm, and renamed points do not help."""
    found = first_difference(r50.own, r50.onnx(r50.planted(name), True, renamed=True)).first
    assert layer in found.folded
    assert found.share < 0.2


def test_of_networks_that_have_nothing_in_common_the_first_kernels_are_named(r50):
    cfg = small('y1')
    symbol = get_symbol(cfg)
    other = trace_symbol(symbol, draw(symbol, (1, *r50.images.shape[1:])), r50.images)
    found = first_difference(r50.own, other).first
    assert found.layers == ('conv0', 'conv_1_conv2d')
    assert (found.place, found.folded) == ((), ())
    assert found.shapes[0] != found.shapes[1]


def test_weights_in_float16_are_read_as_the_network_reads_them(r50):
    halves = {name: value.astype(np.float16) for name, value in r50.values.items()}
    assert first_difference(r50.own, r50.trace(**halves), 0.05).first is None


@pytest.mark.slow
def test_it_is_named_in_the_full_r50():
    net = R50(resolve('r50'))
    for form in (
        net.trace(**net.planted(MIDDLE)),
        net.onnx(net.planted(MIDDLE)),
        net.onnx(net.planted(MIDDLE), True),
    ):
        assert first_difference(net.own, form).first.layers[0] == 'stage3_unit7_conv2'


SHIFTED = {'fold': True, 'for_mxnet': False}


def test_sums_that_one_form_shifts_lead_nowhere(r50):
    """The shifts of folded batch norms are added further behind: no sum of the other network has its equal."""
    assert first_difference(r50.own, r50.onnx(r50.values, **SHIFTED)).first is None


@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        (MIDDLE, 'stage3_unit7_conv2'),
        ('stage3_unit7_conv1_weight', 'stage3_unit7_conv1'),
        ('stage3_unit7_bn2_moving_var', 'stage3_unit7_conv1'),
        ('stage3_unit7_relu1_gamma', 'stage3_unit7_relu1'),
        ('stage3_unit6_bn3_beta', 'stage3_unit6_conv2'),
    ],
)
def test_a_fault_behind_a_shifted_sum_is_not_laid_on_the_sum(r50, name, layer):
    one, other = r50.own, r50.onnx(r50.planted(name), **SHIFTED)
    assert first_difference(one, other).first.layers == (layer, layer)
    assert first_difference(other, one).first.layers == (layer, layer)


def test_forms_that_compute_the_same_differ_nowhere(r50):
    own = r50.own
    for fold, least in ((False, 180), (True, 50)):
        found = first_difference(own, r50.onnx(r50.values, fold))
        assert found.first is None
        assert found.same_output
        assert len(found.agreed) >= least
    assert len(first_difference(own, own).agreed) == found.total == len(own.points)


@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        ('stage2_unit1_sc_moving_var', 'stage2_unit1_sc'),
        ('stage2_unit1_conv1sc_weight', 'stage2_unit1_conv1sc'),
        ('bn0_beta', 'bn0'),
        ('stage4_unit3_relu1_gamma', 'stage4_unit3_relu1'),
        ('pre_fc1_weight', 'pre_fc1'),
    ],
)
def test_shortcuts_batch_norms_and_slopes(r50, name, layer):
    found = first_difference(r50.own, r50.onnx(r50.planted(name, 3.0))).first
    assert found.layers[0] == layer
    assert found.words().startswith(f'{layer} (')


def gated(wrong=0.0):
    """Return the trace of a squeeze-and-excite gate, which one wrong value of its map moves by rounding alone."""
    images = chain().points[0].values
    maps = images.copy()
    maps[0, 0, 0, 0] += wrong
    gate = images.mean(axis=(2, 3), keepdims=True)
    points = [
        Point('data', '', (), images),
        Point('conv', 'Convolution', (0,), maps + 1),
        Point('gate', 'Activation', (1,), gate),
        Point('scaled', 'broadcast_mul', (1, 2), (maps + 1) * gate),
    ]
    return Trace(points, (3,), {})


def test_a_gate_that_a_wrong_value_barely_moves_hides_nothing():
    found = first_difference(gated(), gated(0.5))
    assert [pair[0] for pair in found.agreed] == ['data', 'gate']
    assert found.first.layers[0] == 'conv'


def test_other_pixels_are_found_at_the_input(r50):
    other = get_symbol(small('r50', input_mean=120.0))
    found = first_difference(r50.own, trace_symbol(other, r50.values, r50.images)).first
    assert found.layers == ('the input', 'the input')
    assert found.points == ('data_centred', 'data_centred')
    assert found.values[1] - found.values[0] == pytest.approx(7.5, rel=1e-4)
    darker = trace_symbol(r50.symbol, r50.values, r50.images / 2)
    assert first_difference(r50.own, darker).first.layers[0] == 'the input'


def test_another_order_of_steps_and_other_names_are_the_same():
    one = chain(double, lower, np.abs)
    other = chain(lambda x: x - 0.5, double, np.abs, name='op_{}')
    found = first_difference(one, other)
    assert found.first is None
    assert [pair[:2] for pair in found.agreed] == [('data', 'data'), ('1', 'op_1'), ('2', 'op_2')]


def test_the_sentence_says_where_both_values_and_how_far():
    found = first_difference(chain(double, lower), chain(double, lambda x: x - 1.5))
    largest = np.abs(chain(double, lower).points[2].values).max()
    assert found.first.words(('MXNet', 'the file')).endswith(
        f'in the file, {0.5 / largest:.2g} of the largest value apart'
    )
    image, *place = found.first.place
    assert (
        f'1 (Relu): value {place} for image {image} is {found.first.values[0]:.6g} in MXNet'
        in found.first.words(('MXNet', 'the file'))
    )


def test_another_shape_and_values_that_are_no_numbers():
    found = first_difference(chain(double, lower), chain(double, lambda x: x[:, :2])).first
    assert found.words() == '1 (Relu): its shape is (2, 3, 4, 4) in A and (2, 2, 4, 4) in B'
    broken = chain(double, lambda x: x + np.inf)
    assert first_difference(chain(double, lower), broken).first.points == ('1', '1')
    nans = chain(double, lambda x: x * np.nan)
    assert first_difference(nans, nans).first.points == ('1', '1')


def test_values_within_the_tolerance_are_equal():
    one, other = chain(double), chain(lambda x: 2 * x * (1 + 1e-3))
    assert first_difference(one, other).first
    assert first_difference(one, other, 2e-3).first is None


def test_dead_layers_are_not_matched_with_one_another():
    """All zeros here and there are two layers, unless their names say that they are one."""
    one = chain(double, np.zeros_like, lambda x: x + 3 * chain().points[0].values)
    found = first_difference(one, chain(np.zeros_like, double, lower, name='b{}'))
    assert [pair[0] for pair in found.agreed] == ['data']
    assert found.first
    assert first_difference(one, one).first is None


def test_a_network_that_ends_earlier_has_another_output():
    found = first_difference(chain(double, lower), chain(double))
    assert found.first is None
    assert not found.same_output


def test_an_explanation_hides_no_error():
    one = chain(double)
    words = explain(lambda: one, lambda: chain(lower), ('MXNet', 'the file'))
    assert words.startswith('; the first layer that differs is 0 (Relu): value ')
    assert explain(lambda: one, lambda: one, ('a', 'b')) == ''
    assert explain(lambda: one, lambda: 1 / 0, ('a', 'b')) == ''
