"""What a training takes from the checkpoint it starts from: the network, its body, the classifier's rows."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from config import resolve
from config.checks import check_training
from config.errors import CheckpointError, ConfigError
from recognition.checkpoint.initialize import prepare
from recognition.checkpoint.matching import parts_of
from recognition.checkpoint.network import save_network, wrap_symbol
from recognition.checkpoint.training_state import TrainingState, save_state
from recognition.classifier.base import WholeClassifier
from recognition.losses.factory import build_loss
from recognition.training.pretrained import load_pretrained, resize_classifier
from symbols import get_block, get_symbol

import mxnet as mx

SMALL = {'net_multiplier': 0.0625, 'emb_size': 16, 'image_shape': (32, 32, 3), 'num_classes': 6}


def config(loss='arcface', **settings):
    return resolve('r18', None, loss, **{**SMALL, **settings})


class Run:
    """Network and classifier of a config, as the trainer has them before its first step."""

    def __init__(self, cfg, seed=1):
        mx.random.seed(seed)
        self.cfg, self.symbol = cfg, get_symbol(cfg)
        self.net = wrap_symbol(self.symbol)
        prepare(self.net, self.symbol, image_shape=cfg.image_shape, ctx=mx.cpu())
        self.classifier = build_loss(cfg)
        self.classifier.initialize(ctx=mx.cpu())
        self.before = self.values()

    def values(self):
        both = {**self.net.collect_params(), **self.classifier.collect_params()}
        return {name: parameter.data().asnumpy() for name, parameter in both.items()}

    def load(self):
        return load_pretrained(self.net, WholeClassifier(self.classifier), self.cfg)

    def changed(self):
        after = self.values()
        return {name for name in after if not np.array_equal(after[name], self.before[name])}


def random_values(cfg, seed=5):
    """Values for network and classifier of a config."""
    random = np.random.RandomState(seed)
    both = {**get_block(cfg).collect_params(), **build_loss(cfg).collect_params()}
    return {name: random.rand(*parameter.shape).astype(np.float32) for name, parameter in both.items()}


@pytest.fixture
def saved(tmp_path):
    """Return a function: config -> the values it saved at the prefix of `start`, as InsightFace does."""

    def save(cfg, *, with_classifier=True, without=(), **more):
        values = {**random_values(cfg), **more}
        symbol = get_symbol(cfg)
        auxiliary = set(symbol.list_auxiliary_states())
        arrays = {
            name: mx.nd.array(value)
            for name, value in values.items()
            if (with_classifier or not name.startswith('fc7')) and name not in without
        }
        auxs = {name: value for name, value in arrays.items() if name in auxiliary}
        save_network(
            tmp_path / 'old', 0, symbol, {n: v for n, v in arrays.items() if n not in auxiliary}, auxs
        )
        return values

    return save


@pytest.fixture
def start(tmp_path):
    return {'pretrained': str(tmp_path / 'old'), 'pretrained_epoch': 0}


def same(run, values, names):
    after = run.values()
    return [name for name in names if not np.array_equal(after[name], values[name])] == []


def refused(run, *words):
    with pytest.raises(CheckpointError) as caught:
        run.load()
    assert '\n' not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []
    assert run.changed() == set()


def test_by_default_network_and_classifier_are_taken_as_insightface_takes_them(saved, start, caplog):
    values = saved(config())
    run = Run(config(**start))
    with caplog.at_level(logging.INFO):
        assert run.load().ok
    assert same(run, values, run.before)
    assert f'loaded      {len(values) - 1}\n' in caplog.text
    assert 'the classifier of 6 identities' in caplog.text


@pytest.mark.parametrize(
    ('old', 'new', 'there'),
    [
        ({'num_classes': 5}, {}, True),
        ({'loss': 'softmax'}, {}, True),
        ({}, {'loss': 'softmax'}, True),
        ({}, {'pretrained_fc7': 'drop'}, True),
        ({}, {}, False),
        ({}, {'pretrained_fc7': 'drop'}, False),
    ],
)
def test_a_classifier_that_does_not_fit_or_is_not_wanted_is_drawn_fresh(
    saved, start, caplog, old, new, there
):
    values = saved(config(**old), with_classifier=there)
    run = Run(config(**start, **new))
    with caplog.at_level(logging.INFO):
        assert run.load().ok
    assert 'the classifier is drawn fresh' in caplog.text
    assert ('fresh, for there is none' in caplog.text) == (not there)
    mine = {name for name in run.before if name.startswith('fc7')}
    assert same(run, run.before, mine)
    assert same(run, values, set(run.before) - mine)


@pytest.mark.parametrize('new', [4, 6, 9])
@pytest.mark.parametrize('loss', ['arcface', 'softmax'])
def test_rows_of_the_identities_that_stay_are_kept_and_the_others_drawn_fresh(
    saved, start, caplog, loss, new
):
    values = saved(config(loss))
    run = Run(config(loss, **start, num_classes=new, pretrained_fc7='resize'))
    with caplog.at_level(logging.INFO):
        run.load()
    after = run.values()
    kept = min(6, new)
    for name in ('fc7_weight', 'fc7_bias')[: 2 if loss == 'softmax' else 1]:
        assert np.array_equal(after[name][:kept], values[name][:kept])
        assert np.array_equal(after[name][kept:], run.before[name][kept:])
        assert after[name].shape == run.before[name].shape
    assert f'the classifier of {kept} identities' in caplog.text
    assert ('and 3 fresh ones' in caplog.text) == (new == 9)


@pytest.mark.parametrize('choice', ['keep', 'resize'])
def test_a_classifier_that_is_asked_for_must_be_there_and_fit(saved, start, choice):
    saved(config(), with_classifier=False)
    refused(Run(config(**start, pretrained_fc7=choice)), 'the classifier of ', 'it lacks fc7_weight')
    saved(config('softmax'))
    refused(Run(config(**start, pretrained_fc7=choice)), 'it has also fc7_bias')
    saved(config())
    refused(Run(config('softmax', **start, pretrained_fc7=choice)), 'it lacks fc7_bias')
    saved(config(emb_size=8))
    body = {'pretrained_part': 'body', 'pretrained_fc7': choice}
    refused(Run(config(**start, **body)), 'fc7_weight (6, 8) instead of (6, 16)')


def test_a_kept_classifier_must_have_as_many_identities(saved, start):
    values = saved(config())
    refused(
        Run(config(**start, num_classes=7, pretrained_fc7='keep')), 'fc7_weight (6, 16) instead of (7, 16)'
    )
    run = Run(config(**start, pretrained_fc7='keep'))
    run.load()
    assert same(run, values, ['fc7_weight'])


def test_a_run_of_this_project_has_its_classifier_in_the_state(saved, start, tmp_path):
    values = saved(config(), with_classifier=False)
    arrays = {f'param:{name}': value for name, value in values.items()}
    arrays['momentum:fc7_weight'] = 0 * values['fc7_weight']
    save_state(tmp_path / 'old', 0, TrainingState({}, {}, arrays))
    run = Run(config(**start, pretrained_fc7='keep'))
    run.load()
    assert same(run, values, run.before)


@pytest.mark.parametrize(
    'other', [{'net_output': 'GAP'}, {'emb_size': 8}, {'net_output': 'GDC', 'emb_size': 64}]
)
def test_for_another_head_the_body_is_taken_on_request(saved, start, caplog, other):
    values = saved(config())
    refused(
        Run(config(**start, **other)),
        'does not fit the network of this run',
        "pretrained_part='body' takes all",
    )
    run = Run(config(**start, **other, pretrained_part='body'))
    with caplog.at_level(logging.INFO):
        report = run.load()
    own = parts_of(run.cfg)
    assert same(run, values, own.backbone)
    assert same(run, run.before, {*own.head, 'fc7_weight'})
    assert set(report.missing) == set(own.head)
    assert 'missing' in caplog.text
    assert 'the classifier is drawn fresh' in caplog.text


def test_a_classifier_of_another_number_of_classes_is_refused_unless_its_head_is_drawn_fresh(
    saved, start, caplog
):
    scores = {'net_output': 'classifier'}
    values = saved(config(**scores, num_classes=1000), with_classifier=False)
    refused(
        Run(config(**scores, **start, num_classes=12)),
        'has 1000 classes, and this run has 12; --pretrained-part body draws the head fresh',
    )
    run = Run(config(**scores, **start, num_classes=12, pretrained_part='body'))
    run.load()
    own = parts_of(run.cfg)
    assert own.head['fc1_weight'][0] == 12
    assert same(run, values, own.backbone)
    assert same(run, run.before, own.head)
    run = Run(config(**scores, **start, num_classes=1000))
    run.load()
    assert same(run, values, own.head)


def test_a_network_that_is_trained_without_a_classifier_is_told_of_none(saved, start, caplog):
    saved(config('triplet'))
    with caplog.at_level(logging.INFO):
        Run(config('triplet', **start)).load()
    assert 'loaded' in caplog.text
    assert 'the classifier' not in caplog.text


def test_older_names_are_passed_over_on_request(saved, start, caplog):
    values = saved(config(), without=['relu0_gamma'], old_weight=np.ones(3, np.float32))
    refused(Run(config(**start)), 'it lacks relu0_gamma; it has also old_weight')
    run = Run(config(**start, pretrained_part='fitting'))
    with caplog.at_level(logging.INFO):
        report = run.load()
    assert (report.missing, report.extra, dict(report.misshaped)) == (('relu0_gamma',), ('old_weight',), {})
    assert same(run, values, set(run.before) - {'relu0_gamma', 'fc7_weight'})
    assert same(run, run.before, {'relu0_gamma', 'fc7_weight'})


@pytest.mark.parametrize(
    ('other', 'words'),
    [
        ({'bn_eps': 1e-5}, 'bn0 has eps 2e-05 instead of 1e-05'),
        ({'input_scale': 1 / 127.5}, 'with input_scale=0.0078125 it is built so'),
        (
            {'input_order': 'bgr', 'input_mean': (1, 2, 3)},
            "with input_mean=127.5 and input_order='rgb' it is built so",
        ),
    ],
)
def test_layers_that_compute_something_else_are_refused_or_named(saved, start, caplog, other, words):
    saved(config())
    for part in ('network', 'body'):
        refused(
            Run(config(**start, **other, pretrained_part=part)), 'does not fit the network of this run', words
        )
    assert Run(config(**start, **other, pretrained_part='fitting')).load().ok
    assert words in caplog.text


def test_the_head_may_compute_something_else_where_it_is_left_out(saved, start):
    saved(config(net_act='elu'))
    own = config(net_act='elu', net_output='SFC', **start, pretrained_part='body')
    assert Run(own).load().missing


@pytest.mark.parametrize(('key', 'value'), [('pretrained_fc7', 'resize'), ('pretrained_part', 'body')])
def test_without_a_checkpoint_there_is_nothing_to_take(key, value):
    with pytest.raises(ConfigError, match=f"^{key}='{value}' needs pretrained"):
        check_training(config(**{key: value}))
    check_training(config(**{key: value}, pretrained='old'))


def test_identities_may_change_their_labels():
    old = {'fc7_weight': np.arange(8.0).reshape(4, 2), 'fc7_bias': np.arange(4.0)}
    fresh = {'fc7_weight': np.full((3, 2), -1.0), 'fc7_bias': np.full(3, -1.0)}
    resized = resize_classifier(fresh, old, stays=[3, -1, 0])
    assert resized['fc7_weight'].tolist() == [[6, 7], [-1, -1], [0, 1]]
    assert resized['fc7_bias'].tolist() == [3, -1, 0]
    assert fresh['fc7_bias'].tolist() == [-1, -1, -1]
    for stays in ([4, 0, 0], [0, 1]):
        with pytest.raises(ConfigError, match='stays must give one of the 4 old labels, or -1'):
            resize_classifier(fresh, old, stays=stays)
