"""Random changes to a training face that leave the person the same.

A step is a function `(image, rng, augmentation) -> image`. It returns the image itself where its setting is
off, and draws from `rng` only where it is on. A new kind of change is one field, one step in STEPS and one
row in KEYS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping, Tuple

import numpy as np

from config.errors import ConfigError
from recognition.images import load_cv2

KEYS = {  # field -> the config's key
    'mirror': 'data_rand_mirror',
    'shift': 'data_shift',
    'rotate': 'data_rotate',
    'brightness': 'data_brightness',
}
LIMITS = {'shift': np.inf, 'rotate': 180.0, 'brightness': 1.0}


@dataclass(frozen=True)
class Augmentation:
    """A fixed set of random changes, called as `augmentation(image, rng)` on uint8 RGB (H, W, 3).

    mirror: left and right change places for every second image.
    shift: whole pixels, up to this many along each axis; the border repeats.
    rotate: degrees to either side, about the middle of the image; the border repeats.
    brightness: share 0..1; pixels are scaled by 1 - brightness .. 1 + brightness and clipped at 255.
    """

    mirror: bool = True
    shift: int = 0
    rotate: float = 0.0
    brightness: float = 0.0

    def __post_init__(self) -> None:
        for field, high in LIMITS.items():
            value = getattr(self, field)
            if not 0 <= value <= high:
                limits = 'at least 0' if high == np.inf else f'between 0 and {high:g}'
                raise ConfigError(f'{KEYS[field]}={value!r} is out of range; it must be {limits}')
        if self.shift != int(self.shift):
            raise ConfigError(f'{KEYS["shift"]}={self.shift!r} is not a whole number of pixels')

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> Augmentation:
        """Take each setting from its `data_*` key; a key that `cfg` does not have leaves its change off."""
        off = {'mirror': False}
        return cls(**{field: cfg.get(key, off.get(field, 0)) for field, key in KEYS.items()})

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the changed image, uint8 and of the same shape; the one given is not written to."""
        for step in STEPS:
            image = step(image, rng, self)
        return image


def mirror(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Mirror left to right, with probability one half."""
    return load_cv2().flip(image, 1) if aug.mirror and rng.random() < 0.5 else image


def move(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Rotate and shift in one warp, so that the image is interpolated once; a shift alone stays exact."""
    if not aug.shift and not aug.rotate:
        return image
    cv2 = load_cv2()
    height, width = image.shape[:2]
    angle = rng.uniform(-aug.rotate, aug.rotate) if aug.rotate else 0.0
    warp = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    if aug.shift:
        warp[:, 2] += rng.integers(-int(aug.shift), int(aug.shift), size=2, endpoint=True)
    return cv2.warpAffine(
        image, warp, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def brighten(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Scale all pixels by one factor, round and clip."""
    if not aug.brightness:
        return image
    factor = rng.uniform(1 - aug.brightness, 1 + aug.brightness)
    return load_cv2().convertScaleAbs(image, alpha=factor)


Step = Callable[[np.ndarray, np.random.Generator, Augmentation], np.ndarray]
STEPS: Tuple[Step, ...] = (mirror, move, brighten)
