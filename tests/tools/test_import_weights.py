"""The importer from the command line: what it writes, what it says, and that it writes nothing that is not whole."""

from __future__ import annotations

import os
import pickle
import runpy
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError, ConfigError, FaceSymbolsError
from recognition.arcface_torch import SETTINGS
from recognition.checkpoint import load_embedding, load_network, wrap_symbol
from recognition.weights import parts_of, set_parameters
from symbols import get_block, get_symbol
from symbols.prelu_forms import as_operators

import mxnet as mx

ROOT = Path(__file__).parents[2]
SMALL = {'net_multiplier': 0.0625, 'emb_size': 16, 'image_shape': (32, 32, 3)}
WORDS = ['--set', 'net_multiplier=0.0625', '--set', 'emb_size=16', '--set', 'image_shape=32,32,3']

main = runpy.run_path(str(ROOT / 'tools' / 'import_weights.py'))['main']


def save_as_insightface(prefix, cfg, *, symbol=None, without=(), **more):
    """Write a checkpoint as InsightFace's train.py does, with its classifier in the parameters."""
    random = np.random.RandomState(3)
    embedding = get_symbol(cfg)
    auxiliary = set(embedding.list_auxiliary_states())
    values = {name: random.uniform(0.5, 1, p.shape) for name, p in get_block(cfg).collect_params().items()}
    values = {**values, 'fc7_weight': random.rand(5, cfg.emb_size), **more}
    arrays = {name: mx.nd.array(value) for name, value in values.items() if name not in without}
    args = {name: value for name, value in arrays.items() if name not in auxiliary}
    auxs = {name: value for name, value in arrays.items() if name in auxiliary}
    mx.model.save_checkpoint(str(prefix), 0, embedding if symbol is None else symbol, args, auxs)
    return {name: value.asnumpy() for name, value in arrays.items()}


def images(side=32):
    return mx.nd.array(np.random.RandomState(1).randint(0, 256, (2, 3, side, side)))


def import_insightface(folder, *words, settings=WORDS):
    return main(
        [
            'insightface',
            f'{folder / "old"},0',
            '--network',
            'r18',
            '--output',
            str(folder / 'new'),
            *settings,
            *words,
        ]
    )


def written(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith('new'))


def refused(folder, words, *options, error=CheckpointError, **settings):
    with pytest.raises(error, match=words) as caught:
        import_insightface(folder, *options, **settings)
    assert '\n' not in str(caught.value)
    assert written(folder) == []


def test_a_checkpoint_of_insightface_becomes_one_here(tmp_path, capsys):
    cfg = resolve('r18', **SMALL)
    save_as_insightface(tmp_path / 'old', cfg)
    assert import_insightface(tmp_path, '--epoch', '2') is None
    assert written(tmp_path) == ['new-0002.params', 'new-0002.params.sha256', 'new-symbol.json']
    old, new = (
        load_network(tmp_path / name, epoch, image_shape=(32, 32, 3))
        for name, epoch in (('old', 0), ('new', 2))
    )
    assert np.array_equal(old(images()).asnumpy(), new(images()).asnumpy())
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == ['loaded', str(len(list(get_block(cfg).collect_params())))]
    assert (
        'embedding the embeddings of the file and of this network are 0 of the largest value apart' in shown
    )
    assert 'input     RGB in 0..255; (x - 127.5) * 0.0078125 is inside' in shown
    assert f'written   {tmp_path / "new"}-symbol.json, {tmp_path / "new"}-0002.params' in shown
    assert '--set net_multiplier=0.0625' in shown
    assert (
        f'--net-multiplier 0.0625 --emb-size 16 --image-shape 32,32,3 --pretrained {tmp_path / "new"},2'
        in shown
    )


def test_another_head_that_is_asked_for_is_drawn_fresh_and_said_so(tmp_path, capsys):
    values = save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    import_insightface(tmp_path, '--head', 'GAP', '--set', 'emb_size=8')
    saved = load_embedding(tmp_path / 'new', 0)
    own = parts_of(resolve('r18', **{**SMALL, 'net_output': 'GAP', 'emb_size': 8}))
    assert all(np.array_equal(saved.values[name].asnumpy(), values[name]) for name in own.backbone)
    assert set(own.head) | set(own.backbone) == set(saved.values)
    assert saved.values['pre_fc1_weight'].shape == (8, 32)
    shown = capsys.readouterr().out
    assert f'missing   {len(own.head):>5}  bn1_gamma' in shown
    assert 'was drawn fresh, and needs training before use' in shown
    assert 'apart' not in shown


