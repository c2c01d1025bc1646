"""Images for a network, from whatever holds them: arrays, encoded bytes, files, folders, and lists of these.

All become uint8 RGB (H, W, 3), or grey (H, W, 1), 0.299 R + 0.587 G + 0.114 B, for a network of one channel. As RGB,
grey becomes three equal channels; of 16 bits the upper 8 are kept; an alpha channel is left out, so that what is
transparent shows the colour that is stored there. An image in a file is turned as its EXIF orientation says; an array
is taken as it is.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

import numpy as np

from config.errors import DataError, kind_of
from config.reading import read_bytes
from recognition.data.images import decode_image, load_cv2, to_grey
from recognition.utils.files import PathLike, readable

SUFFIXES = (
    '.jpg',
    '.jpeg',
    '.png',
    '.bmp',
    '.webp',
    '.tif',
    '.tiff',
    '.pgm',
    '.ppm',
)  # looked for in folders
CHANNELS = (1, 3, 4)  # grey, RGB, RGB and alpha
TYPES = {np.dtype(np.uint8): 0, np.dtype(np.uint16): 8}  # of arrays -> bits that are left out


class Item(NamedTuple):
    """An image that is not in memory yet: its name, and what reads it as uint8 (H, W, C), or DataError."""

    name: str
    load: Callable[[], np.ndarray]


def items(images: Any, channels: int = 3) -> Iterator[Item]:
    """Give each image of `images`, of 3 channels or 1, one after another, folders in the order of their files' paths.

    An image without a name is called by its place: image 0, image 1. Raises DataError for what can be no image, and
    for a folder that holds none.
    """
    return _items(images, channels, [0])


def _items(images: Any, channels: int, count: List[int]) -> Iterator[Item]:
    """`count`: how many images were given before."""
    if isinstance(images, Item):
        found: Iterable[Item] = [images]
    elif isinstance(images, (str, os.PathLike)):
        found = (Item(readable(file), partial(read_image, file, channels)) for file in files_of(images))
    elif isinstance(images, (bytes, bytearray, memoryview)):
        name = f'image {count[0]}'
        found = [Item(name, partial(decode_image, bytes(images), name, channels))]
    elif isinstance(images, np.ndarray):
        found = _of_array(images, channels, count[0])
    elif isinstance(images, Iterable) and not isinstance(images, dict) and not hasattr(images, 'shape'):
        for each in images:
            yield from _items(each, channels, count)
        return
    else:
        raise DataError(
            f'{kind_of(images)} is not an image; give numpy arrays, files, folders or encoded bytes'
        )
    for item in found:
        count[0] += 1
        yield item


def files_of(path: PathLike) -> List[Path]:
    """Return the images in a folder, or else the path alone, whatever is there; errors as in `image_files`."""
    if not os.fspath(path):
        raise DataError('the path of an image is empty')
    return image_files(path) if os.path.isdir(path) else [Path(path)]


def find_files(paths: Iterable[PathLike]) -> List[Path]:
    """Return the images of all the paths, in their order; DataError where one leads nowhere, else as `files_of`."""
    files: List[Path] = []
    for path in paths:
        found = files_of(path)
        try:
            os.stat(path)
        except FileNotFoundError:
            raise DataError(f'{readable(path)} does not exist') from None
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        files += found
    return files


def image_files(folder: PathLike) -> List[Path]:
    """Return the images of `images_below`; DataError where there are none, too."""
    files = images_below(folder)
    if not files:
        raise DataError(f'{readable(folder)} holds no images ({", ".join(SUFFIXES)})')
    return files


def images_below(folder: PathLike) -> List[Path]:
    """Return the images in a folder and those below it, by their suffixes, sorted; hidden ones are left out.

    Links to folders are followed, and a folder that is reached twice is searched once. Raises DataError where one of
    the folders cannot be read.
    """
    files: List[Path] = []
    seen: Set[str] = set()
    for where, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        shown = (name for name in names if not name.startswith('.') and name.lower().endswith(SUFFIXES))
        files += (file for file in (Path(where, name) for name in shown) if _may_be_read(file))
    return sorted(files)


def folders_in(folder: Path) -> List[Path]:
    """Return the folders in a folder, sorted; hidden ones are left out."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith('.'))


def _unreadable(path: PathLike, error: Exception) -> DataError:
    return DataError(f'{readable(path)} cannot be read: {getattr(error, "strerror", None) or error}')


def _raise(error: OSError) -> None:
    raise _unreadable(error.filename, error) from None


def _may_be_read(file: Path) -> bool:
    """Whether it is a file, or a link that leads nowhere, which reading tells of; a pipe would never end."""
    return os.path.isfile(file) or not os.path.exists(file)


def read_image(path: Path, channels: int = 3) -> np.ndarray:
    """Read a file as uint8 RGB (H, W, 3), or grey (H, W, 1); DataError where it is missing or no image."""
    return decode_image(read_bytes(path, DataError), readable(path), channels)


def _of_array(array: np.ndarray, channels: int, first: int) -> Iterable[Item]:
    batch = array if array.ndim == 4 else array[None]
    return (
        Item(f'image {number}', partial(as_pixels, image, f'image {number}', channels))
        for number, image in enumerate(batch, first)
    )


def as_pixels(image: np.ndarray, name: str, channels: int = 3) -> np.ndarray:
    """Return an array (H, W) or (H, W, 1|3|4), uint8 or uint16, as uint8 of so many channels, 3 or 1.

    Raises DataError for another array.
    """
    if image.dtype not in TYPES:
        raise DataError(f'{name} is {image.dtype}, where uint8 of 0..255 (or uint16) is wanted')
    grey = image[..., None] if image.ndim == 2 else image
    if grey.ndim != 3 or grey.shape[2] not in CHANNELS or not grey.size:
        raise DataError(
            f'{name} has shape {image.shape}, where (H, W), (H, W, 3) or a batch (N, H, W, 3) is wanted'
        )
    drop = TYPES[image.dtype]
    eight = (grey >> drop).astype(np.uint8) if drop else grey
    if eight.shape[2] == 1:
        return np.repeat(eight, channels, axis=2)
    return eight[:, :, :3] if channels == 3 else to_grey(eight[:, :, :3])


def resized(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Stretch uint8 (H, W, C) to `size` (height, width): by areas where both sides shrink, else bicubic."""
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return _stretched(image, size, 'INTER_AREA' if shrinks else 'INTER_CUBIC')


def _stretched(image: np.ndarray, size: Tuple[int, int], method: str) -> np.ndarray:
    cv2 = load_cv2()
    found = cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=getattr(cv2, method))
    return np.asarray(found).reshape(*size, image.shape[2])


def _nearest(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Take the pixel under each centre, as Pillow does, and so Keras's load_img; OpenCV's two are other pixels."""
    rows, columns = (_centres(old, new) for old, new in zip(image.shape, size))
    return np.asarray(image[rows[:, None], columns])


def _centres(old: int, new: int) -> np.ndarray:
    step = old / new
    found = np.cumsum([step / 2, *[step] * (new - 1)]).astype(
        int
    )  # summed up as Pillow does, rounding included
    return np.minimum(found, old - 1)


INTERPOLATIONS: Dict[str, Callable[[np.ndarray, Tuple[int, int]], np.ndarray]] = {
    'nearest': _nearest,
    'bilinear': partial(_stretched, method='INTER_LINEAR'),
    'area': resized,
}
