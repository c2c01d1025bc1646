"""Encoded images to arrays and back."""

from __future__ import annotations

import numpy as np

from recognition.data.images import PNG, decode_image, encode_image


def test_grey_is_the_weighted_sum_of_the_colours():
    image = np.random.RandomState(0).randint(0, 256, (9, 7, 3)).astype(np.uint8)
    grey = decode_image(encode_image(image, PNG), 'image', channels=1)
    assert (grey.shape, grey.dtype) == ((9, 7, 1), np.uint8)
    assert np.abs(grey[..., 0] - image @ [0.299, 0.587, 0.114]).max() <= 0.51
    again = decode_image(encode_image(grey[..., 0], PNG), 'image', channels=1)
    np.testing.assert_array_equal(again, grey)
