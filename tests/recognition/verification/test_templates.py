"""Templates against the definitions by the letter: every score of every pair, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from config.errors import DataError
from recognition.verification import templates as module
from recognition.verification.lfw import normalise
from recognition.verification.templates import (
    identify,
    read_media,
    read_template_pairs,
    read_template_people,
    template_embeddings,
    verify_templates,
)


def images(seed=0, people=12):
    """Images of people, each with templates of several media: (embeddings, templates, media, person by template)."""
    rng = np.random.default_rng(seed)
    rows, templates, media, owner = [], [], [], {}
    for person in range(people):
        centre = rng.normal(size=16)
        for _ in range(int(rng.integers(1, 4))):
            owner[len(owner)] = person
            for _ in range(int(rng.integers(1, 4))):
                medium = int(rng.integers(0, 10**6))
                for _ in range(int(rng.integers(1, 4))):
                    rows.append(centre + 0.8 * rng.normal(size=16))
                    templates.append(len(owner) - 1)
                    media.append(medium)
    order = rng.permutation(len(rows))
    return np.array(rows)[order], np.array(templates)[order], np.array(media)[order], owner


def by_the_letter(embeddings, templates, media):
    made = {}
    for template in sorted(set(templates)):
        of_media = []
        for medium in set(media[templates == template]):
            of_media.append(embeddings[(templates == template) & (media == medium)].mean(0))
        mean = np.mean(of_media, axis=0)
        made[template] = mean / np.linalg.norm(mean)
    return made


def test_a_template_is_the_mean_over_its_media_of_their_means():
    embeddings, templates, media, _ = images()
    known, rows = template_embeddings(embeddings, templates, media)
    expected = by_the_letter(embeddings, templates, media)
    assert known.tolist() == list(expected)
    np.testing.assert_allclose(rows, list(expected.values()), atol=1e-6)


@pytest.mark.parametrize('block', [7, 4096])
def test_pairs_are_judged_by_their_cosines(monkeypatch, block):
    monkeypatch.setattr(module, 'BLOCK', block)
    embeddings, templates, media, owner = images()
    known, rows = template_embeddings(embeddings, templates, media)
    pairs = [(a, b) for a in owner for b in owner if a < b]
    same = [owner[a] == owner[b] for a, b in pairs]
    result = verify_templates(known, rows, *zip(*pairs), same)
    made = by_the_letter(embeddings, templates, media)
    scores = np.array([made[a] @ made[b] for a, b in pairs])
    right, wrong = scores[same], scores[~np.array(same)]
    assert result.pairs == len(pairs)
    assert set(result.tar_at_far) == {far for far in (0.1, 0.01, 0.001) if far * len(wrong) >= 1}
    for far, tar in result.tar_at_far.items():
        best = max(
            (right > t).mean() for t in [-2, *scores] if (wrong > t).mean() <= far
        )  # every threshold that allows no more
        assert tar == pytest.approx(best)
        assert result.tar_intervals[far][0] <= tar <= result.tar_intervals[far][1]
    assert result.auc == pytest.approx((right[:, None] > wrong[None]).mean())


@pytest.mark.parametrize('block', [5, 4096])
def test_a_search_is_that_of_every_probe_in_the_whole_gallery(monkeypatch, block):
    monkeypatch.setattr(module, 'BLOCK', block)
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(60, 8))
    gallery = normalise(centres[:20] + 0.5 * rng.normal(size=(20, 8)))
    whose = rng.integers(0, 60, 300)
    probes = normalise(centres[whose] + 0.7 * rng.normal(size=(300, 8)))
    found = identify(gallery, np.arange(20), probes, whose)
    scores = probes @ gallery.T
    mated = whose < 20
    own = scores[mated, whose[mated]]
    ranks = 1 + (scores[mated] > own[:, None]).sum(1)
    assert (found.mated, found.others) == (mated.sum(), (~mated).sum())
    assert found.rank == {r: pytest.approx((ranks <= r).mean()) for r in (1, 5, 10)}
    best = scores[~mated].max(1)
    assert set(found.tpir_at_fpir) == {0.1, 0.01}
    for fpir, tpir in found.tpir_at_fpir.items():
        allowed = [t for t in [-2, *best] if (best > t).mean() <= fpir]
        assert tpir == pytest.approx(((ranks == 1) & (own > min(allowed))).mean())
    assert 0.2 < found.tpir_at_fpir[0.1] < found.rank[1] < found.rank[5] < 1


def test_the_gallery_may_be_in_any_order():
    rng = np.random.default_rng(3)
    gallery, probes = normalise(rng.normal(size=(9, 4))), normalise(rng.normal(size=(50, 4)))
    whose, order = rng.integers(0, 12, 50), rng.permutation(9)
    one = identify(gallery, np.arange(9) * 3 % 11, probes, whose)
    assert one == identify(gallery[order], (np.arange(9) * 3 % 11)[order], probes, whose)


def test_files_of_insightface_are_read(tmp_path):
    (tmp_path / 'media.txt').write_text('1.jpg 1 69544\n2.jpg 1 19001\n3.jpg 7 19001\n')
    names, templates, media = read_media(tmp_path / 'media.txt')
    assert (names, templates.tolist(), media.tolist()) == (
        ['1.jpg', '2.jpg', '3.jpg'],
        [1, 1, 7],
        [69544, 19001, 19001],
    )
    (tmp_path / 'pairs.txt').write_text('1 11065 1\n1 11066 0\n')
    first, second, same = read_template_pairs(tmp_path / 'pairs.txt')
    assert (first.tolist(), second.tolist(), same.tolist()) == ([1, 1], [11065, 11066], [True, False])
    (tmp_path / 'people.txt').write_text('7 30\n12 -4\n')
    assert [each.tolist() for each in read_template_people(tmp_path / 'people.txt')] == [[7, 12], [30, -4]]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('1 2 1\n1 2\n', 'line 2 has not 3 fields'),
        ('', 'line 1 has not'),
        ('1 x 1\n', "line 1 has 'x'"),
        ('1 2 3\n', 'ends with 3'),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, text, words):
    (tmp_path / 'pairs.txt').write_text(text)
    with pytest.raises(DataError, match=words):
        read_template_pairs(tmp_path / 'pairs.txt')


def test_what_does_not_fit_is_named():
    embeddings, templates, media, _ = images()
    known, rows = template_embeddings(embeddings, templates, media)
    with pytest.raises(DataError, match='do not fit'):
        template_embeddings(embeddings[1:], templates, media)
    with pytest.raises(DataError, match='not finite'):
        template_embeddings(embeddings * np.nan, templates, media)
    with pytest.raises(DataError, match='template 999 has no image'):
        verify_templates(known, rows, [0, 999], [1, 2], [True, False])
    with pytest.raises(DataError, match='pairs of both kinds'):
        verify_templates(known, rows, [0, 1], [1, 2], [True, True])
    with pytest.raises(DataError, match='person 4 is twice in the gallery'):
        identify(rows[:3], [4, 1, 4], rows[3:5], [1, 2])
    with pytest.raises(DataError, match='no probe is of a person in the gallery'):
        identify(rows[:2], [4, 1], rows[3:5], [7, 2])


def test_ties_in_a_search():
    """A stranger with the same score is not higher; a score at the threshold is not above it."""
    gallery = np.eye(3)
    probes = np.array([[0.6, 0.6, 0.0], [0.0, 0.8, 0.6]] + [[0.8, 0.6, 0.0]] * 2 + [[0.6, 0.0, 0.8]] * 8)
    found = identify(gallery, [0, 1, 2], probes, [0, 1, *range(10, 20)])
    assert found.rank[1] == 1.0
    assert found.tpir_at_fpir == {0.1: 0.0}  # the second stranger has 0.8, too
    probes[1] = 0, 0.9, 0
    assert identify(gallery, [0, 1, 2], probes, [0, 1, *range(10, 20)]).tpir_at_fpir == {0.1: 0.5}
