"""Verification and identification of templates, several images or video frames of a person, as in NIST's IJB sets.

A template's embedding is the mean over its media of the mean over each medium's images, scaled to length 1 (Whitelam et
al. 2017, 'IARPA Janus Benchmark-B'; InsightFace's evaluation does the same). Scores are cosines; they are computed
block by block, so that no matrix of all against all has to be in memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Iterator, List, Sequence, Tuple, Union

import numpy as np

from config.errors import DataError
from config.reading import read_text
from recognition.utils.files import PathLike
from recognition.verification.confidence import Interval
from recognition.verification.lfw import Answers, normalise
from recognition.verification.roc import judge

Numbers = Union[Sequence[int], np.ndarray]

BLOCK = 4096  # rows of a block of scores
RANKS = (1, 5, 10)
FPIRS = (1e-1, 1e-2, 1e-3)
WHOLE_NUMBER = re.compile(r'[+-]?\d{1,18}')


@dataclass(frozen=True)
class TemplateVerification:
    """What pairs of templates say of a network (1:1); every share is within 0..1."""

    pairs: int
    tar_at_far: Dict[float, float]  # only the false accept rates that the number of different pairs supports
    tar_intervals: Dict[float, Interval]  # 95 %
    eer: float
    auc: float
    far: np.ndarray  # the ROC curve
    tar: np.ndarray


@dataclass(frozen=True)
class Identification:
    """What a search of probes in a gallery says of a network (1:N); every share is within 0..1.

    rank: share of the mated probes whose own template is among the first 1, 5, 10 of the gallery.
    tpir_at_fpir: share of the mated probes whose own template comes first and scores at least the threshold at which
    that share of the other probes (`fpir`) finds anyone at all (NIST FRVT 1:N, 'false positive identification rate').
    """

    mated: int
    others: int
    rank: Dict[int, float]
    tpir_at_fpir: Dict[float, float]


def template_embeddings(
    embeddings: np.ndarray, templates: Numbers, media: Numbers
) -> Tuple[np.ndarray, np.ndarray]:
    """Return (the templates' numbers in ascending order (T,), their embeddings (T, D), float32 and of length 1).

    embeddings: (N, D) of the images. templates, media: (N,), to which template and medium an image belongs; images of
    one medium in two templates count in each.
    """
    embeddings = np.asarray(embeddings)
    numbers, mediums = (np.asarray(each, np.int64) for each in (templates, media))
    if embeddings.ndim != 2 or not len(embeddings) == len(numbers) == len(mediums):
        raise DataError(
            f'embeddings of shape {embeddings.shape}, {len(numbers)} templates and {len(mediums)} media do not fit: '
            'each image has one of each'
        )
    if not len(embeddings):
        raise DataError('there are no images to make templates of')
    if not np.isfinite(embeddings).all():
        raise DataError('the embeddings hold values that are not finite')
    pairs, inverse = np.unique(np.stack([numbers, mediums]), axis=1, return_inverse=True)
    of_media = _means(embeddings.astype(np.float64), inverse.ravel(), pairs.shape[1])
    known, place = np.unique(pairs[0], return_inverse=True)
    return known, normalise(_means(of_media, place, len(known))).astype(np.float32)


def verify_templates(
    known: np.ndarray,
    embeddings: np.ndarray,
    first: Numbers,
    second: Numbers,
    same: Answers,
) -> TemplateVerification:
    """Judge pairs of templates (P,), by their numbers, with the answers `same` (P,).

    known, embeddings: as from `template_embeddings`. Raises DataError for a template that has no image, and where all
    pairs have the same answer.
    """
    answers = np.asarray(same, bool)
    rows = [template_rows(known, each) for each in (first, second)]
    if not len(rows[0]) == len(rows[1]) == len(answers):
        raise DataError(f'{len(rows[0])} and {len(rows[1])} templates do not make {len(answers)} pairs')
    if answers.all() or not answers.any():
        raise DataError('verification needs pairs of both kinds, of the same person and of different people')
    scores = np.concatenate(
        [
            np.einsum('pd,pd->p', embeddings[rows[0][part]], embeddings[rows[1][part]], dtype=np.float64)
            for part in _blocks(len(answers))
        ]
    )
    return TemplateVerification(pairs=len(answers), **judge(-scores, answers))


def identify(
    gallery: np.ndarray,
    gallery_people: Numbers,
    probes: np.ndarray,
    probe_people: Numbers,
) -> Identification:
    """Search probes (P, D) in a gallery (G, D), both of length 1, with one template for each person.

    *_people: whose template it is. A probe whose person is in the gallery is mated; the others are what false
    positives are counted on. A rank is one more than the number of strangers who score higher. Raises DataError for a
    person twice in the gallery, and where no probe is mated.
    """
    people, sought = (np.asarray(each, np.int64) for each in (gallery_people, probe_people))
    if len(people) != len(gallery) or len(sought) != len(probes):
        raise DataError(
            f'{len(people)} and {len(sought)} people do not fit {len(gallery)} and {len(probes)} templates'
        )
    order = np.argsort(people, kind='stable')
    twice = np.flatnonzero(np.diff(people[order]) == 0)
    if len(twice):
        raise DataError(
            f'person {people[order][twice[0]]} is twice in the gallery, which holds one template of each'
        )
    place = np.minimum(np.searchsorted(people[order], sought), len(people) - 1)
    mated = people[order][place] == sought
    if not mated.any():
        raise DataError('no probe is of a person in the gallery, so there is nothing to identify')
    own, rank, best = np.empty(len(probes)), np.empty(len(probes), np.int64), np.empty(len(probes))
    for part in _blocks(len(probes)):
        scores = probes[part] @ gallery.T
        own[part] = scores[np.arange(len(scores)), order[place[part]]]
        rank[part] = 1 + (scores > own[part, None]).sum(axis=1)
        best[part] = scores.max(axis=1)
    others = np.sort(best[~mated])[::-1]
    return Identification(
        mated=int(mated.sum()),
        others=len(others),
        rank={r: float((rank[mated] <= r).mean()) for r in RANKS if r <= len(gallery)},
        tpir_at_fpir={
            fpir: float(((rank[mated] == 1) & (own[mated] > _threshold(others, fpir))).mean())
            for fpir in FPIRS
            if fpir * len(others) >= 1 - 1e-9
        },
    )


def read_media(path: PathLike) -> Tuple[List[str], np.ndarray, np.ndarray]:
    """Read lines `image template medium`, as InsightFace's `*_face_tid_mid.txt`: (images, templates, media)."""
    rows = _fields(path, 3)
    return [row[0] for row in rows], _numbers(path, rows, 1), _numbers(path, rows, 2)


def read_template_pairs(path: PathLike) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read lines `template template 0|1`, as InsightFace's `*_template_pair_label.txt`: (first, second, same)."""
    rows = _fields(path, 3)
    first, second, same = (_numbers(path, rows, column) for column in range(3))
    wrong = np.flatnonzero((same != 0) & (same != 1))
    if len(wrong):
        raise DataError(f'{path}, line {wrong[0] + 1} ends with {same[wrong[0]]} where 0 or 1 is wanted')
    return first, second, same == 1


def read_template_people(path: PathLike) -> Tuple[np.ndarray, np.ndarray]:
    """Read lines `template person`: (templates, people)."""
    rows = _fields(path, 2)
    return _numbers(path, rows, 0), _numbers(path, rows, 1)


def _threshold(others: np.ndarray, fpir: float) -> float:
    """Return the score above which no more than that share of `others` (falling) are."""
    allowed = int(fpir * len(others) + 1e-9)
    return float(others[allowed]) if allowed < len(others) else -np.inf


def _means(rows: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Return the mean (count, D) of the rows of each group."""
    order = np.argsort(groups, kind='stable')
    starts = np.searchsorted(groups[order], np.arange(count))
    return np.add.reduceat(rows[order], starts, axis=0) / np.bincount(groups, minlength=count)[:, None]


def template_rows(known: np.ndarray, numbers: Numbers) -> np.ndarray:
    """Return at which places of `known` (ascending) numbers of templates stand; DataError for one that has no image."""
    wanted = np.asarray(numbers, np.int64)
    rows = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    missing = np.flatnonzero(known[rows] != wanted)
    if len(missing):
        raise DataError(f'template {wanted[missing[0]]} has no image')
    return rows


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def _fields(path: PathLike, count: int) -> List[List[str]]:
    rows = [line.split() for line in read_text(path, DataError).rstrip().splitlines()]
    odd = next((number for number, row in enumerate(rows, 1) if len(row) != count), None)
    if odd or not rows:
        raise DataError(f'{path}, line {odd or 1} has not {count} fields')
    return rows


def _numbers(path: PathLike, rows: List[List[str]], column: int) -> np.ndarray:
    try:
        return np.array([int(row[column]) for row in rows], np.int64)
    except (ValueError, OverflowError):
        odd = next(n for n, row in enumerate(rows, 1) if not WHOLE_NUMBER.fullmatch(row[column]))
        raise DataError(
            f'{path}, line {odd} has {rows[odd - 1][column]!r} where a number is wanted'
        ) from None
