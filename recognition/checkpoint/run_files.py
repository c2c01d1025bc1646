"""What a run leaves beside its checkpoints, all of it under the run's prefix.

`prefix-config.json` is the config, `prefix-environment.json` a list of the run's starts (it has several where it was
resumed) with where each took place and how it ended, and `prefix-history.jsonl` (`training.progress`) a line for each
step and verification.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Optional

from config.errors import CheckpointError, FaceSymbolsError
from recognition.utils.environment import now
from recognition.utils.files import PathLike, read_json, replacing
from recognition.utils.run_paths import config_path, environment_path

logger = logging.getLogger(__name__)

Start = Dict[str, Any]


class RunRecord:
    """Keeps the config and the environment of a run on disk, from when it begins to how it ended.

    prefix: None keeps nothing. start: what `environment` returned; 'ended', the words for it, and further values are
    put into it while the run goes on, and an error puts its own. A start without 'ended' was killed. resumed: the
    starts in the file stay before this one. held: the files are another run's, and stay until `release`.
    """

    def __init__(
        self, prefix: Optional[PathLike], cfg: Any, start: Start, *, resumed: bool = False, held: bool = False
    ) -> None:
        self.start, self._prefix, self._cfg, self._held = start, prefix, cfg, held
        self._begun = False
        self._before = _starts(environment_path(prefix)) if prefix and resumed else []

    def __enter__(self) -> RunRecord:
        return self

    def begin(self) -> None:
        """Write the files, the first time: a run that ends before its first step leaves none."""
        if not self._begun:
            self._begun = True
            self._write()

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        if error is not None:
            known = isinstance(error, FaceSymbolsError)
            self.start['ended'] = str(error) if known else type(error).__name__
        self.start['until'] = now()
        try:
            self._write()
        except CheckpointError as fault:  # what the run came to is told all the same
            logger.warning('%s', fault)

    def release(self) -> None:
        """Replace another run's files, if they were held."""
        if self._held:
            self._held = False
            self._write()

    def _write(self) -> None:
        if self._prefix is None or self._held or not self._begun:
            return
        for path, value in (
            (config_path(self._prefix), self._cfg),
            (environment_path(self._prefix), [*self._before, self.start]),
        ):
            write_json(path, value)


def write_json(path: Path, value: Any) -> None:
    """Write a file of a run, whole or not at all; CheckpointError where it cannot be."""
    with replacing(path, CheckpointError) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8')


def _starts(path: Path) -> List[Start]:
    try:
        starts = read_json(path)
    except CheckpointError as error:
        logger.warning('%s; it begins anew', error)
        return []
    return starts if isinstance(starts, list) else []
