"""Classes of images from one object, whatever the images are in and whichever engine is the fastest here.

predictor = Predictor.load('models/densenet121,0', classes='imagenet')
(prediction,) = predictor('elephant.jpg')
prediction.classes[0], prediction.probabilities[0]  # 'African_elephant', 0.98
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from config.checks import CLASS_SCORES
from config.errors import ConfigError, DataError, nearest
from recognition.data.class_names import read_classes
from recognition.data.image_sources import INTERPOLATIONS
from recognition.data.imagenet import COUNT, imagenet_classes
from recognition.embedding.agreement import trial_images
from recognition.embedding.runner import OnFault, Opened, Runner, finite_rows, open_network
from recognition.engines.base import Engine
from recognition.utils.files import PathLike, readable
from recognition.utils.pixels import Pixels
from recognition.verification.classification import are_probabilities, logarithms, softmax

__all__ = ['Prediction', 'Predictor']

logger = logging.getLogger(__name__)

IMAGENET = 'imagenet'
TRIALS = 4  # images that show whether a network ends in a softmax
UNNAMED = '%s has no names for its %d classes, which are numbered; --classes names them%s'
Classes = Union[PathLike, List[str], Tuple[str, ...]]


@dataclass(frozen=True)
class Prediction:
    """The classes of an image: its name, the most probable classes first, and the number of the first one."""

    name: str
    classes: Tuple[str, ...]
    probabilities: Tuple[float, ...]
    index: int


class Predictor(Runner):
    """Predicts the classes of images; any number of threads may call it, as they may an Embedder.

    classes: the names, by the numbers of the classes; `named` says whether they are names or the numbers themselves.
    """

    def __init__(
        self,
        opened: Opened,
        classes: Optional[Classes],
        top: int,
        batch_size: int,
        interpolation: Optional[str],
    ) -> None:
        """Make one of a network that is open; the other arguments are those of `load`."""
        engine, record = opened.engine, opened.record
        scores = finite_rows(engine, trial_images(engine.image_shape, TRIALS))
        method = interpolation or ('nearest' if record.keras else 'area')
        forward = partial(_forward, engine, are_probabilities(scores))
        super().__init__(engine, opened.network, forward, batch_size, INTERPOLATIONS[method])
        self.classes = _names(opened, classes, scores.shape[1])
        self.named = bool(classes or record.classes)
        self.top = min(top, len(self.classes))

    @classmethod
    def load(
        cls,
        path: PathLike,
        engine: str = 'auto',
        *,
        classes: Optional[Classes] = None,
        top: int = 5,
        batch_size: int = 32,
        threads: Optional[int] = None,
        image_shape: Optional[Sequence[Optional[int]]] = None,
        interpolation: Optional[str] = None,
        reference: Optional[PathLike] = None,
        output_layer: Optional[str] = None,
        pixels: Optional[Pixels] = None,
    ) -> Predictor:
        """Load a network that gives class scores; the arguments that are not named here are `Embedder.load`'s.

        classes: a file with a name on each line, a list, or 'imagenet' (the package imagenet-classes); None: the names
        that lie beside the network or in it, or else numbers. top: how many classes a prediction has. interpolation:
        how images of another size are stretched: 'nearest', which is Keras's load_img and the default of its networks,
        'bilinear', or 'area' (where both sides shrink, else bicubic).

        Raises ConfigError for a network that gives something else, for one of which nothing is known while `classes`
        is None, and for a wrong setting; DataError for names that are not as many as the scores.
        """
        if interpolation is not None and interpolation not in INTERPOLATIONS:
            known = ', '.join(INTERPOLATIONS)
            raise ConfigError(
                f'interpolation={interpolation!r} is not one of {known}{nearest(interpolation, INTERPOLATIONS)}'
            )
        if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or top < 1:
            raise ConfigError(f'top={top!r} must be a whole number, 1 at least')
        opened = open_network(
            path,
            engine,
            CLASS_SCORES,
            assumed=classes is not None,
            batch_size=batch_size,
            threads=threads,
            image_shape=image_shape,
            reference=reference,
            output_layer=output_layer,
            pixels=pixels,
        )
        return cls(opened, classes, int(top), batch_size, interpolation)

    def __call__(self, images: Any) -> List[Prediction]:
        """Predict the classes of one image or many, in their order; images, and errors, as for an Embedder."""
        return [self.prediction(*each) for each in self.stream(images)]

    def probabilities(self, images: Any) -> np.ndarray:
        """Return the probabilities of the classes, float32 (N, C); images, and errors, as for an Embedder."""
        return self._all_rows(images, 'predict')

    def prediction(self, name: str, probabilities: np.ndarray) -> Prediction:
        """Return what probabilities (C,) say of the image of that name; of equal ones the lower number comes first."""
        order = np.argsort(-probabilities, kind='stable')[: self.top]
        return Prediction(
            name,
            tuple(self.classes[number] for number in order),
            tuple(float(probabilities[number]) for number in order),
            int(order[0]),
        )

    def stream(self, images: Any, on_fault: Optional[OnFault] = None) -> Iterator[Tuple[str, np.ndarray]]:
        """Yield name and probabilities, float32 (C,), of each image; otherwise as an Embedder's."""
        for name, row in self.scores(images, on_fault):
            yield name, softmax(row[None])[0].astype(np.float32)

    def scores(self, images: Any, on_fault: Optional[OnFault] = None) -> Iterator[Tuple[str, np.ndarray]]:
        """Yield name and logits, float64 (C,); of a network that ends in a softmax, the logarithms of its output."""
        return super().stream(images, on_fault)


def _forward(engine: Engine, ends_in_softmax: bool, images: np.ndarray) -> np.ndarray:
    rows = finite_rows(engine, images)
    return logarithms(rows) if ends_in_softmax else rows


def _names(opened: Opened, classes: Optional[Classes], count: int) -> Tuple[str, ...]:
    """Return the name of each class; DataError where they are not as many as there are scores."""
    if classes is None and not opened.record.classes:
        hint = f', as --classes {IMAGENET} does for ImageNet' if count == COUNT else ''
        logger.warning(UNNAMED, opened.model, count, hint)
        return tuple(map(str, range(count)))
    source = f'the record of {opened.model}' if classes is None else 'the list of classes'
    found: Sequence[str] = opened.record.classes if classes is None else ()
    if isinstance(classes, (list, tuple)):
        found = classes
    elif classes == IMAGENET:
        found, source = imagenet_classes(), 'ImageNet'
    elif classes is not None:
        found, source = read_classes(classes), readable(classes)
    if len(set(found)) < len(found):
        raise DataError(f'{source} has {Counter(found).most_common(1)[0][0]!r} more than once')
    if len(found) != count:
        raise DataError(
            f'{source} names {len(found)} classes, and {opened.model} gives a score for each of {count}'
        )
    return tuple(found)
