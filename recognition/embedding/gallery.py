"""Nearest neighbours among saved embeddings, by cosine; faiss does the search."""

from __future__ import annotations

from typing import List, NamedTuple

import numpy as np

from config.errors import ConfigError, DataError
from recognition.embedding.storage import load_embeddings
from recognition.engines.record import provenance_in
from recognition.utils.files import PathLike
from recognition.utils.packages import require
from recognition.utils.pixels import RAW
from recognition.verification.lfw import normalise

NETWORK, MIRROR, PIXELS = 'network', 'mirror', 'pixels'  # what a gallery says of how it was made
SHOWN = 12  # digits of a sum that a message shows


class Neighbour(NamedTuple):
    """An image of the gallery and its cosine with the query, -1..1."""

    name: str
    cosine: float


class Gallery:
    """The embeddings of a file, ready to be searched.

    network: the sum of the network that made them. mirror: what became of the mirror images' embeddings. pixels: as an
    Embedder's. provenance: license and origin of its weights, where they are known.
    """

    def __init__(self, path: PathLike) -> None:
        """Read a file of `recognition.embedding.storage`.

        Raises DataError where it is damaged, empty, or does not say which network made it; MissingExtra without faiss.
        """
        faiss = require('faiss', 'search', 'a search')
        held = load_embeddings(path)
        if not len(held.rows):
            raise DataError(f'{path} holds no embeddings to search')
        if NETWORK not in held.about:
            raise DataError(f'{path} does not say which network made it; make it with `facesymbols embed`')
        self.path, self.names = path, held.names
        self.network, self.mirror = held.about[NETWORK], held.about.get(MIRROR, 'sum')
        self.pixels = held.about.get(PIXELS, '')
        self.provenance = provenance_in(held.about)
        self.size = held.rows.shape[1]
        self._index = faiss.IndexFlatIP(self.size)  # of vectors of length 1: the inner product is the cosine
        self._index.add(_unit(held.rows))

    def __len__(self) -> int:
        return len(self.names)

    def check_network(self, network: str, source: object, pixels: str = '') -> None:
        """Raise ConfigError unless the gallery was made by the network of that sum and with these pixels."""
        if network != self.network:
            raise ConfigError(
                f'{self.path} was made by another network ({self.network[:SHOWN]}) than {source} '
                f'({network[:SHOWN]}), so that distances mean nothing; embed its images anew'
            )
        if pixels != self.pixels:
            raise ConfigError(
                f'{self.path} was made with pixels {self.pixels or RAW}, but {source} is given {pixels or RAW}, so '
                'distances mean nothing; give the options of its `facesymbols embed`, or embed its images again'
            )

    def search(self, queries: np.ndarray, top: int = 5) -> List[List[Neighbour]]:
        """Return, for each of (Q, D), the `top` nearest of the gallery (all, where it is smaller), nearest first.

        Raises ConfigError where `top` is below 1, DataError where D is not that of the gallery.
        """
        check_top(top)
        if queries.ndim != 2 or queries.shape[1] != self.size:
            raise DataError(f'queries of shape {queries.shape} do not fit embeddings of {self.size} values')
        cosines, places = self._index.search(_unit(queries), min(top, len(self)))
        return [
            [Neighbour(self.names[place], float(cosine)) for place, cosine in zip(*row)]
            for row in zip(places, np.clip(cosines, -1, 1))
        ]


def check_top(top: int) -> None:
    """Raise ConfigError for a number of neighbours below 1."""
    if top < 1:
        raise ConfigError(f'top={top!r} must be at least 1')


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(normalise(rows), dtype=np.float32)