def test_the_head_of_the_checkpoint_is_loaded_where_it_is_the_one_asked_for(tmp_path, capsys):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL, net_output='GAP'))
    import_insightface(tmp_path, '--head', 'GAP')
    assert 'missing' not in capsys.readouterr().out
    import_insightface(tmp_path, '--head', 'GAP', '--fresh-head', '--overwrite')
    assert 'missing' in capsys.readouterr().out


def test_a_head_that_does_not_fit_is_refused_where_no_other_was_asked_for(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL, net_output='GAP'))
    words = [*WORDS[:2], *WORDS[4:]]
    refused(tmp_path, 'pre_fc1_weight.*; --fresh-head leaves its head out and draws one', settings=words)


def test_a_file_is_not_replaced_unless_it_is_asked_for(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    (tmp_path / 'new-0000.params').write_text('mine')
    with pytest.raises(CheckpointError, match=r'new-0000\.params is there already'):
        import_insightface(tmp_path)
    assert (tmp_path / 'new-0000.params').read_text() == 'mine'
    import_insightface(tmp_path, '--overwrite')
    assert load_network(tmp_path / 'new', 0, image_shape=(32, 32, 3))
    with pytest.raises(CheckpointError, match=r'new-symbol\.json is there already'):
        import_insightface(tmp_path, '--epoch', '4')


def test_what_does_not_fit_is_refused_and_nothing_written(tmp_path):
    save_as_insightface(
        tmp_path / 'old', resolve('r18', **SMALL), without=['relu0_gamma'], old_bias=np.ones(2)
    )
    refused(
        tmp_path,
        r'old-0000\.params does not fit .*old-symbol\.json: it lacks relu0_gamma; it has also old_bias',
    )
    import_insightface(tmp_path, '--partial')
    assert load_network(tmp_path / 'new', 0, image_shape=(32, 32, 3))


def test_layers_that_compute_something_else_are_refused(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    refused(tmp_path, 'bn0 has eps 2e-05 instead of 0.001', '--set', 'bn_eps=0.001')
    refused(tmp_path, 'with input_scale=0.0078125 it is built so', '--set', 'input_scale=0.5')


def test_layers_that_are_connected_otherwise_are_refused(tmp_path):
    cfg = resolve('r18', **SMALL)
    symbol = get_symbol(cfg)
    text = symbol.tojson().replace('"op": "elemwise_add"', '"op": "elemwise_sub"')
    save_as_insightface(tmp_path / 'old', cfg, symbol=mx.sym.load_json(text))
    refused(tmp_path, 'the same parameters and give embeddings that are .* apart')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--set', 'net_akt=relu'], "'net_akt' is not a key of the config"),
        (['--head', 'GAPP'], "did you mean 'GAP'"),
        (['--set', 'r18'], 'needs the form KEY=VALUE'),
    ],
)
def test_mistakes_of_the_command_line_are_one_sentence(tmp_path, words, message):
    refused(tmp_path, message, *words, error=ConfigError)


@pytest.mark.parametrize('file', ['old', 'old,7', 'nowhere,0'])
def test_a_checkpoint_that_is_not_there_is_named(tmp_path, file):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    command = ['insightface', str(tmp_path / file), '--network', 'r18', '--output', str(tmp_path / 'new')]
    with pytest.raises(FaceSymbolsError, match=r'is not PREFIX,EPOCH|does not exist'):
        main(command)
    assert written(tmp_path) == []


def test_a_prefix_that_names_no_file_is_refused(tmp_path):
    command = ['insightface', 'old,0', '--network', 'r18', '--output', str(tmp_path) + os.sep]
    with pytest.raises(ConfigError, match='must end with'):
        main(command)


