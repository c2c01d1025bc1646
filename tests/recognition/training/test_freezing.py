"""Frozen parameters stay to the last bit, whatever else a training does; others learn at a rate of their own."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import ConfigError
from recognition.training.trainer import Trainer
from symbols import get_symbol
from tests.recognition.training.test_trainer import batch, close, normed_network, trainer, values

import mxnet as mx

BODY = ('conv0_', 'bn0_')
STATISTICS = ('bn0_moving_mean', 'bn0_moving_var')


def with_statistics(runner, mean=3.0, var=4.0):
    """Give the batch norm statistics that no batch has."""
    for name, value in zip(STATISTICS, (mean, var)):
        parameter = runner.parameters[name]
        parameter.set_data(mx.nd.full(parameter.shape, value))
    return runner


def changed(runner, steps=3):
    before = runner.arrays()
    for seed in range(steps):
        assert not runner.step(*batch(seed=seed)).skipped
    runner.settle()
    after = runner.arrays()
    return {key for key in after if not np.array_equal(after[key], before.get(key))}


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'optimizer': 'adamw', 'accumulate': 3, 'ema': 0.9},
        {'recompute': True, 'ema': 0.9, 'clip_norm': 0.1},
        {'contexts': [mx.cpu(0), mx.cpu(1), mx.cpu(2)], 'ema': 0.9},
        {'fc7_sharded': True},
    ],
)
def test_what_is_frozen_stays_to_the_last_bit_and_has_nothing_of_the_optimizer(settings):
    runner = with_statistics(trainer(normed_network(), freeze=BODY, **settings), mean=0.1, var=0.3)
    moved = changed(runner)
    assert {key for key in moved if key.endswith('fc1_weight')}
    assert [key for key in moved if 'conv0' in key or 'bn0' in key] == []
    assert [
        key for key in runner.arrays() if key.startswith(('slot', 'ema')) and ('conv0' in key or 'bn0' in key)
    ] == []
    assert all(
        len(set(map(bytes, (c.asnumpy().tobytes() for c in runner.parameters[n].list_data())))) == 1
        for n in STATISTICS
    )


def test_a_frozen_batch_norm_is_the_affine_map_of_its_statistics():
    x = mx.sym.Convolution(
        mx.sym.var('data'), num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True, name='conv0'
    )
    x = (x - 3.0) / np.sqrt(4.0 + 1e-3)  # mxnet's default eps
    affine = trainer(mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=8, name='fc1'), rate=0.01)
    frozen = with_statistics(trainer(normed_network(), freeze=['bn0_'], rate=0.01))
    frozen.parameters['conv0_weight'].set_data(affine.parameters['conv0_weight'].data())
    frozen.parameters['fc1_weight'].set_data(affine.parameters['fc1_weight'].data())
    frozen.classifier.load(affine.classifier.values())
    for seed in range(3):
        one, other = (each.step(*batch(seed=seed)) for each in (affine, frozen))
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-4)
    own = {key: value for key, value in values(frozen).items() if 'bn0' not in key}
    close(own, values(affine), rtol=1e-3, atol=1e-5)


def test_the_statistics_move_where_only_the_trained_parameters_of_a_norm_are_named():
    runner = trainer(normed_network(), freeze=['bn0_(gamma|beta)'])
    moved = changed(runner)
    assert moved >= {f'param:{name}' for name in STATISTICS}
    assert not moved & {'param:bn0_gamma', 'param:bn0_beta'}


@pytest.mark.parametrize(
    ('name', 'freeze'),
    [
        ('r18', ['conv0_', 'bn0_', 'stage[123]_']),
        ('r18', ['stage4_', 'stage2_unit2_']),
        ('keras_resnet50_elu', ['conv1_', 'conv2_']),
    ],
)
def test_recomputed_steps_are_those_of_the_whole_network(name, freeze):
    small = {
        'net_multiplier': 0.0625,
        'net_output': 'E',
        'emb_size': 16,
        'image_shape': (32, 32, 3),
        'num_classes': 4,
        'loss_s': 8.0,
    }
    draw, after = np.random.RandomState(0), []
    images, labels = draw.randint(0, 256, (4, 3, 32, 32)).astype(np.uint8), np.arange(4, dtype=np.float32)
    for recompute in (False, True):
        cfg = resolve(name, None, 'cosface', freeze=freeze, recompute=recompute, **small)
        runner = Trainer(get_symbol(cfg), cfg, lambda step: 0.01, [mx.cpu()])
        before = values(runner)
        for _ in range(2):
            runner.step(images, labels)
        after.append(values(runner))
        still = [key for key in before if np.array_equal(before[key], after[-1][key])]
        assert {key[len('param:') :] for key in still} >= runner.frozen
        assert len(runner.frozen) > 20
    close(*after, rtol=1e-4, atol=1e-6)


def test_the_saved_network_is_that_of_a_training_without():
    symbol = normed_network()
    runner = trainer(symbol, freeze=BODY, ema=0.5)
    changed(runner)
    assert 'use_global_stats' not in runner.symbol.tojson()
    images = mx.nd.array(batch()[0])
    args, auxs = runner.network_arrays()
    bound = symbol.bind(mx.cpu(), {**args, 'data': images}, aux_states=auxs, grad_req='null')
    expected = bound.forward(is_train=False)[0].asnumpy()
    np.testing.assert_allclose(runner.embedding_network()(images).asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_factor_on_the_learning_rate_is_one_on_the_step():
    plain = {'mom': 0.0, 'wd': 0.01}
    slow = trainer(**plain, lr_mult=['conv0_=0.1', 'c=7', 'fc1_bias=0'])
    usual = trainer(**plain)
    start = values(slow)
    close(start, values(usual), rtol=0)
    for each in (slow, usual):
        each.step(*batch())
    ours, theirs = values(slow), values(usual)
    for name, factor in {'conv0_weight': 0.1, 'fc1_weight': 1.0, 'fc1_bias': 0.0, 'fc7_weight': 1.0}.items():
        key = f'param:{name}'
        moved = factor * (theirs[key] - start[key])
        np.testing.assert_allclose(ours[key] - start[key], moved, rtol=1e-3, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'freeze': ['.*']}, r"^freeze=\['\.\*'\] leaves nothing of the network to train$"),
        (
            {'freeze': ['stem_']},
            "begins with 'stem_'; there are conv0_weight, bn0_gamma, bn0_beta and 4 more$",
        ),
        ({'lr_mult': ['fc7_=2']}, "begins with 'fc7_'; there are conv0_weight"),
    ],
)
def test_mistakes_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        trainer(normed_network(), **settings)
