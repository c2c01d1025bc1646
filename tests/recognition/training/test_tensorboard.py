"""TensorBoard: what its files hold, and that they change nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from config.errors import MissingExtra
from recognition.train import train
from recognition.training.tensorboard import Board, board_path, mosaic
from recognition.utils.packages import install_command
from tests.helpers.training import config


def events(prefix):
    """Return {tag: [(step, value)]} of the scalars, and {tag: [step]} of the pictures, without what is hidden."""
    from tensorboardX.proto.event_pb2 import Event

    scalars, pictures = {}, {}
    for path in sorted(board_path(prefix).iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], 'little')
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                if value.HasField('image'):
                    pictures.setdefault(value.tag, []).append(event.step)
                else:
                    scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    return scalars, pictures


def test_scalars_and_pictures_of_a_run_that_goes_on(folder, tmp_path):
    prefix = tmp_path / 'model'
    settings = {'val_targets': ('val',), 'tensorboard': True}
    first = train(config(folder, max_steps=4, **settings), prefix=prefix)
    train(config(folder, max_steps=6, **settings), prefix=prefix, resume=True)
    scalars, pictures = events(prefix)
    assert [step for step, _ in scalars['training/loss']] == [1, 2, 3, 4, 5, 6]
    losses = [record['loss'] for record in first.history if 'loss' in record]
    np.testing.assert_allclose([value for _, value in scalars['training/loss'][:4]], losses, rtol=1e-6)
    assert {'training/lr', 'training/norm', 'training/accuracy', 'val/accuracy', 'val/eer', 'val/auc'} <= set(
        scalars
    )
    assert pictures == {'faces': [1, 5], 'roc': [4, 6]}


def test_weights_are_the_same_with_and_without(folder, tmp_path):
    for name, tensorboard in (('with', True), ('without', False)):
        cfg = config(folder, max_steps=4, val_targets=('val',), tensorboard=tensorboard)
        train(cfg, prefix=tmp_path / name / 'model')
    one, other = ((tmp_path / name / 'model-0001.params').read_bytes() for name in ('with', 'without'))
    assert one == other


def test_a_step_that_was_left_out_is_counted(tmp_path):
    board = Board(board_path(tmp_path / 'model'))
    board.record({'step': 3, 'epoch': 1, 'skipped': 'the loss became nan'})
    board.close()
    assert events(tmp_path / 'model')[0] == {'training/skipped': [(3, 1.0)]}


@pytest.mark.parametrize(('count', 'shape'), [(3, (3, 2, 6)), (8, (3, 2, 16)), (11, (3, 4, 16))])
def test_mosaic(count, shape):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8) + 1
    whole = mosaic(images)
    assert whole.shape == shape
    assert whole[0, ::2, ::2].reshape(-1).tolist()[:count] == list(range(1, count + 1))
    assert (whole > 0).sum() == images.size


def test_without_tensorboardx_a_sentence_says_how_to_get_it():
    code = 'import sys; sys.modules["tensorboardX"] = None\n'
    code += 'from recognition.training.tensorboard import Board; Board("x")'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert MissingExtra.__name__ in done.stderr
    assert install_command('train') in done.stderr
