"""A teacher's outputs: those of the very images that a step trains on, computed once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError, ConfigError
from recognition.checkpoint.training_state import load_state
from recognition.data import Augmentation, open_faces
from recognition.data.class_names import FILE, write_classes
from recognition.data.dataset import FaceLoader
from recognition.data.writer import write_records
from recognition.embedding import teacher as teachers
from recognition.embedding.teacher import open_teacher
from recognition.train import main, train
from recognition.verification.classification import softmax
from tests.helpers.classifiers import NAMES, record, write_files
from tests.helpers.small_network import SHAPE, SIZE, make_values, write_checkpoint, write_foreign
from tests.helpers.training import command, config

import mxnet as mx

PEOPLE, PHOTOS = 4, 5


def write_faces(folder, seed=0):
    """Write a data set of images of the small network's size."""
    images = np.random.RandomState(seed).randint(0, 256, (PEOPLE * PHOTOS, *SHAPE)).astype(np.uint8)
    encoded = [(cv2.imencode('.png', image)[1].tobytes(), n // PHOTOS) for n, image in enumerate(images)]
    write_records(folder, encoded, None, SHAPE)
    return folder


@pytest.fixture
def data(tmp_path):
    return write_faces(tmp_path / 'data')


def settings(data, model, **more):
    own = {'dataset_path': str(data), 'image_shape': SHAPE, 'emb_size': SIZE, 'num_classes': PEOPLE}
    return resolve('r18', 'folder', 'cosface', **{**own, 'teacher': str(model), 'per_batch_size': 6, **more})


def loader_of(cfg, data, **more):
    dataset = open_faces(data, cfg.image_shape)
    return FaceLoader(dataset, cfg.per_batch_size, Augmentation.from_config(cfg), seed=3, workers=0, **more)


def forbid(monkeypatch):
    def fail(*_):
        raise AssertionError('the teacher is asked again')

    monkeypatch.setattr(teachers, 'checked_embed', fail)


@pytest.mark.parametrize('kind', ['checkpoint', 'onnx'])
@pytest.mark.parametrize('more', [{}, {'sampler': 'balanced', 'per_identity': 3}])
def test_the_outputs_are_those_of_the_images_that_the_loader_gives(cache, data, small, kind, more):
    """With mirroring alone, what the teacher sees is what the student sees."""
    cfg = settings(data, getattr(small, kind))
    with loader_of(cfg, data, **more) as loader:
        of = open_teacher(cfg, loader, ())
        mirrored = []
        for rank in range(2):
            loader.share(rank, 2)
            for step in range(2 * loader.batches_per_epoch):
                epoch, batch = divmod(step, loader.batches_per_epoch)
                images, _ = next(loader.epoch(epoch, start=batch))
                expected = small.values.embed(images.transpose(0, 2, 3, 1))
                np.testing.assert_allclose(of(step), expected, rtol=1e-4, atol=1e-4)
                mirrored += [draw.random() < 0.5 for draw in loader.drawn(epoch, batch)[1]]
    assert 0 < sum(mirrored) < len(mirrored)


def test_what_was_computed_is_kept_for_the_same_network_and_data_alone(
    cache, data, small, tmp_path, monkeypatch
):
    cfg = settings(data, small.checkpoint)
    with loader_of(cfg, data) as loader:
        first = open_teacher(cfg, loader, ())(0)
        with monkeypatch.context() as patch:
            forbid(patch)
            np.testing.assert_array_equal(open_teacher(cfg, loader, ())(0), first)
        other = write_checkpoint(tmp_path / 'other', 1, make_values(seed=9))
        assert np.abs(open_teacher(settings(data, other), loader, ())(0) - first).max() > 0.01
        plain = settings(data, small.checkpoint, data_rand_mirror=False)
        with monkeypatch.context() as patch:
            forbid(patch)
            with pytest.raises(AssertionError, match='asked again'):
                open_teacher(plain, loader, ())
    assert len(list((cache / 'teacher').glob('*.npy'))) == 2


def test_a_file_of_others_is_given_the_pixels_that_it_wants(cache, data, small, tmp_path):
    model = write_foreign(tmp_path / 'net.onnx', small.values)
    first, second = settings(data, small.checkpoint), settings(data, model)
    with loader_of(first, data) as loader:
        found, wanted = (open_teacher(cfg, loader, ())(0) for cfg in (second, first))
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        raw = write_foreign(model, small.values, inside=('Sub_1', 'Mul_2'))  # at the same path
        np.testing.assert_allclose(open_teacher(settings(data, raw), loader, ())(0), wanted, atol=1e-4)


def test_other_images_are_another_data_set(cache, data, small, tmp_path, monkeypatch):
    cfg = settings(data, small.checkpoint)
    with loader_of(cfg, data) as loader:
        open_teacher(cfg, loader, ())
    write_faces(data, seed=1)
    forbid(monkeypatch)
    with loader_of(cfg, data) as loader, pytest.raises(AssertionError, match='asked again'):
        open_teacher(cfg, loader, ())


def test_a_damaged_file_of_the_cache_is_named(cache, data, small):
    cfg = settings(data, small.checkpoint)
    with loader_of(cfg, data) as loader:
        open_teacher(cfg, loader, ())
        (path,) = (cache / 'teacher').glob('*.npy')
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(CheckpointError, match='npy is damaged; remove it'):
            open_teacher(cfg, loader, ())


def test_a_signal_ends_it_and_leaves_nothing(cache, data, small):
    cfg = settings(data, small.checkpoint)
    with loader_of(cfg, data) as loader, pytest.raises(KeyboardInterrupt):
        open_teacher(cfg, loader, (1,))
    assert not (cache / 'teacher').exists()


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ({'emb_size': 7}, f'gives {SIZE} values for an image, and this run has emb_size=7$'),
        ({'net_output': 'classifier'}, f'gives {SIZE} values for an image, and this run has num_classes=4$'),
        ({'teacher': 'nowhere,1'}, 'nowhere.* does not exist'),
        ({'teacher': 'nowhere.onnx'}, '^nowhere.onnx does not exist'),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(cache, data, small, more, words):
    cfg = settings(data, small.checkpoint, **more)
    with loader_of(cfg, data) as loader, pytest.raises((ConfigError, CheckpointError), match=words) as caught:
        open_teacher(cfg, loader, ())
    assert '\n' not in str(caught.value)
    assert not list(cache.glob('teacher/*.npy'))


def test_a_teacher_for_images_of_another_size_is_refused(cache, folder, small):
    cfg = settings(folder, small.onnx, image_shape=(32, 32, 3))
    with (
        loader_of(cfg, folder) as loader,
        pytest.raises(
            (ConfigError, CheckpointError), match=r'images of 32x32x3 do not fit .*, which takes 14x12x3$'
        ),
    ):
        open_teacher(cfg, loader, ())


@pytest.mark.parametrize('kind', ['checkpoint', 'onnx'])
def test_a_teacher_of_another_kind_is_refused(cache, data, tmp_path, kind):
    for known, head, words in (
        ('class scores', 'E', 'gives class scores, not an embedding'),
        ('embedding', 'classifier', 'gives an embedding, not class scores'),
    ):
        _, files = write_files(tmp_path, known)
        record(tmp_path / 'model', 'classifier' if known == 'class scores' else 'E', names=())
        cfg = settings(data, files[kind], net_output=head, num_classes=SIZE)
        with loader_of(cfg, data) as loader, pytest.raises(ConfigError, match=words):
            open_teacher(cfg, loader, ())
    assert not list(cache.glob('teacher/*.npy'))


@pytest.mark.parametrize('kind', ['checkpoint', 'onnx'])
def test_a_teacher_of_other_classes_is_refused(cache, tmp_path, kind):
    """The names of joined sets are those of all of them."""
    folders = [write_faces(tmp_path / 'data'), write_faces(tmp_path / 'more')]
    both = ':'.join(map(str, folders))
    _, files = write_files(tmp_path)
    cfg = settings(both, files[kind], net_output='classifier', num_classes=SIZE)
    for number, folder in enumerate(folders):
        write_classes(folder / FILE, NAMES[number * PEOPLE :][:PEOPLE])
    with loader_of(cfg, both) as loader:
        assert open_teacher(cfg, loader, ())(0).shape == (6, SIZE)
        write_classes(folders[1] / FILE, NAMES[: PEOPLE - 1 : -1])
        with pytest.raises(ConfigError, match=r'^the classes of the teacher .* same order$'):
            open_teacher(cfg, loader, ())


def test_probabilities_of_a_teacher_are_taken_as_such(cache, data, tmp_path):
    """The softmax of what a teacher gives is that of its own softmax."""
    values = make_values()
    checkpoint = write_checkpoint(tmp_path / 'model', 1, values)
    symbol, args, auxs = mx.model.load_checkpoint(str(tmp_path / 'model'), 1)
    mx.model.save_checkpoint(str(tmp_path / 'soft'), 1, mx.sym.softmax(symbol, name='soft'), args, auxs)
    found = []
    for model in (checkpoint, str(tmp_path / 'soft,1')):
        cfg = settings(data, model, net_output='classifier', num_classes=SIZE)
        with loader_of(cfg, data) as loader:
            found.append(softmax(open_teacher(cfg, loader, ())(0)))
    assert np.ptp(found[0]) > 0.1
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


def test_values_that_are_not_finite_are_refused(cache, data, tmp_path):
    values = make_values()
    values.bias[0] = np.inf
    model = write_checkpoint(tmp_path / 'model', 1, values)
    with loader_of(settings(data, model), data) as loader, pytest.raises(CheckpointError, match='not finite'):
        open_teacher(settings(data, model), loader, ())


@pytest.fixture(scope='module')
def taught(folder, tmp_path_factory):
    prefix = tmp_path_factory.mktemp('teacher') / 'model'
    train(config(folder, max_steps=8), prefix=prefix, verify=False)
    return {'teacher': f'{prefix},1', 'distill': 0.75}


def test_a_distillation_in_pieces_equals_one_in_one(cache, folder, tmp_path, taught, monkeypatch):
    states = []
    for pieces in ((12,), (3, 12)):
        prefix = tmp_path / str(pieces) / 'model'
        for steps in pieces:
            cfg = config(folder, max_steps=steps, data_workers=0, **taught)
            train(cfg, prefix=prefix, resume=steps != pieces[0], verify=False)
        states.append(load_state(prefix, 2).arrays)
    assert [key for key, value in states[0].items() if not np.array_equal(value, states[1][key])] == []
    with pytest.raises(CheckpointError, match=r'distill=0.75, and this run has 0.5'):
        train(config(folder, **{**taught, 'distill': 0.5}), prefix=prefix, resume=True)


def test_the_command_line_names_the_teacher(cache, folder, tmp_path, taught):
    words = command(folder, tmp_path / 'model', max_steps=2, **taught)[5:]
    assert main([*words, '--no-verify']) == 0
    for given, said in (
        ({**taught, 'teacher': 'no.onnx'}, 'no.onnx does not exist'),
        ({'distill': 0.1}, 'needs teacher'),
        ({**taught, 'distill_temperature': 2.0}, 'distill_temperature=2 softens class scores, and this run'),
    ):
        with pytest.raises((CheckpointError, ConfigError), match=said):
            main(command(folder, tmp_path / 'other', **given)[5:])
    prefix = taught['teacher'].rpartition(',')[0]
    with pytest.raises(
        ConfigError, match=r'^--teacher .*model,1 would be replaced; choose another --output$'
    ):
        main([*command(folder, prefix, **taught)[5:], '--overwrite'])