def write_torch(path, shapes):
    """Write a state dict as torch.save does, without torch: every tensor is one number, repeated by strides of 0."""
    names = {'_rebuild_tensor_v2': 'torch._utils', 'FloatStorage': 'torch', 'LongStorage': 'torch'}
    stand_ins = {name: types.new_class(name) for name in names}
    modules = {module: types.ModuleType(module) for module in names.values()}
    for name, cls in stand_ins.items():
        cls.__module__ = names[name]
        setattr(modules[names[name]], name, cls)

    class Storage:
        def __init__(self, kind, key):
            self.reference = ('storage', stand_ins[kind], key, 'cpu', 1)

    class Tensor:
        def __init__(self, storage, shape):
            self.arguments = (storage, 0, shape, (0,) * len(shape), False, {})

        def __reduce__(self):
            return stand_ins['_rebuild_tensor_v2'], self.arguments

    class Writer(pickle.Pickler):
        def persistent_id(self, value):
            return value.reference if isinstance(value, Storage) else None

    tensors, contents = {}, {}
    for number, (name, shape) in enumerate(shapes.items()):
        whole = name.endswith('num_batches_tracked')
        tensors[name] = Tensor(Storage('LongStorage' if whole else 'FloatStorage', str(number)), shape)
        value = 1.0 if name == 'features.weight' else 0.01 + number / 4096
        contents[str(number)] = (np.int64 if whole else np.float32)(value).tobytes()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        with open(path.with_suffix('.pkl'), 'wb') as out:
            Writer(out, protocol=2).dump(tensors)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.write(path.with_suffix('.pkl'), 'archive/data.pkl')
        for key, content in contents.items():
            archive.writestr(f'archive/data/{key}', content)
        archive.writestr('archive/version', '3\n')


def iresnet18(emb_size):
    """Return the shapes of arcface_torch's iresnet18 by name."""

    def norm(name, width):
        parts = ('weight', 'bias', 'running_mean', 'running_var')
        return {**{f'{name}.{part}': (width,) for part in parts}, f'{name}.num_batches_tracked': ()}

    shapes, inputs = {'conv1.weight': (64, 3, 3, 3), **norm('bn1', 64), 'prelu.weight': (64,)}, 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for unit in range(2):
            name = f'layer{stage}.{unit}'
            shapes.update({**norm(f'{name}.bn1', inputs), f'{name}.conv1.weight': (width, inputs, 3, 3)})
            shapes.update({**norm(f'{name}.bn2', width), f'{name}.prelu.weight': (width,)})
            shapes.update({f'{name}.conv2.weight': (width, width, 3, 3), **norm(f'{name}.bn3', width)})
            if unit == 0:
                shapes[f'{name}.downsample.0.weight'] = (width, inputs, 1, 1)
                shapes.update(norm(f'{name}.downsample.1', width))
            inputs = width
    shapes.update({**norm('bn2', 512), 'fc.weight': (emb_size, 512 * 49), 'fc.bias': (emb_size,)})
    return {**shapes, **norm('features', emb_size)}


def test_weights_of_arcface_torch_come_with_their_settings(tmp_path, capsys):
    write_torch(tmp_path / 'backbone.pth', iresnet18(8))
    command = ['arcface_torch', str(tmp_path / 'backbone.pth'), '--network', 'r18', '--output']
    main([*command, str(tmp_path / 'new'), '--emb-size', '8'])
    shown = capsys.readouterr().out
    assert 'missing' not in shown
    assert f'input     RGB in 0..255; (x - 127.5) * {1 / 127.5!r} is inside' in shown
    assert f'--set bn_eps=1e-05 --set input_scale={1 / 127.5!r}' in shown
    assert f'--bn-eps 1e-05 --input-scale {1 / 127.5!r} --pretrained {tmp_path / "new"},0' in shown
    saved = load_embedding(tmp_path / 'new', 0)
    own = get_symbol(resolve('r18', emb_size=8, **SETTINGS))
    assert saved.symbol.tojson() == as_operators(own).tojson()
    net = wrap_symbol(own)
    set_parameters(net, saved.values, mx.cpu())
    assert np.isfinite(net(images(112)).asnumpy()).all()

    main([*command, str(tmp_path / 'newer'), '--head', 'GAP', '--emb-size', '8'])
    assert 'was drawn fresh' in capsys.readouterr().out
    with pytest.raises(CheckpointError, match='r18'):
        main([*command[:2], '--network', 'r34', '--output', str(tmp_path / 'newest'), '--emb-size', '8'])
    assert not list(tmp_path.glob('newest*'))


