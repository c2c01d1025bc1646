"""What a network wants done to the pixels of RGB images in 0..255 before it sees them."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Tuple, Union

Numbers = Union[float, Tuple[float, ...]]  # one for all channels, or one for each


class Pixels(NamedTuple):
    """(x - mean) * scale by the caller, with the channels in `order`; mean and scale are in that order, too.

    The default is of a network that takes RGB in 0..255 as it is, whatever it makes of that inside.
    """

    mean: Numbers = 0.0
    scale: Numbers = 1.0
    order: str = 'rgb'

    def as_metadata(self) -> Dict[str, Any]:
        """Return it as JSON holds it under the key `pixels` of an exported file."""
        return {'mean': self.mean, 'scale': self.scale, 'order': self.order}


RAW = Pixels()
CENTRED = Pixels(127.5, 1 / 127.5)  # as arcface_torch and most of the networks that came of it want them
