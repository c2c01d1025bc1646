"""The nearest neighbours by cosine, as numpy finds them one by one."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from config.errors import ConfigError, DataError, MissingExtra
from recognition.embedding.gallery import Gallery
from recognition.embedding.storage import Embedded, save_embeddings
from recognition.utils.packages import install_command

ROWS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
NAMES = [f'{number}.jpg' for number in range(50)]


@pytest.fixture
def gallery(tmp_path):
    about = {'network': 'abcdef', 'mirror': 'concat'}
    save_embeddings(tmp_path / 'emb.npz', Embedded(NAMES, ROWS, about))
    return Gallery(tmp_path / 'emb.npz')


def test_the_nearest_are_those_of_numpy(gallery):
    queries = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(ROWS, axis=1)
    cosines = queries @ ROWS.T / lengths
    for query, found in zip(cosines, gallery.search(queries, 7)):
        order = np.argsort(-query)[:7]
        assert [each.name for each in found] == [NAMES[place] for place in order]
        np.testing.assert_allclose([each.cosine for each in found], query[order], atol=1e-6)


def test_an_image_finds_itself_first_at_any_length(gallery):
    for place, (first, *_) in enumerate(gallery.search(3 * ROWS, 2)):
        assert first.name == NAMES[place]
        assert first.cosine == pytest.approx(1)
        assert first.cosine <= 1


def test_no_more_than_there_are(gallery):
    assert len(gallery) == 50
    assert len(gallery.search(ROWS[:1], 80)[0]) == 50
    assert gallery.mirror == 'concat'


def test_another_network_is_one_sentence(gallery):
    gallery.check_network('abcdef', 'model,7')
    with pytest.raises(
        ConfigError, match=r'emb\.npz was made by another network \(abcdef\) than model,8 \(fedcba\)'
    ):
        gallery.check_network('fedcba', 'model,8')


def test_what_cannot_be_searched_is_one_sentence(gallery, tmp_path):
    with pytest.raises(ConfigError, match='top=0'):
        gallery.search(ROWS, 0)
    with pytest.raises(DataError, match=r'\(2, 5\) do not fit embeddings of 6'):
        gallery.search(ROWS[:2, :5])
    save_embeddings(tmp_path / 'unknown.npz', Embedded(NAMES, ROWS, {}))
    with pytest.raises(DataError, match='does not say which network'):
        Gallery(tmp_path / 'unknown.npz')
    save_embeddings(tmp_path / 'empty.npz', Embedded([], ROWS[:0], {'network': 'a'}))
    with pytest.raises(DataError, match='holds no embeddings'):
        Gallery(tmp_path / 'empty.npz')


def test_without_faiss_the_pip_line_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('search'))):
        Gallery(tmp_path / 'emb.npz')