KERAS = {'net_multiplier': 0.25, 'num_classes': 10, 'image_shape': (64, 64, 3)}
KERAS_WORDS = ['--set', 'net_multiplier=0.25', '--set', 'image_shape=64,64,3']
ROLES = {'weight': 'kernel', 'moving_var': 'moving_variance'}  # others have the same name there


def write_keras(path, cfg, *, classifier=True):
    """Write the weights of a Keras network in the HDF5 layout of Keras 2, and return them by our names."""
    random = np.random.RandomState(4)
    own = parts_of(cfg)
    values = {
        name: random.uniform(0.5, 1, shape).astype('f4')
        for name, shape in {**own.backbone, **own.head}.items()
    }
    layers = {}
    for name, value in values.items():
        layer, role = next(
            (name[: -len(role) - 1], role)
            for role in ('weight', 'bias', 'gamma', 'beta', 'moving_mean', 'moving_var')
            if name.endswith(f'_{role}')
        )
        theirs = value.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim])
        layers.setdefault('predictions' if layer == 'fc1' else layer, {})[ROLES.get(role, role)] = theirs
    if not classifier:
        del layers['predictions']
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [name.encode() for name in layers]
        for name, weights in layers.items():
            group = file.create_group(name)
            group.attrs['weight_names'] = [f'{name}/{role}:0'.encode() for role in weights]
            for role, value in weights.items():
                group[f'{name}/{role}:0'] = value
    return values


def import_keras(folder, *words):
    command = ['keras', str(folder / 'weights.h5'), '--network', 'keras_resnet50', *KERAS_WORDS]
    return main([*command, '--output', str(folder / 'new'), *words])


def test_weights_of_keras_are_imported_with_their_classifier(tmp_path, capsys):
    values = write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    import_keras(tmp_path, '--set', 'num_classes=10')
    shown = capsys.readouterr().out
    assert 'missing' not in shown
    assert 'input     pixels as they are, which means BGR less 103.939 116.779 123.68' in shown
    assert 'train     not as it is: recognition.train feeds RGB in 0..255' in shown
    saved = load_embedding(tmp_path / 'new', 0).values
    assert saved.keys() == values.keys()
    assert [name for name in values if not np.array_equal(saved[name].asnumpy(), values[name])] == []


@pytest.mark.parametrize('words', [['--head', 'E'], ['--fresh-head'], ['--set', 'num_classes=7']])
def test_the_classifier_of_keras_is_left_out_on_request(tmp_path, capsys, words):
    cfg = resolve('keras_resnet50', **KERAS)
    values = write_keras(tmp_path / 'weights.h5', cfg, classifier=words[0] == '--head')
    import_keras(tmp_path, *words)
    saved = load_embedding(tmp_path / 'new', 0).values
    body = parts_of(cfg).backbone
    assert [name for name in body if not np.array_equal(saved[name].asnumpy(), values[name])] == []
    shown = capsys.readouterr().out
    assert 'missing' in shown
    assert 'was drawn fresh' in shown


def test_a_file_of_keras_without_its_classifier_is_refused(tmp_path):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS), classifier=False)
    with pytest.raises(CheckpointError, match='it lacks fc1_weight, fc1_bias; --fresh-head'):
        import_keras(tmp_path)
    assert written(tmp_path) == []


def test_the_symbol_of_one_network_with_the_parameters_of_another_is_refused(tmp_path):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL), symbol=get_symbol(resolve('r34', **SMALL)))
    for words in ([], ['--head', 'GAP'], ['--fresh-head']):
        refused(
            tmp_path,
            r'old-0000\.params does not fit .*old-symbol\.json: it lacks stage1_unit3_bn1_gamma',
            *words,
        )
    import_insightface(tmp_path, '--partial')  # whatever fits, which all does; the symbol cannot be compared


