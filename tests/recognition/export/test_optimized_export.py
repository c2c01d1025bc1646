"""A network as the engine of MXNet runs it, and as a checkpoint for others: the numbers are those of the saved one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError
from config.presets import FAMILIES
from recognition.checkpoint.network import load_embedding, load_network
from recognition.data.images import channels_first
from recognition.embed import Embedder
from recognition.engines.mxnet_executor import SIZES, Bound, load_optimized
from recognition.export.optimized_export import Done, export_optimized
from recognition.export.parity import TOLERANCE
from recognition.utils.run_paths import params_path, symbol_path
from symbols.passes.optimize import optimize
from tests.helpers.narrow import LIKE_OTHERS, SLOW_TO_BUILD, SMALL_SHAPE, SMALLEST, small, write_network

import mxnet as mx

ROOT = Path(__file__).resolve().parents[3]
CLOSE = 1e-4  # of the largest value; the batch norm at the end stretches what its one batch hardly varied in
OWN = 1e-3  # far below what another image would be off by


@pytest.fixture(scope='module')
def written(make_network, tmp_path_factory):
    net = make_network(small('y1', image_shape=SMALL_SHAPE))
    return write_network(net, tmp_path_factory.mktemp('y1') / 'model')


@pytest.fixture
def saved(written, tmp_path):
    """The prefix of a small network's checkpoint, of epoch 1, for images of 32x32; it is the test's own."""
    shutil.copytree(written.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / written.name


def draw(count, shape=SMALL_SHAPE, seed=5):
    return np.random.RandomState(seed).randint(0, 256, (count, *shape)).astype(np.uint8)


def assert_close(found, wanted, close=CLOSE):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= close * np.abs(wanted).max()


def embed_as_saved(prefix, images):
    net = load_network(prefix, 1, image_shape=images.shape[1:])
    return net(mx.nd.array(channels_first(images))).asnumpy()


def families():
    slow = (*SLOW_TO_BUILD, *LIKE_OTHERS)
    return [pytest.param(each, marks=[pytest.mark.slow] if each in slow else []) for each in FAMILIES]


@pytest.mark.parametrize('family', families())
def test_every_family(family, save):
    cfg = small(SMALLEST[family])
    prefix = save(cfg)
    images = draw(3, cfg.image_shape)
    wanted = embed_as_saved(prefix, images)
    for for_mxnet in (True, False):
        rewritten = load_optimized(prefix, 1, cfg.image_shape, for_mxnet=for_mxnet)
        assert_close(Bound(*rewritten)(channels_first(images)), wanted)
        assert set(rewritten.values) == set(rewritten.symbol.list_inputs()) - {'data'}
        assert len(rewritten.values) < len(load_embedding(prefix, 1).values)


def test_batches_of_any_size_one_after_another(saved):
    bound = Bound(*load_optimized(saved, 1, SMALL_SHAPE))
    images = draw(9)
    wanted = embed_as_saved(saved, images)
    for count in (4, 1, 9, 4, 2, 1, 9, 9, 3, 4):
        assert_close(bound(channels_first(images[:count])), wanted[:count])
        assert_close(bound(channels_first(images[-count:])), wanted[-count:])


def test_few_sizes_are_held_ready_the_one_in_use_among_them(saved):
    rewritten = load_optimized(saved, 1, SMALL_SHAPE)
    bindings = []

    class Counted:
        """The symbol, whose bindings are counted."""

        def list_auxiliary_states(self):
            return rewritten.symbol.list_auxiliary_states()

        def bind(self, ctx, arguments, **settings):
            bindings.append(arguments['data'].shape[0])
            return rewritten.symbol.bind(ctx, arguments, **settings)

    bound = Bound(Counted(), rewritten.values)
    for count in (8, 8, 1, 8, 2, 8, 3, 8, 3):
        bound(channels_first(draw(count)))
    assert bindings == [8, 1, 2, 3]  # the batch that comes again and again was never bound anew
    assert SIZES == 2


def test_an_earlier_result_is_not_written_over(saved):
    bound = Bound(*load_optimized(saved, 1, SMALL_SHAPE))
    first = bound(channels_first(draw(2)))
    held = first.copy()
    bound(channels_first(draw(2, seed=6)))
    assert (first == held).all()


def test_threads_get_their_own_images(saved):
    images = draw(24)
    wanted = embed_as_saved(saved, images)
    found = {}
    with Embedder.load(
        f'{saved},1', 'mxnet', image_shape=SMALL_SHAPE, mirror='none', normalise=False, batch_size=5
    ) as embedder:

        def work(number):
            found[number] = [embedder(images[number : number + count]) for count in (1, 3, 7)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(0, 16, 2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len(found) == 8
    for number, rows in found.items():
        for count, each in zip((1, 3, 7), rows):
            assert_close(each, wanted[number : number + count], OWN)


FUSED = """
import sys
import numpy as np
from recognition.checkpoint import load_network
from recognition.export.optimized_export import Bound, load_optimized
import mxnet as mx
shape = (32, 32, 3)
images = np.random.RandomState(5).randint(0, 256, (4, 3, 32, 32)).astype(np.float32)
for prefix in sys.argv[1:]:
    bound, net = Bound(*load_optimized(prefix, 1, shape)), load_network(prefix, 1, image_shape=shape)
    for count in (4, 1, 3, 4):
        wanted = net(mx.nd.array(images[:count])).asnumpy()
        print(np.abs(bound(images[:count]) - wanted).max() / np.abs(wanted).max())
    executor = bound._executor((4, 3, 32, 32))
    names = executor.get_optimized_symbol().get_internals().list_outputs()
    print(sum('sg_mkldnn' in name for name in names))
