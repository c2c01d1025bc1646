"""Training on classes: what a run leaves, that it goes on to the bit, and what is refused."""

from __future__ import annotations

import json
import logging
import re

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError, DataError
from recognition.checkpoint.network import load_network
from recognition.data.class_names import write_classes
from recognition.data.dataset import FaceDataset, class_names, open_faces
from recognition.data.writer import write_records
from recognition.train import train
from recognition.training.report import write_run_report
from recognition.training.trainer import Trainer
from recognition.utils.run_paths import classes_path, config_path
from recognition.verification.classification import softmax
from tests.helpers.training import (
    CLASSES,
    SIDE,
    classes_config,
    config,
    photographs,
    refused,
    write_class_set,
    write_faces,
)
from tests.recognition.training.test_tensorboard import events

import mxnet as mx


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    return write_class_set(tmp_path_factory.mktemp('classes'))


@pytest.fixture(scope='module')
def trained(digits, tmp_path_factory):
    prefix = tmp_path_factory.mktemp('trained') / 'model'
    return train(classes_config(digits, tensorboard=True, best='test:loss', end_epoch=4), prefix=prefix)


def test_the_figures_are_those_of_the_saved_network(digits, trained):
    tests = FaceDataset(digits, (SIDE, SIDE, 1), name='test')
    images = np.stack([tests.read(index)[0] for index in range(len(tests))]).transpose(0, 3, 1, 2)
    net = load_network(trained.prefix, trained.epoch, image_shape=(SIDE, SIDE, 1))
    probabilities = softmax(net(mx.nd.array(images)).asnumpy())
    result = trained.verifications['test']
    own = probabilities[np.arange(len(tests)), tests.labels]
    assert result.loss == pytest.approx(-np.log(own).mean(), rel=1e-5)
    assert result.top1 == (probabilities.argmax(axis=1) == tests.labels).mean() > 0.6
    assert result.confusion.sum(axis=1).tolist() == [4, 4, 4, 4, 4, 0]


def test_every_epoch_is_told_and_kept(trained, caplog):
    records = [record for record in trained.history if 'verification' in record]
    assert [record['step'] for record in records] == [8, 16, 24, 32]
    figures = records[-1]['verification']['test']
    assert figures['top1'] == figures['accuracy'] == trained.verifications['test'].top1
    assert np.sum(figures['confusion']) == figures['images'] == 20
    assert classes_path(trained.prefix).read_text().split() == [*CLASSES]
    best = json.loads(json.dumps(mx.nd.load(f'{trained.prefix}-best-0000.params'), default=str))
    assert not any('fc7' in name for name in best)
    assert classes_path(f'{trained.prefix}-best').exists()
    assert json.loads(config_path(f'{trained.prefix}-best').read_text()) == json.loads(
        config_path(trained.prefix).read_text()
    )
    scalars, pictures = events(trained.prefix)
    assert [step for step, _ in scalars['test/loss']] == [8, 16, 24, 32]
    assert pictures['test/confusion'] == [8, 16, 24, 32]


def test_the_progress_line_has_the_epochs_means(digits, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        result = train(classes_config(digits, end_epoch=1), prefix=tmp_path / 'model')
    steps = [record for record in result.history if 'loss' in record]
    loss, accuracy = (np.mean([record[key] for record in steps]) for key in ('loss', 'accuracy'))
    top1 = result.verifications['test'].top1
    words = f'epoch 1/1: loss {loss:.3f}, train accuracy {accuracy:.1%}, test accuracy {top1:.1%}'
    assert words.replace('%', ' %') in caplog.text
    assert re.search(r'test accuracy [\d.]+ %, \d+ images/s', caplog.text)


def test_the_report_shows_the_matrix_by_the_names_of_the_classes(trained):
    text = write_run_report(trained.prefix).read_text()
    assert 'images of test by true class (rows) and predicted class' in text
    for name, counts in zip(CLASSES, trained.verifications['test'].confusion):
        cells = ''.join(f'<td class="number">{count}</td>' for count in counts)
        assert f'<tr><th scope="row">{name}</th>{cells}</tr>' in text
    low, high = trained.verifications['test'].top5_interval
    assert f'({100 * low:.2f} to {100 * high:.2f})' in text


@pytest.mark.parametrize(
    'settings',
    [
        {'data_workers': 0},
        {
            'ema': 0.9,
            'accumulate': 2,
            'per_batch_size': 3,
            'class_weights': 'balanced',
            'label_smoothing': 0.1,
        },
    ],
)
def test_a_run_that_goes_on_equals_one_that_was_not_broken_off(digits, tmp_path, settings):
    whole = train(classes_config(digits, max_steps=10, **settings), prefix=tmp_path / 'whole' / 'model')
    train(classes_config(digits, max_steps=3, **settings), prefix=tmp_path / 'parts' / 'model')
    parts = train(
        classes_config(digits, max_steps=10, **settings), prefix=tmp_path / 'parts' / 'model', resume=True
    )
    one, two = (mx.nd.load(f'{each.prefix}-0002.params') for each in (whole, parts))
    assert sorted(one) == sorted(two)
    assert [name for name in one if not np.array_equal(one[name].asnumpy(), two[name].asnumpy())] == []
    assert whole.verifications['test'].as_dict() == parts.verifications['test'].as_dict()


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize('devices', [1, 2])
def test_the_loss_of_a_step_is_the_weighted_mean_over_all_of_it(digits, parts, devices):
    """However a batch is cut, its loss and gradient are those of PyTorch's weighted mean."""
    x = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.var('data') / 255), num_hidden=6, name='fc1')
    weights = (0.2, 3.0, 1.0, 0.5, 2.0, 0.7)
    cfg = classes_config(digits, class_weights=weights, accumulate=parts, num_classes=6, wd=0.0, mom=0.0)
    trainer = Trainer(x, cfg, lambda step: 1.0, [mx.cpu(device) for device in range(devices)])
    draw = np.random.RandomState(0)
    images, labels = draw.randint(0, 256, (8, 1, SIDE, SIDE)).astype(np.uint8), draw.randint(0, 6, 8)
    pixels = images.reshape(8, -1) / 255
    weight = trainer.net.collect_params()['fc1_weight'].list_data()[0].asnumpy()
    probabilities = softmax(pixels @ weight.T)
    own = np.array(weights)[labels]
    error = own[:, None] * (probabilities - np.eye(6)[labels]) / own.sum()
    result = trainer.step(images, labels.astype(np.float32))
    mean = -(own * np.log(probabilities[np.arange(8), labels])).sum() / own.sum()
    assert result.losses.mean() == pytest.approx(mean, rel=1e-5)
    after = trainer.net.collect_params()['fc1_weight'].list_data()[0].asnumpy()
    np.testing.assert_allclose(after, weight - error.T @ pixels, rtol=1e-4, atol=1e-5)


