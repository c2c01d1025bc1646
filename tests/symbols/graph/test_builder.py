"""The drawable graph: what is grouped, what is folded, and that nothing is lost or invented."""

from __future__ import annotations

from collections import Counter

import pytest

from config import ConfigError, resolve
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.graph.builder import LEVELS, build_graph
from symbols.graph.sections import common_label
from symbols.graph.topology import Region, Wiring, components, decompose, long_ways
from tests.helpers.hand_written import HAND_WRITTEN, IMAGE, chain, conv, cycles, dense, residual, two_heads

import mxnet as mx

S = mx.sym


@pytest.mark.parametrize('fold', [True, False])
@pytest.mark.parametrize('level', [*LEVELS, 'nested'])
@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_nothing_is_lost_and_nothing_invented(name, level, fold):
    build, shapes = HAND_WRITTEN[name]
    symbol = build()
    audited = audit(symbol, shapes)
    graph = build_graph(symbol, shapes, level, fold=fold)

    assert sum(box.parameters for box in graph.boxes) == graph.parameters == audited.total.parameters
    assert sum(box.auxiliary for box in graph.boxes) == graph.auxiliary == audited.total.auxiliary
    assert sum(box.macs for box in graph.boxes) == graph.macs == audited.total.flops
    drawn = Counter(name for box in graph.boxes for name in box.operators)
    assert drawn == Counter([layer.name for layer in audited.layers] + list(audited.inputs))
    assert graph.inputs == audited.inputs
    order = {box.id: place for place, box in enumerate(graph.boxes)}
    assert all(order[edge.source] != order[edge.target] for edge in graph.edges)
    assert not cycles({(edge.source, edge.target) for edge in graph.edges})
    groups = {group.id for group in graph.groups}
    assert {box.group for box in graph.boxes} <= groups | {None}
    assert {group.parent for group in graph.groups} <= groups | {None}


@pytest.mark.parametrize('depth', [0, 1, 2, 3])
@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_nothing_is_lost_at_any_depth(name, depth):
    build, shapes = HAND_WRITTEN[name]
    symbol = build()
    full = build_graph(symbol, shapes, 'operators')
    for level in LEVELS:
        graph = build_graph(symbol, shapes, level, depth=depth)
        names = Counter(name for box in graph.boxes for name in box.operators)
        assert names == Counter(name for box in full.boxes for name in box.operators)
        assert sum(box.parameters for box in graph.boxes) == full.parameters
        assert not cycles({(edge.source, edge.target) for edge in graph.edges})
        if depth == 0:
            assert graph.boxes == build_graph(symbol, shapes, 'stages').boxes


def test_depth_1_makes_each_residual_unit_or_dense_layer_one_box():
    graph = build_graph(residual(3), IMAGE, depth=1)
    (unit,) = [box for box in graph.boxes if box.repeat == 3]
    assert unit.title == 'residual unit × 3'
    assert unit.lines == ('unit0 … unit2', 'Conv 3×3, 4 → BatchNorm → ReLU', 'add (skip)')
    assert unit.parameters == 3 * (4 * 4 * 9 + 4 + 2 * 4)
    assert [group.kind for group in graph.groups] == ['stage']
    assert not any(edge.skip for edge in graph.edges)
    (layer,) = [box for box in build_graph(dense(4), IMAGE, depth=1).boxes if box.repeat == 4]
    assert layer.lines == ('4 → 12 channels', 'Conv 3×3, 2 → BatchNorm → ReLU', 'concat (skip)')


def test_a_closed_block_of_many_branches_counts_them():
    x = conv(S.var('data'), 4, 'stem')
    branches = [conv(conv(conv(x, 4, f'a{i}'), 4, f'b{i}'), 4, f'c{i}') for i in range(4)]
    graph = build_graph(S.Concat(*branches, num_args=4, name='mixed'), IMAGE, depth=1)
    (block,) = [box for box in graph.boxes if 'mixed' in box.operators]
    assert block.lines == ('4 branches, 12 weighted operators', 'concat')


def test_a_nested_graph_has_a_group_for_every_section_block_and_chain():
    graph = build_graph(residual(3), IMAGE, 'nested')
    assert [(group.kind, group.repeat) for group in graph.groups] == [
        ('stage', 1),
        ('stage', 1),
        ('block', 3),
        ('chain', 3),
        ('stage', 1),
    ]
    _, stage, block, chain_, _ = graph.groups
    assert [group.parent for group in graph.groups] == [None, None, stage.id, block.id, None]
    assert block.title == 'residual unit × 3'
    inside = [(box.title, box.repeat) for box in graph.boxes if box.group == chain_.id]
    assert inside == [('Conv 3×3, 4', 3), ('BatchNorm', 3), ('ReLU', 3)]


