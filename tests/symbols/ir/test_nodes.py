import json

import pytest

from config.errors import CheckpointError, ConfigError
from symbols.graph.builder import build_graph
from symbols.ir.nodes import list_nodes, load_symbol

import mxnet as mx

SYMBOL = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), num_filter=4, name='conv')


def test_nodes_are_those_of_the_json():
    nodes = list_nodes(SYMBOL, {'data': (1, 3, 8, 8)})
    assert [node.name for node in nodes] == ['data', 'conv_weight', 'conv_bias', 'conv']
    assert [node.is_variable for node in nodes] == [True, True, True, False]
    assert nodes[3].inputs == ((0, 0), (1, 0), (2, 0))
    assert nodes[3].attributes['kernel'] == '(3, 3)'
    assert [node.output_shapes for node in nodes] == [
        ((1, 3, 8, 8),),
        ((4, 3, 3, 3),),
        ((4,),),
        ((1, 4, 6, 6),),
    ]


def test_a_saved_symbol_comes_back(tmp_path):
    SYMBOL.save(str(tmp_path / 'net-symbol.json'))
    assert load_symbol(tmp_path / 'net-symbol.json').tojson() == SYMBOL.tojson()


def cut(graph):
    return json.dumps(graph)[:-40]


def without_arguments(graph):
    del graph['arg_nodes']


def unknown_operator(graph):
    graph['nodes'][3]['op'] = 'Convolusion'


def forward_edge(graph):
    graph['nodes'][1]['inputs'] = [[3, 0, 0]]


def output_that_is_not_there(graph):
    graph['nodes'][3]['inputs'][1] = [0, 5, 0]


def version_to_come(graph):
    graph['attrs'] = {'mxnet_version': ['int', 1000000]}


def no_output(graph):
    graph['heads'] = []


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (cut, 'Unterminated string'),
        (without_arguments, 'arg_nodes'),
        (forward_edge, 'does not come before it'),
        (output_that_is_not_there, "'conv' reads output 5 of 'data', which has fewer"),
        (no_output, 'it has no output'),
        (lambda graph: graph['arg_nodes'].append(4), 'its inputs are not among its nodes'),
        (lambda graph: graph.update(heads=[[4, 0, 0]]), 'its outputs are not among its nodes'),
        (version_to_come, 'any container is empty'),
        (lambda graph: '[]', 'is damaged'),
        (lambda graph: '{"layers": []}', "it has no 'nodes'"),
        (lambda graph: '\x00\x01', 'is damaged'),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, damage, message):
    path = tmp_path / 'net-symbol.json'
    graph = json.loads(SYMBOL.tojson())
    text = damage(graph)
    path.write_text(text if text is not None else json.dumps(graph))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_symbol(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def read_a_mean(graph):
    graph['nodes'][-1]['inputs'][0][1] = 1


def give_a_mean(graph):
    graph['nodes'].pop()
    graph['node_row_ptr'].pop()
    graph['heads'] = [[len(graph['nodes']) - 1, 1, 0]]


@pytest.mark.parametrize(
    ('damage', 'reader'), [(read_a_mean, 'relu'), (give_a_mean, 'the output')], ids=['input', 'head']
)
def test_an_output_that_a_batch_norm_hides_is_not_read(tmp_path, damage, reader):
    symbol = mx.sym.relu(mx.sym.BatchNorm(mx.sym.var('data'), name='bn'), name='relu')
    graph = json.loads(symbol.tojson())
    damage(graph)
    path = tmp_path / 'net-symbol.json'
    path.write_text(json.dumps(graph))
    fault = f"{reader!r} reads output 1 of 'bn', which has fewer"
    with pytest.raises(CheckpointError, match=fault):
        load_symbol(path)
    for read in (list_nodes, build_graph):
        with pytest.raises(ConfigError, match=fault):
            read(mx.sym.load(str(path)), {'data': (1, 3, 8, 8)})


def test_outputs_that_a_batch_norm_shows_are_read(tmp_path):
    mean = mx.sym.BatchNorm(mx.sym.var('data'), name='bn', output_mean_var=True)[1]
    mean.save(str(tmp_path / 'net-symbol.json'))
    nodes = list_nodes(load_symbol(tmp_path / 'net-symbol.json'), {'data': (1, 3, 8, 8)})
    assert nodes[-1].output_shapes == ((1, 3, 8, 8), (3,), (3,))


@pytest.mark.parametrize('shape', [(1, 3, 2**16, 2**16), (1, 3, 2**40, 8)])
def test_a_shape_beyond_mxnets_count_is_one_sentence(shape):
    with pytest.raises(
        ConfigError, match=r"^the shape \(1, 3, .*\) of 'data' has \d+ values, and MXNet takes"
    ):
        list_nodes(SYMBOL, {'data': shape})


def test_a_missing_or_binary_file_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match='does not exist'):
        load_symbol(tmp_path / 'none-symbol.json')
    (tmp_path / 'net-symbol.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(CheckpointError, match=r'is not text in UTF-8$'):
        load_symbol(tmp_path / 'net-symbol.json')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
@pytest.mark.parametrize('escaped', [True, False])
def test_names_of_any_script_are_read_however_the_file_spells_them(tmp_path, escaped, encoding):
    symbol = mx.sym.FullyConnected(mx.sym.var('früh/面 0'), num_hidden=2, name='fc1')
    path = tmp_path / 'net-symbol.json'
    path.write_text(json.dumps(json.loads(symbol.tojson()), ensure_ascii=escaped), encoding=encoding)
    assert load_symbol(path).tojson() == symbol.tojson()


def test_a_loss_that_slices_another_batch_says_what_to_give():
    anchors = mx.sym.slice_axis(SYMBOL, axis=0, begin=0, end=20, name='anchors')
    with pytest.raises(
        ConfigError, match=r'anchors takes a slice that ends at 20 of an axis of 2; .*--shape'
    ):
        list_nodes(anchors, {'data': (2, 3, 8, 8)})