def test_another_sampler_and_recomputing_go_with_it(digits, tmp_path):
    settings = {'data_sampler': 'balanced', 'images_per_identity': 2, 'max_steps': 4}
    runs = [
        train(
            classes_config(digits, recompute=recompute, **settings),
            prefix=tmp_path / str(recompute) / 'model',
        )
        for recompute in (False, True)
    ]
    losses = [[record['loss'] for record in each.history if 'loss' in record] for each in runs]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_an_older_run_with_names_leaves_none_to_one_without(digits, tmp_path):
    prefix = tmp_path / 'model'
    train(classes_config(digits, max_steps=2), prefix=prefix)
    assert classes_path(prefix).exists()
    plain = write_faces(tmp_path / 'plain')
    train(classes_config(plain, max_steps=2), prefix=prefix, force=True)
    assert not classes_path(prefix).exists()


def test_what_does_not_fit_is_refused(digits, folder, tmp_path):
    prefix = tmp_path / 'model'
    for error, words, cfg in (
        (ConfigError, 'holds pairs of images', classes_config(folder, val_targets=('val',))),
        (ConfigError, 'holds labelled images', config(digits, val_targets=('test',))),
        (ConfigError, 'class_weights has 2 weights', classes_config(digits, class_weights=(1, 2))),
        (ConfigError, 'test has no such figure', classes_config(digits, best='test:auc')),
        (DataError, 'says images of 32x32', classes_config(digits, image_shape=(96, 96, 1))),
    ):
        refused(error, words, lambda cfg=cfg: train(cfg, prefix=prefix), prefix)


def test_weights_for_other_images_are_refused(digits, trained, tmp_path):
    cfg = classes_config(
        digits, image_shape=(SIDE, SIDE, 3), pretrained=str(trained.prefix), pretrained_epoch=4
    )
    prefix = tmp_path / 'model'
    words = r'model-0004\.params takes images of 1 channel, and this run has 3; image_shape'
    refused(CheckpointError, words, lambda: train(cfg, prefix=prefix), prefix)


def test_a_fault_of_the_test_images_is_found_before_the_first_step(tmp_path, caplog):
    """A run that has neither test images nor pairs is told of the file that its loss would read."""
    prefix, (good, _) = tmp_path / 'run' / 'model', next(photographs())
    small = cv2.imencode('.png', np.zeros((SIDE - 1, SIDE, 3), np.uint8))[1].tobytes()
    for fault, words in (
        (b'junk', r'test\.rec, record 2 .* no readable image'),
        (small, 'is an image of 31x32 pixels'),
    ):
        tests = [(good, 0), (fault, 0)]
        write_records(tmp_path / 'set', photographs(), None, (SIDE, SIDE), test=tests)
        cfg = classes_config(tmp_path / 'set')
        refused(DataError, words, lambda cfg=cfg: train(cfg, prefix=prefix), prefix)
    (tmp_path / 'set' / 'test.rec').unlink()
    train(classes_config(tmp_path / 'set', max_steps=1), prefix=prefix)
    assert any('test.rec is not there' in record.getMessage() for record in caplog.records)


def test_a_run_does_not_resume_with_its_classes_in_another_order(tmp_path):
    folder, prefix = write_class_set(tmp_path / 'set'), tmp_path / 'run' / 'model'
    train(classes_config(folder, max_steps=2), prefix=prefix)
    write_classes(folder / 'classes.txt', CLASSES[::-1])
    cfg = classes_config(folder, max_steps=3)
    words = r'model-classes\.txt has other classes, or in another order'
    refused(CheckpointError, words, lambda: train(cfg, prefix=prefix, resume=True), prefix)


def test_names_that_do_not_fit_are_refused(digits, tmp_path):
    assert class_names(digits) == [*CLASSES]
    write_class_set(tmp_path / 'other')
    joined = f'{digits}:{tmp_path / "other"}'
    assert open_faces(joined).num_classes == 12
    with pytest.raises(DataError, match="both name 'ant'"):
        class_names(joined)
    (tmp_path / 'other' / 'classes.txt').write_text('a\nb\n')
    with pytest.raises(DataError, match='names 2 classes, and there are 6'):
        class_names(tmp_path / 'other')


def test_a_class_in_test_that_training_does_not_have_is_refused(tmp_path):
    write_class_set(tmp_path)
    (tmp_path / 'property').write_text(f'4,{SIDE},{SIDE}\n')
    with pytest.raises(DataError, match=r'property says 4 classes, and .*test\.rec has 5 identity records'):
        FaceDataset(tmp_path, name='test')
