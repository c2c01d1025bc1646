"""Keras's DenseNet names what is in a photograph, after the article on keras.applications.

python examples/articles/keras_densenet.py WEIGHTS.h5 elephant.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

from recognition.cli import run
from config.errors import ConfigError
from recognition.commands import import_weights
from recognition.predict import Predictor

PREFIX = 'densenet121'


def main() -> None:
    """Import the weights once, then predict."""
    if len(sys.argv) < 3:
        raise ConfigError('give the weights of DenseNet-121, a file of Keras, and one photograph at least')
    weights, *photographs = sys.argv[1:]
    if not Path(f'{PREFIX}-0000.params').exists():
        import_weights.main(['keras', weights, '--network', 'keras_densenet121', '--output', PREFIX])
    with Predictor.load(f'{PREFIX},0', classes='imagenet', top=5) as predictor:
        for prediction in predictor(photographs):
            print('Input image shape:', (1, *predictor.image_shape))
            print('argmax:', prediction.index)
            print('Predicted:', list(zip(prediction.classes, prediction.probabilities)))


if __name__ == '__main__':
    run(main)
