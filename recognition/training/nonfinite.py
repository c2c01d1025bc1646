"""Steps whose loss or gradient is not finite: left out, counted, and at last a reason to stop."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from config.errors import FaceSymbolsError

GROWTH_INTERVAL = (
    2000  # good steps after which the loss scale is doubled (Micikevicius et al. 2018, section 3.2)
)
LEAST_SCALE, GREATEST_SCALE = 1.0, 2.0**24


class Guard:
    """Counts steps that are left out, and ends the run when more than `limit` come in a row.

    skipped: all of them, also those before a resumption. in_a_row: how many of them came last; 0 after a good step.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.skipped = self.in_a_row = 0
        self._last = ''

    def good(self) -> None:
        """Note a step that was made."""
        self.in_a_row = 0

    def bad(self, what: str, step: int, rate: float) -> None:
        """Note a step that was left out; raise FaceSymbolsError when it is one too many.

        what: 'the loss became nan', say. step: counted from 1. rate: its learning rate.
        """
        self.skipped += 1
        self.in_a_row += 1
        self._last = f'{what} at step {step} with learning rate {rate:g}'
        if self.in_a_row > self.limit:
            self.end()

    def end(self) -> None:
        """Raise FaceSymbolsError when the last steps were left out: the weights that they found may be the fault."""
        if self.in_a_row:
            before = f', the last of {self.in_a_row} such steps in a row' if self.in_a_row > 1 else ''
            raise FaceSymbolsError(
                f'{self._last}{before}; '
                'train with a lower lr, a longer warm-up (warmup_steps), clip_norm or a smaller margin'
            )

    def state(self) -> Dict[str, int]:
        """Return the counts, for the training state."""
        return {'skipped': self.skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on counting from `state`, which is saved after good steps alone."""
        self.skipped, self.in_a_row = int(state['skipped']), 0


class LossScale:
    """The factor on the loss that keeps float16 gradients from vanishing: halved on overflow, doubled after a while.

    Source: Micikevicius et al. 2018, 'Mixed Precision Training', section 3.2. Off, or with a first factor of 0, it
    stays at 1.
    """

    def __init__(self, first: float, *, on: bool) -> None:
        self.on = on and first > 0
        self.value = first if self.on else 1.0
        self._good = 0

    def good(self) -> None:
        """Note a step whose gradients were finite."""
        self._good += 1
        if self.on and self._good >= GROWTH_INTERVAL:
            self.value, self._good = min(self.value * 2, GREATEST_SCALE), 0

    def overflow(self) -> bool:
        """Halve the scale, and return whether that may help: it was on, and not at its least."""
        self._good = 0
        if not self.on or self.value <= LEAST_SCALE:
            return False
        self.value = max(self.value / 2, LEAST_SCALE)
        return True

    def state(self) -> Dict[str, float]:
        """Return where it stands, for the training state."""
        return {'value': self.value, 'good': self._good}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.value, self._good = float(state['value']), int(state['good'])
