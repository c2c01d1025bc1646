"""ValidationReport of a data set, kept by kind until all have been looked for."""

from __future__ import annotations

from typing import Dict, List

# kind -> what such faults mean, in the order in which a report names them
KINDS = {
    'property': 'the description of the set',
    'record': 'damaged records',
    'index': 'lines of the index that are wrong',
    'lost': 'records that are not in the index',
    'identity': 'identity records that contradict the images',
    'label': 'labels',
    'image': 'images that cannot be read',
    'size': 'images of another size',
    'duplicate': 'images that stand twice in one identity',
    'conflict': 'images that stand in several identities',
    'pairs': 'verification sets',
    'shared': 'images that train and verify',
}


class ValidationReport:
    """Sentences by kind, each of which says what is wrong and where."""

    def __init__(self) -> None:
        self.sentences: Dict[str, List[str]] = {kind: [] for kind in KINDS}

    def add(self, kind: str, sentence: str) -> None:
        """Note a fault."""
        self.sentences[kind].append(sentence)

    def __len__(self) -> int:
        return sum(map(len, self.sentences.values()))
