"""Random changes to a training face that leave the person the same.

A step is a function `(image, rng, augmentation) -> image`, of RGB (H, W, 3) or grey (H, W). It returns the image itself
where its setting is off, and draws from `rng` only where it is on. A new kind of change is one field, one step in STEPS
and one row in KEYS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping, Tuple

import numpy as np

from config.errors import ConfigError
from recognition.data.images import JPEG, decode_image, encode_image, load_cv2

KEYS = {  # field -> the config's key
    'mirror': 'data_rand_mirror',
    'crop': 'data_crop',
    'shift': 'data_shift',
    'rotate': 'data_rotate',
    'brightness': 'data_brightness',
    'contrast': 'data_contrast',
    'saturation': 'data_saturation',
    'grey': 'data_grey',
    'blur': 'data_blur',
    'jpeg': 'data_jpeg',
    'jpeg_quality': 'data_jpeg_quality',
    'cutout': 'data_cutoff',
}
LIMITS = {
    'crop': 0.9,
    'shift': np.inf,
    'rotate': 180.0,
    'brightness': 1.0,
    'contrast': 1.0,
    'saturation': 1.0,
    'grey': 1.0,
    'blur': 1.0,
    'jpeg': 1.0,
    'cutout': np.inf,
}
# What InsightFace's data_color does: from 1 on, and besides from 2 on.
JITTER = {'brightness': 0.125, 'contrast': 0.125, 'saturation': 0.125}
STRONG = {'jpeg': 0.5, 'jpeg_quality': (2, 20)}

LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
SIGMAS = (0.5, 2.0)  # pixels, of the blur
FILLING = 128  # grey, of what is cut out


@dataclass(frozen=True)
class Augmentation:
    """A fixed set of random changes, called as `augmentation(image, rng)` on uint8 RGB (H, W, 3) or grey (H, W, 1).

    mirror: left and right change places for every second image.
    crop: share 0..0.9; up to so much of both sides is cut off, anywhere, and the rest scaled to the image's size.
    shift: whole pixels, up to this many along each axis; the border repeats.
    rotate: degrees to either side, about the middle of the image; the border repeats.
    brightness, contrast, saturation: shares 0..1; factors 1 - share .. 1 + share on the pixels, on their difference
    from the image's mean grey, and on their difference from their own grey; clipped at 0 and 255.
    grey, blur, jpeg: shares 0..1 of the images that lose their colours, are blurred (Gaussian, sigma 0.5 to 2 pixels),
    or are encoded as JPEG with a quality in `jpeg_quality` (first to last).
    cutout: pixels; in every second image a square of this side, anywhere, is grey (DeVries and Taylor 2017).
    """

    mirror: bool = True
    crop: float = 0.0
    shift: int = 0
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    jpeg: float = 0.0
    jpeg_quality: Tuple[int, int] = (20, 90)
    cutout: int = 0

    def __post_init__(self) -> None:
        for field, high in LIMITS.items():
            value = getattr(self, field)
            if not 0 <= value <= high:
                limits = 'at least 0' if high == np.inf else f'between 0 and {high:g}'
                raise ConfigError(f'{KEYS[field]}={value!r} is out of range; it must be {limits}')
        for field in ('shift', 'cutout'):
            if getattr(self, field) != int(getattr(self, field)):
                raise ConfigError(f'{KEYS[field]}={getattr(self, field)!r} is not a whole number of pixels')
        low, high = self.jpeg_quality
        if not 1 <= low <= high <= 100:
            raise ConfigError(
                f'data_jpeg_quality={self.jpeg_quality!r} must be the lowest and the highest quality, 1 to 100'
            )

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> Augmentation:
        """Take each setting from its `data_*` key; a key that `cfg` does not have leaves its change off.

        data_color is InsightFace's: 1 raises brightness, contrast and saturation to 0.125 at least, and from 2 on half
        of the images are encoded as JPEG with a quality from 2 to 20, too.
        """
        values = {'mirror': False, **{field: cfg[key] for field, key in KEYS.items() if key in cfg}}
        color = cfg.get('data_color', 0)
        if color:
            values.update({field: max(values.get(field, 0), share) for field, share in JITTER.items()})
        if color > 1:
            values.update(STRONG)
        return cls(**values)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the changed image, uint8 and of the same shape; the one given is not written to."""
        grey = image.shape[2] == 1
        image = image[:, :, 0] if grey else image  # OpenCV leaves out the axis of one channel
        for step in STEPS:
            image = step(image, rng, self)
        return image[:, :, None] if grey else image

    def mirrors(self, rng: np.random.Generator) -> bool:
        """Draw whether an image is mirrored, which is the first draw of an image."""
        return self.mirror and bool(rng.random() < 0.5)


