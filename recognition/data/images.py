"""Encoded images to arrays and back, by OpenCV, in RGB."""

from __future__ import annotations

from types import ModuleType
from typing import Optional

import numpy as np

from config.errors import DataError
from recognition.data.image_headers import FORMATS, READERS, declared_size, size_fault
from recognition.utils.packages import require

PNG, JPEG = '.png', '.jpg'
JPEG_BEGIN, JPEG_END = b'\xff\xd8', b'\xff\xd9'


def load_cv2() -> ModuleType:
    """Return the cv2 module; MissingExtra says how to install it."""
    return require('cv2', 'images', 'decoding images')


def decode_image(encoded: bytes, where: str, channels: int = 3) -> np.ndarray:
    """Decode an image of one of image_headers' FORMATS to uint8 RGB (H, W, 3); grey becomes three equal channels.

    With channels=1 to grey (H, W, 1): 0.299 R + 0.587 G + 0.114 B.

    `where` names the image in the DataError that is raised when it cannot be decoded, or has more pixels than
    `image_headers.max_pixels`. A JPEG carries no
    checksum, so damage in the middle of its data may decode to a wrong image unnoticed; a PNG's does not.
    """
    cv2 = load_cv2()
    image: Optional[np.ndarray] = None
    # without its end mark a JPEG is cut short, which OpenCV does not see when other bytes follow, zeros say
    cut = encoded.startswith(JPEG_BEGIN) and encoded.rfind(JPEG_END) < 0
    size = declared_size(encoded)
    fault = size and size_fault(size)
    if fault:
        raise DataError(f'{where} is an image of {fault}')
    if size and not cut:  # OpenCV aborts on an empty buffer
        try:
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
    if image is None:
        what = f'{len(encoded)} bytes that are no readable image' if encoded else 'no image'
        other = f', or not {FORMATS}' if encoded and not encoded.startswith(tuple(READERS)) else ''
        raise DataError(f'{where} holds {what}; it is damaged or cut short{other}')
    # grey by way of the colours, since each format's own decoder to grey rounds in its own way
    colours = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return colours if channels == 3 else to_grey(colours)


def encode_image(image: np.ndarray, kind: str = JPEG, *, quality: int = 95) -> bytes:
    """Encode uint8 RGB (H, W, 3) or grey (H, W) as JPEG of `quality` 1..100, or as lossless PNG."""
    cv2 = load_cv2()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == JPEG else []
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(kind, stored, options)
    if not done:
        raise DataError(f'an image of shape {image.shape} cannot be encoded as {kind}')
    return bytes(encoded.tobytes())


def to_grey(image: np.ndarray) -> np.ndarray:
    """Return uint8 RGB (H, W, 3) as grey (H, W, 1): 0.299 R + 0.587 G + 0.114 B."""
    cv2 = load_cv2()
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[:, :, None])


def channels_first(images: np.ndarray) -> np.ndarray:
    """Return uint8 images (N, H, W, C) as float32 (N, C, H, W) in 0..255."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