def test_the_weights_own_head_is_not_another_one(tmp_path):
    row = {**SMALL, 'net_output': 'GDC', 'net_multiplier': 0.25, 'emb_size': 256}
    save_as_insightface(tmp_path / 'old', resolve('m1', **row, head_channels=64))
    words = ['--set', 'net_multiplier=0.25', '--set', 'image_shape=32,32,3']
    command = [
        'insightface',
        f'{tmp_path / "old"},0',
        '--network',
        'm1',
        '--output',
        str(tmp_path / 'new'),
        *words,
    ]
    for head in ([], ['--head', 'GDC'], ['--head', 'gdc_fc_bn'], ['--emb-size', '256']):
        with pytest.raises(CheckpointError, match='--fresh-head leaves its head out'):
            main([*command, *head])
    assert main([*command, '--set', 'head_channels=64']) is None


def test_what_is_left_out_is_told(tmp_path, capsys):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    import_insightface(tmp_path)
    assert 'left out  fc7_weight (5, 16): the classifier over identities' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('own', 'words'),
    [
        ({'net_se': True}, 'net_se=True'),
        ({'net_act': 'relu'}, "net_act='relu'"),
        ({'net_unit': 1}, 'net_unit=1'),
        ({'num_layers': 34}, 'the preset r34'),
    ],
)
def test_the_network_that_weights_are_of_is_named(tmp_path, own, words):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL, **own))
    refused(tmp_path, f'does not fit r18: .*; it is of a network with {words}$')


@pytest.mark.parametrize('words', [[], ['--fresh-head'], ['--partial']])
def test_values_that_are_not_finite_are_refused(tmp_path, words):
    damaged = {'conv0_weight': np.full((4, 3, 3, 3), np.nan)}
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL), **damaged)
    refused(tmp_path, 'old,0 has values that are not finite in conv0_weight', *words)


@pytest.mark.parametrize('epoch', ['-1', str(10**20)])
def test_an_epoch_that_no_file_has_is_refused(tmp_path, epoch):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    refused(tmp_path, f'--epoch {epoch} must be from 0 to', '--epoch', epoch, error=ConfigError)


def test_the_settings_that_are_printed_are_taken(tmp_path, capsys):
    save_as_insightface(tmp_path / 'old', resolve('r18', **SMALL))
    import_insightface(tmp_path)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('settings'))
    assert '--set image_shape=32,32,3' in line
    import_insightface(tmp_path, '--overwrite', settings=line.split()[1:])


def test_what_of_arcface_torch_is_taken_with_another_head_or_activation(tmp_path, capsys):
    write_torch(tmp_path / 'backbone.pth', iresnet18(8))
    command = ['arcface_torch', str(tmp_path / 'backbone.pth'), '--network', 'r18', '--output']
    main([*command, str(tmp_path / 'a'), '--fresh-head'])  # of 512 values
    main([*command, str(tmp_path / 'b'), '--partial', '--emb-size', '16', '--activation', 'relu'])
    assert capsys.readouterr().out.count('was drawn fresh') == 2
    with pytest.raises(CheckpointError, match="net_act='relu' does not go with weights of arcface_torch"):
        main([*command, str(tmp_path / 'c'), '--fresh-head', '--activation', 'relu'])
    with pytest.raises(CheckpointError, match='bn_eps=2e-05 does not go with weights of arcface_torch'):
        main([*command, str(tmp_path / 'c'), '--emb-size', '8', '--set', 'bn_eps=2e-5'])


@pytest.mark.parametrize('setting', ['bn_eps=0.01', 'net_act=elu', 'input_mean=127.5', 'input_scale=0.5'])
def test_settings_that_would_falsify_weights_of_keras_are_refused(tmp_path, setting):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    with pytest.raises(
        CheckpointError, match=f'{setting.partition("=")[0]}=.* its weights were trained with'
    ):
        import_keras(tmp_path, '--set', 'num_classes=10', '--set', setting)
    assert written(tmp_path) == []


def test_the_program_ends_with_a_sentence_and_a_status(tmp_path):
    words = ['insightface', 'nothing,0', '--network', 'r18', '--output', 'new']
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', ROOT / 'tools' / 'import_weights.py', *words],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ['error: nothing-symbol.json does not exist']
    assert list(tmp_path.iterdir()) == []
