"""License and origin of weights, from the import to exported files, embeddings, galleries and trainings."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError
from recognition.commands.embed import main as embed
from recognition.commands.export import main as export
from recognition.commands.import_weights import main as import_weights
from recognition.commands.optimize import main as optimize
from recognition.commands.search import main as search
from recognition.embedding.gallery import Gallery
from recognition.embedding.storage import load_embeddings
from recognition.engines.record import Record, checkpoint_record, metadata_record, write_provenance
from recognition.export.onnx_export import read_metadata
from recognition.train import train
from recognition.utils.run_paths import origin_path
from tests.helpers.exported import SHAPE, save_tiny
from tests.helpers.narrow import small
from tests.helpers.training import config, write_faces

LICENSE, ORIGIN = 'for research alone', 'made up in a test'
WORDS = ['--license', LICENSE, '--origin', ORIGIN]
ENGINE = ['--engine', 'onnxruntime']
BOTH = {'license': LICENSE, 'origin': ORIGIN}

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture
def old(save, tmp_path):
    """Return the prefix of a checkpoint of r18, and the words that import it."""
    prefix = save(small('r18', image_shape=SHAPE), tmp_path / 'old')
    settings = ('net_multiplier=0.125', 'emb_size=24', 'image_shape=32,32,3')
    given = [word for setting in settings for word in ('--config', setting)]
    return prefix, ['insightface', f'{prefix},1', '--network', 'r18', *given, '--overwrite', '-o']


def test_from_the_import_to_a_search(old, tmp_path, capsys):
    prefix, words = old[0], [*old[1], str(tmp_path / 'new')]
    import_weights([*words, *WORDS])
    assert json.loads(origin_path(tmp_path / 'new').read_text()) == BOTH
    cv2.imwrite(str(tmp_path / 'face.png'), np.full(SHAPE, 90, np.uint8))
    new, net, gallery = f'{tmp_path / "new"},0', str(tmp_path / 'net.onnx'), str(tmp_path / 'gallery.npz')
    export(['--model', new, '-o', net])
    told = read_metadata(net)
    assert (told['license'], told['origin']) == (LICENSE, ORIGIN)
    for model in (new, net):
        embed([str(tmp_path / 'face.png'), '--model', model, '-o', gallery, '--overwrite', *ENGINE])
        about = load_embeddings(gallery).about
        assert (about['license'], about['origin']) == (LICENSE, ORIGIN)
    assert Gallery(gallery).provenance == BOTH
    capsys.readouterr()
    search([str(tmp_path / 'face.png'), '--gallery', gallery, '--model', net, *ENGINE])
    assert f'weights of the network: license: {LICENSE}; origin: {ORIGIN}\n' in capsys.readouterr().out

    export(['--model', new, '-o', net, '--overwrite', '--license', 'another'])
    assert (read_metadata(net)['license'], read_metadata(net)['origin']) == ('another', ORIGIN)
    optimize(['--model', new, '-o', str(tmp_path / 'fast')])
    assert checkpoint_record(tmp_path / 'fast').provenance == BOTH
    write_provenance(prefix, {'license': 'of the source'})
    import_weights([*words, '--origin', ORIGIN])
    assert checkpoint_record(tmp_path / 'new').provenance == {'license': 'of the source', 'origin': ORIGIN}
    origin_path(prefix).unlink()
    import_weights(words)
    assert not origin_path(tmp_path / 'new').exists()  # those of an older network are not of this one


def test_a_training_keeps_what_it_starts_from(old, tmp_path):
    folder = write_faces(tmp_path / 'faces')
    first = config(folder, end_epoch=1)
    train(first, prefix=tmp_path / 'first')
    assert not origin_path(tmp_path / 'first').exists()
    write_provenance(tmp_path / 'first', BOTH)
    start = {'pretrained': str(tmp_path / 'first'), 'pretrained_epoch': 1}
    train(config(folder, end_epoch=1, **start), prefix=tmp_path / 'run')
    assert checkpoint_record(tmp_path / 'run').provenance == BOTH
    train(first, prefix=tmp_path / 'run', force=True)
    assert checkpoint_record(tmp_path / 'run').provenance == {}


def test_what_is_written_is_read():
    for record in (Record('embedding', **BOTH), Record(license=LICENSE), Record()):
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in record.as_metadata().items()}
        assert metadata_record(texts, 'net.onnx') == record


@pytest.mark.parametrize('text', ['{', '[]', '{"license": 3}', '"free"'])
def test_a_damaged_file_is_one_sentence(text, tmp_path):
    prefix = save_tiny(tmp_path / 'model')
    origin_path(prefix).write_text(text)
    with pytest.raises(CheckpointError, match=r'model-origin\.json is damaged') as caught:
        export(['--model', f'{prefix},1', '-o', str(tmp_path / 'net.onnx'), '--image-size', '32,32'])
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'net.onnx').exists()


@pytest.mark.parametrize('text', ['', ' \n', 'caf\udce9'])
def test_words_that_are_none_are_refused(text, tmp_path):
    with pytest.raises(ConfigError, match=r'--license: .* must be text in UTF-8, and not empty'):
        export(['--model', 'm,1', '-o', str(tmp_path / 'net.onnx'), '--license', text])


def test_digits_stay_text(tmp_path):
    prefix = save_tiny(tmp_path / 'model')
    words = ['--model', f'{prefix},1', '-o', str(tmp_path / 'net.onnx'), '--image-size', '32,32']
    export([*words, '--license', '2.0', '--origin', 'null'])
    told = read_metadata(tmp_path / 'net.onnx')
    assert (told['license'], told['origin']) == ('2.0', 'null')