"""


def test_with_the_fusion_that_users_have(save, tmp_path):
    """In a process of its own, since mxnet's setting here is that of the tests."""
    prefixes = [save(small(name, image_shape=SMALL_SHAPE), tmp_path / name) for name in ('y1', 'r18')]
    settings = {name: value for name, value in os.environ.items() if name != 'MXNET_SUBGRAPH_BACKEND'}
    call = [sys.executable, '-W', 'ignore', '-c', FUSED, *map(str, prefixes)]
    done = subprocess.run(call, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for *apart, fused in (lines[:5], lines[5:]):
        assert len(apart) == 4
        assert max(map(float, apart)) <= CLOSE
        assert int(fused) > 5


# Written as a checkpoint.


def test_the_written_checkpoint_is_loaded_by_all(saved, tmp_path):
    done = export_optimized(saved, 1, tmp_path / 'new' / 'fast', image_shape=SMALL_SHAPE)
    assert isinstance(done, Done)
    assert done.check.difference <= TOLERANCE
    assert (done.before, done.after) == tuple(
        sum(node['op'] != 'null' for node in json.loads(symbol_path(each).read_text())['nodes'])
        for each in (saved, tmp_path / 'new' / 'fast')
    )
    names = 'fast-0001.params fast-0001.params.sha256 fast-symbol.json'
    assert sorted(os.listdir(tmp_path / 'new')) == names.split()
    images = draw(3)
    wanted, prefix = embed_as_saved(saved, images), tmp_path / 'new' / 'fast'
    data = mx.nd.array(channels_first(images))

    assert_close(embed_as_saved(prefix, images), wanted)
    block = mx.gluon.SymbolBlock.imports(f'{prefix}-symbol.json', ['data'], f'{prefix}-0001.params')
    assert_close(block(data).asnumpy(), wanted)
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(prefix), 1)
    assert set(arguments) | {'data'} == set(symbol.list_arguments())
    assert set(auxiliary) == set(symbol.list_auxiliary_states())
    module = mx.mod.Module(symbol, label_names=None)
    module.bind(data_shapes=[('data', data.shape)], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([data]), is_train=False)
    assert_close(module.get_outputs()[0].asnumpy(), wanted)


def test_slopes_above_1_take_another_form_that_is_loaded_as_well(make_network, tmp_path):
    net = make_network(small('y1', image_shape=SMALL_SHAPE))
    slopes = [value for name, value in net.collect_params().items() if name.endswith('alpha')]
    for each in slopes:
        each.set_data(each.data() + 1)
    write_network(net, tmp_path / 'model')
    export_optimized(tmp_path / 'model', 1, tmp_path / 'fast', image_shape=SMALL_SHAPE)
    rewritten = load_embedding(tmp_path / 'fast', 1).symbol
    assert rewritten.list_auxiliary_states()  # of batch norms, which stand for the slopes
    block = mx.gluon.SymbolBlock.imports(
        str(symbol_path(tmp_path / 'fast')), ['data'], str(params_path(tmp_path / 'fast', 1))
    )
    images = draw(2)
    assert_close(
        block(mx.nd.array(channels_first(images))).asnumpy(), embed_as_saved(tmp_path / 'model', images)
    )


