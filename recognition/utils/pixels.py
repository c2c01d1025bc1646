"""Preprocessing of pixels that a network leaves to its caller, from RGB in 0..255."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, NamedTuple, Tuple, Union

import numpy as np

from config.errors import CheckpointError, ConfigError
from config.preprocessing import PIXEL_KEYS
from config.reading import LONGEST_REASON

Numbers = Union[float, Tuple[float, ...]]  # one for all channels, or one for each
ORDERS = ('rgb', 'bgr')
# What an operator with a number, or one for each channel, makes of (x - mean) * scale; by its name in ONNX.
ARITHMETIC: Dict[str, Callable[[Any, Any, Any], Tuple[Any, Any]]] = {
    'Sub': lambda mean, scale, number: (mean + number / scale, scale),
    'Add': lambda mean, scale, number: (mean - number / scale, scale),
    'Mul': lambda mean, scale, number: (mean, scale * number),
    'Div': lambda mean, scale, number: (mean, scale / number),
}


class Pixels(NamedTuple):
    """(x - mean) * scale by the caller, with the channels in `order`; mean and scale are in that order, too.

    The default is for a network that takes RGB in 0..255, and may normalise it inside.
    """

    mean: Numbers = 0.0
    scale: Numbers = 1.0
    order: str = 'rgb'

    def __str__(self) -> str:
        order = '' if self.order == 'rgb' else f', {self.order.upper()}'
        if self == RAW._replace(order=self.order):
            return f'0..255 as they are{order}'
        return f'(x - {_words(self.mean)}) / {_words(1 / np.asarray(self.scale))}{order}'

    def words(self) -> str:
        """Return what is done to pixels x, with enough digits to do it again."""
        formula = f'(x - {_digits(self.mean)}) * {_digits(self.scale)}'
        return formula if self.order == 'rgb' else f'{formula} of BGR'

    def settings(self) -> Dict[str, Any]:
        """Return it as keys of the config."""
        return dict(zip(PIXEL_KEYS, self))

    def then(self, operator: str, number: Any) -> Pixels:
        """Return it with an operator of ARITHMETIC behind it."""
        mean, scale = ARITHMETIC[operator](
            *(np.asarray(each, np.float64) for each in (self.mean, self.scale, number))
        )
        return Pixels(_numbers(mean), _numbers(scale), self.order)

    def after(self, first: Pixels) -> Pixels:
        """Return what `first` and then this one do."""
        ordered = first.turned() if self.order == 'bgr' else first
        return ordered.then('Sub', self.mean).then('Mul', self.scale)

    def turned(self) -> Pixels:
        """Return it with the channels in the other order."""
        mean, scale = (each[::-1] if isinstance(each, tuple) else each for each in self[:2])
        return Pixels(mean, scale, ORDERS[1 - ORDERS.index(self.order)])

    def as_metadata(self) -> Dict[str, Any]:
        """Return it as JSON holds it under the key `pixels` of an exported file."""
        return self._asdict()

    def same_as(self, other: Pixels) -> bool:
        """Whether another one means the same, but for digits that a float32 does not hold."""
        return self.order == other.order and all(
            np.allclose(np.asarray(one), np.asarray(two), rtol=1e-6, atol=0)
            for one, two in zip(self[:2], other[:2])
        )

    def check(self, channels: int = 3) -> None:
        """Raise ConfigError unless it is valid for images of that many channels."""
        for name, value in (('mean', self.mean), ('scale', self.scale)):  # set by --input-mean, --input-scale
            try:
                numbers = np.atleast_1d(np.asarray(value, np.float64))
            except (TypeError, ValueError):
                numbers = np.empty(0)
            if numbers.shape not in ((1,), (channels,)) or not np.isfinite(numbers).all():
                raise ConfigError(f'{name}={value} (--input-{name}) must be 1 finite number, or {channels}')
        if not np.all(self.scale):
            raise ConfigError(f'scale={self.scale} (--input-scale) must not be 0')
        if self.order not in ORDERS:
            raise ConfigError(f'order={self.order!r} (--channels) must be {" or ".join(ORDERS)}')

    def planes(self, images: np.ndarray) -> np.ndarray:
        """Preprocess uint8 images (N, H, W, C), RGB or grey, to float32 (N, C, H, W)."""
        mean, scale = (np.asarray(value, np.float32).reshape(-1, 1, 1) for value in (self.mean, self.scale))
        ordered = images if self.order == 'rgb' else images[..., ::-1]
        return (np.ascontiguousarray(ordered.transpose(0, 3, 1, 2), np.float32) - mean) * scale


RAW = Pixels()
CENTRED = Pixels(127.5, 1 / 127.5)  # for arcface_torch and most networks derived from it


def pixels_of(text: str, source: object) -> Pixels:
    """Read the JSON of `as_metadata`; CheckpointError, which names the source, for anything else."""
    try:
        held = json.loads(text)
        numbers = [np.asarray(held[key], np.float64).tolist() for key in ('mean', 'scale')]
        mean, scale = (tuple(each) if isinstance(each, list) else each for each in numbers)
        found = Pixels(mean, scale, held['order'])
        found.check()
    except (ConfigError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError):
        raise CheckpointError(
            f'{source} is damaged: its record of pixels is invalid: {text[:LONGEST_REASON]}'
        ) from None
    return found


def _numbers(values: np.ndarray) -> Numbers:
    """Return one number where all channels have the same."""
    found = tuple(map(float, np.atleast_1d(values)))
    return found[0] if len(set(found)) == 1 else found


def _digits(numbers: Numbers) -> str:
    return f'({", ".join(map(_digits, numbers))})' if isinstance(numbers, tuple) else f'{numbers:.10g}'


def _words(numbers: Any) -> str:
    found = [f'{number:.6g}' for number in np.atleast_1d(numbers)]
    return found[0] if len(found) == 1 else f'({", ".join(found)})'