def test_equal_residual_units_become_one():
    graph = build_graph(residual(3), IMAGE)
    (group,) = [group for group in graph.groups if group.kind == 'repeat']
    unit, join = [box for box in graph.boxes if box.group == group.id]
    assert group.repeat == unit.repeat == join.repeat == 3
    assert unit.title == 'residual unit × 3'
    assert unit.lines == ('unit0 … unit2', 'Conv 3×3, 4 → BatchNorm → ReLU')
    assert unit.parameters == 3 * (4 * 4 * 9 + 4 + 2 * 4)
    skips = {edge.source: edge.skip for edge in graph.edges if edge.target == join.id}
    assert skips.pop(unit.id) is False
    assert list(skips.values()) == [True]
    assert not [edge for edge in graph.edges if edge.source == join.id and edge.target == unit.id]


def test_unfolded_units_are_drawn_each():
    graph = build_graph(residual(3), IMAGE, fold=False)
    assert [box.title for box in graph.boxes if box.title.startswith('unit')] == ['unit0', 'unit1', 'unit2']
    assert sum(edge.skip for edge in graph.edges) == 3


def test_dense_layers_fold_though_their_channels_grow():
    graph = build_graph(dense(4), IMAGE)
    (unit,) = [box for box in graph.boxes if box.repeat == 4 and box.kind == 'unit']
    assert unit.title == 'dense layer × 4'
    assert unit.lines[0] == '4 → 12 channels'
    assert unit.parameters == sum((4 + 2 * i) * 2 * 9 + 2 + 4 for i in range(4))


def test_different_units_do_not_fold():
    x = conv(S.var('data'), 4, 'stem')
    x = x + conv(conv(x, 8, 'a1'), 4, 'a2')
    x = x + conv(conv(x, 6, 'b1'), 4, 'b2')
    graph = build_graph(x, IMAGE)
    assert [box.repeat for box in graph.boxes] == [1] * len(graph.boxes)


def test_shared_parameters_count_once_and_the_second_box_says_so():
    build, shapes = HAND_WRITTEN['siamese']
    graph = build_graph(build(), shapes)
    left, right = [box for box in graph.boxes if box.kind == 'unit' and 'branch' in box.title]
    assert left.parameters - right.parameters == 8 * 3 * 3 * 3
    assert right.shared == ('shared w',)
    assert left.shared == ()


def test_inputs_and_outputs_are_all_drawn():
    build, shapes = HAND_WRITTEN['siamese']
    graph = build_graph(build(), shapes, 'stages')
    assert [box.title for box in graph.boxes if box.kind == 'input'] == [
        'left:image',
        'right:image',
        'softmax_label',
    ]
    heads = build_graph(two_heads(), IMAGE)
    assert [box.title for box in heads.boxes if box.kind == 'output'] == [
        'age (output)',
        'sex (output)',
        'feature (output)',
    ]


def test_a_tapped_feature_does_not_hide_the_units_behind_it():
    plain = build_graph(residual(3), IMAGE)
    symbol = residual(3)
    tapped = S.Group([symbol, S.BlockGrad(symbol.get_internals()['stem_relu_output'])])
    found = [box.title for box in build_graph(tapped, IMAGE).boxes if box.kind in ('unit', 'join')]
    assert found == [box.title for box in plain.boxes if box.kind in ('unit', 'join')]


def test_unknown_cost_is_unknown_and_not_zero():
    x = S.FullyConnected(S.var('data'), num_hidden=4, name='fc')
    graph = build_graph(
        S.contrib.quadratic(x, a=1.0, b=1.0, c=0.0, name='odd'), {'data': (1, 3)}, 'operators'
    )
    assert [box.macs for box in graph.boxes if 'odd' in box.operators] == [None]
    assert graph.macs is None


def test_wrong_level_and_wrong_shapes_are_one_sentence():
    with pytest.raises(ConfigError, match=r"level='unit' is none of .* did you mean 'units'"):
        build_graph(chain(), IMAGE, 'unit')
    with pytest.raises(ConfigError, match=r'depth=-1 must be 0 or more'):
        build_graph(chain(), IMAGE, depth=-1)
    with pytest.raises(ConfigError, match="no input 'dta'"):
        build_graph(chain(), {'dta': (1, 3, 16, 16)})
    with pytest.raises(ConfigError):
        build_graph(chain(), {'data': (1, 3)})