def mirror(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Mirror left to right, with probability one half."""
    return load_cv2().flip(image, 1) if aug.mirrors(rng) else image


def move(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Rotate, shift and crop in one warp, so that the image is interpolated once; a shift alone stays exact."""
    if not (aug.shift or aug.rotate or aug.crop):
        return image
    cv2 = load_cv2()
    height, width = image.shape[:2]
    angle = rng.uniform(-aug.rotate, aug.rotate) if aug.rotate else 0.0
    cut = rng.uniform(0, aug.crop) if aug.crop else 0.0
    warp = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1 / (1 - cut))
    if aug.shift:
        warp[:, 2] += rng.integers(-int(aug.shift), int(aug.shift), size=2, endpoint=True)
    if cut:
        middle = rng.uniform(-cut / 2, cut / 2, size=2) * (
            width - 1,
            height - 1,
        )  # of the crop, from the image's
        warp[:, 2] -= warp[:, :2] @ middle
    return cv2.warpAffine(
        image, warp, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def colour(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Change brightness, then contrast, then saturation, as one linear map of the pixels, rounded and clipped once."""
    if not (aug.brightness or aug.contrast or aug.saturation or aug.grey):
        return image
    brightness, contrast, saturation = (
        rng.uniform(1 - share, 1 + share) if share else 1.0
        for share in (aug.brightness, aug.contrast, aug.saturation)
    )
    if aug.grey and rng.random() < aug.grey:
        saturation = 0.0
    if brightness == contrast == saturation == 1.0:
        return image
    scale = brightness * contrast
    luma = LUMA if image.ndim == 3 else np.ones(1)
    count = len(luma)
    matrix = scale * (saturation * np.eye(count) + (1 - saturation) * np.tile(luma, (count, 1)))
    offset = np.zeros((count, 1))
    if contrast != 1.0:
        offset += (1 - contrast) * brightness * float(np.atleast_1d(image.mean(axis=(0, 1))) @ luma)
    return load_cv2().transform(image, np.hstack([matrix, offset]))


def blur(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Blur by a Gaussian of a random width."""
    if not aug.blur or rng.random() >= aug.blur:
        return image
    return load_cv2().GaussianBlur(image, (0, 0), rng.uniform(*SIGMAS))


def compress(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Encode as JPEG of a random quality, and decode again."""
    if not aug.jpeg or rng.random() >= aug.jpeg:
        return image
    quality = int(rng.integers(*aug.jpeg_quality, endpoint=True))
    encoded, channels = encode_image(image, JPEG, quality=quality), 3 if image.ndim == 3 else 1
    return decode_image(encoded, 'an image that was encoded again', channels).reshape(image.shape)


def cut_out(image: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Put grey in place of a square about a random pixel, with probability one half; what lies outside is lost."""
    if not aug.cutout or rng.random() >= 0.5:
        return image
    middle, half = rng.integers(image.shape[:2]), int(aug.cutout) // 2
    top, left = np.maximum(middle - half, 0)
    bottom, right = middle + half
    image = image.copy()
    image[top:bottom, left:right] = FILLING
    return image


Step = Callable[[np.ndarray, np.random.Generator, Augmentation], np.ndarray]
STEPS: Tuple[Step, ...] = (mirror, move, colour, blur, compress, cut_out)
