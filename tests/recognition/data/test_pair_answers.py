"""Answers of verification sets as whole numbers, which InsightFace's own reader takes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from recognition.data.images import PNG, encode_image
from recognition.data.pair_sets import load_bin
from tests.helpers.noise import face

INTEGER_FORMS = {
    'integers': lambda answers: [int(answer) for answer in answers],
    'numpy integers': lambda answers: [np.int64(answer) for answer in answers],
    'array of integers': lambda answers: np.array(answers, np.int32),
    'array of large-endian integers': lambda answers: np.array(answers, '>i8'),
    'array of uint8': lambda answers: np.array(answers, np.uint8),
}


@pytest.mark.parametrize('protocol', [0, 2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize('answers', INTEGER_FORMS)
def test_ones_and_zeros_are_answers_too(tmp_path, answers, protocol):
    images = [encode_image(face(number), PNG) for number in range(6)]
    path = tmp_path / 'set.bin'
    path.write_bytes(pickle.dumps((images, INTEGER_FORMS[answers]([True, False, True])), protocol))
    assert load_bin(path)[1].tolist() == [True, False, True]