@pytest.mark.parametrize(
    ('preset', 'stages', 'folded'),
    [
        ('r18', ['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'head'], []),
        ('r50', ['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'head'], [2, 3, 13, 2]),
        (
            'd121',
            ['stem', 'stage1', *(t for i in '234' for t in ('transition', f'stage{i}')), 'head'],
            [6, 12, 24, 16],
        ),
        ('r50v1', ['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'head'], [2, 3, 13, 2]),
        ('keras_resnet50', ['stem', 'conv2', 'conv3', 'conv4', 'conv5', 'head'], [2, 3, 5, 2]),
        ('xception', ['stem', 'block2', 'block3', 'stage 3', 'stage 4', 'head'], [8]),
    ],
)
def test_the_presets_read_as_their_papers_draw_them(preset, stages, folded):
    symbol, shapes = get_symbol(resolve(preset)), {'data': (1, 3, 112, 112)}
    graph = build_graph(symbol, shapes, 'stages')
    assert [box.title for box in graph.boxes if box.kind == 'stage'] == stages
    graph = build_graph(symbol, shapes, 'units')
    assert [group.repeat for group in graph.groups if group.kind == 'repeat'] == folded
    assert sum(box.parameters for box in graph.boxes) == graph.parameters
    assert sum(box.macs for box in graph.boxes) == graph.macs


@pytest.mark.parametrize(
    ('act', 'word'), [('prelu', 'PReLU'), ('swish', 'Swish'), ('elu', 'ELU'), ('relu', 'ReLU')]
)
def test_an_activation_is_one_word_and_one_box(act, word):
    symbol, shapes = get_symbol(resolve('r18', net_act=act)), {'data': (1, 3, 112, 112)}
    units = build_graph(symbol, shapes, 'units')
    (unit,) = [box for box in units.boxes if box.title == 'stage1_unit2']
    assert f'BatchNorm → {word} → Conv 3×3, 64' in ' '.join(unit.lines)
    operators = build_graph(symbol, shapes, 'operators', fold=False)
    assert sum(box.title == word for box in operators.boxes) == 9


def test_cuts_and_regions():
    #     1 - 2
    # 0 <       > 3 - 4
    #     -----
    wiring = Wiring({0: [], 1: [0], 2: [1], 3: [2, 0], 4: [3]}, {0: [1, 3], 1: [2], 2: [3], 3: [4], 4: []})
    assert decompose(range(5), wiring) == [0, Region((1, 2), 3), 4]
    assert components([1, 2, 4], wiring) == [[1, 2], [4]]
    assert long_ways([('a', 'b'), ('b', 'c'), ('a', 'c'), ('c', 'd')]) == {('a', 'c')}


@pytest.mark.parametrize(
    ('names', 'label'),
    [
        (['stage1_unit2_conv1', 'stage1_unit2_bn1'], 'stage1_unit2'),
        (['stage1_unit1_conv1sc', 'stage1_unit1_sc'], 'stage1_unit1'),
        (['unit1', 'unit12'], ''),
        (['unit1', 'unit1_bn'], 'unit1'),
        (['net/a:conv', 'net/a:bn'], 'net/a'),
        (['conv0_fwd'], 'conv0'),
        ([], ''),
    ],
)
def test_common_label_is_whole_words(names, label):
    assert common_label(names) == label


def test_a_deep_network_is_no_deeper_than_the_stack():
    x = S.var('data')
    for i in range(700):
        x = x + S.Convolution(x, num_filter=3, kernel=(1, 1), name=f'c{i}')
    graph = build_graph(x, {'data': (1, 3, 4, 4)}, 'operators', fold=False)
    assert sum(edge.skip for edge in graph.edges) == 700


def test_a_margin_beside_a_blocked_embedding_has_its_own_boxes():
    """Its dense layer has a weight that is computed, and the BlockGrad, not the loss, is the first output."""
    embedding = S.FullyConnected(S.var('data'), num_hidden=8, name='fc1')
    weight = S.L2Normalization(S.var('fc7_weight', shape=(20, 8)))
    classes = S.FullyConnected(S.L2Normalization(embedding), weight, num_hidden=20, no_bias=True, name='fc7')
    label = S.Reshape(S.var('softmax_label'), shape=(-1,))
    loss = S.SoftmaxOutput(classes + S.one_hot(label, depth=20), label, name='softmax')
    symbol = S.Group([S.BlockGrad(embedding), loss])
    for level in ('stages', 'units', 'operators', 'nested'):
        graph = build_graph(symbol, {'data': (2, 3, 4, 4)}, level)
        boxes = [box for box in graph.boxes if 'fc7' in box.operators]
        assert [('fc1' in box.operators, box.parameters) for box in boxes] in ([(False, 160)], [(False, 0)])
        assert graph.parameters == 3 * 4 * 4 * 8 + 8 + 160