@pytest.mark.parametrize('for_mxnet', [True, False])
def test_a_rewritten_network_is_rewritten_again(saved, tmp_path, for_mxnet):
    export_optimized(saved, 1, tmp_path / 'fast', image_shape=SMALL_SHAPE, for_mxnet=for_mxnet)
    done = export_optimized(
        tmp_path / 'fast', 1, tmp_path / 'again', image_shape=SMALL_SHAPE, for_mxnet=for_mxnet
    )
    assert done.after == done.before
    images = draw(2)
    assert_close(embed_as_saved(tmp_path / 'again', images), embed_as_saved(saved, images))


def test_the_portable_form_has_prelu_as_one_operator(saved, tmp_path):
    export_optimized(saved, 1, tmp_path / 'portable', image_shape=SMALL_SHAPE, for_mxnet=False)
    text = symbol_path(tmp_path / 'portable').read_text()
    assert '"act_type": "prelu"' in text
    assert '"act_type": "prelu"' not in _fast(saved, tmp_path)


def _fast(saved, folder):
    export_optimized(saved, 1, folder / 'fast', image_shape=SMALL_SHAPE)
    return symbol_path(folder / 'fast').read_text()


def test_onto_itself_is_refused_before_the_work(saved):
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}
    for output in (saved, saved.parent / '..' / saved.parent.name / saved.name):
        with pytest.raises(CheckpointError, match='is the checkpoint itself; choose another prefix'):
            export_optimized(saved, 1, output, image_shape=SMALL_SHAPE)
    with pytest.raises(ConfigError, match='must end with what the names of the checkpoints begin with'):
        export_optimized(saved, 1, f'{saved.parent}/', image_shape=SMALL_SHAPE)
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


@pytest.mark.parametrize('factor', [1.002, np.nan])
def test_a_wrong_rewrite_is_refused_and_nothing_is_written(saved, tmp_path, monkeypatch, factor):
    def mistaken(symbol, values, shapes, **settings):
        symbol, values = optimize(symbol, values, shapes, **settings)
        name = next(name for name in values if name.startswith('pre_fc1_weight'))
        return symbol, {**values, name: values[name] * np.float32(factor)}

    monkeypatch.setattr('recognition.engines.mxnet_executor.optimize', mistaken)
    words = 'not finite, and nothing is written' if np.isnan(factor) else "of the largest value off MXNet's"
    with pytest.raises(CheckpointError, match=words):
        export_optimized(saved, 1, tmp_path / 'new' / 'fast', image_shape=SMALL_SHAPE)
    assert not (tmp_path / 'new').exists()


def test_missing_damaged_and_misfit_files_are_one_sentence(saved, save, tmp_path):
    other = save(small('y1', image_shape=SMALL_SHAPE, emb_size=8), tmp_path / 'other')
    graph, values = symbol_path(saved), params_path(saved, 1)
    whole = {path: path.read_bytes() for path in (graph, values)}
    Path(f'{values}.sha256').unlink()
    damage = {
        'does not exist': values.unlink,
        r'params is damaged': lambda: values.write_bytes(whole[values][:-100]),
        r'symbol\.json': lambda: graph.write_text('{'),
        'does not fit': lambda: values.write_bytes(params_path(other, 1).read_bytes()),
    }
    for words, change in damage.items():
        change()
        for call, output in ((load_optimized, []), (export_optimized, [tmp_path / 'fast'])):
            with pytest.raises(CheckpointError, match=words) as caught:
                call(saved, 1, *output, image_shape=SMALL_SHAPE)
            assert '\n' not in str(caught.value)
        for path, content in whole.items():
            path.write_bytes(content)
    with pytest.raises(CheckpointError, match='takes no images of 112x112x3'):
        load_optimized(saved, 1)
    assert not symbol_path(tmp_path / 'fast').exists()


def test_values_that_are_not_finite_are_named(saved):
    values = mx.nd.load(str(params_path(saved, 1)))
    values['arg:pre_fc1_weight'][0] = np.inf
    mx.nd.save(str(params_path(saved, 1)), values)
    Path(f'{params_path(saved, 1)}.sha256').unlink()
    with pytest.raises(CheckpointError, match='not finite in pre_fc1_weight'):
        load_optimized(saved, 1, SMALL_SHAPE)
