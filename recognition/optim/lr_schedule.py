"""The learning rate as a pure function of the step, so that a resumed run sees what an unbroken one would.

mx.lr_scheduler does not serve here: its MultiFactorScheduler multiplies its own base_lr as steps pass and
never goes back, and past its end its CosineScheduler repeats the last rate it was asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any, Callable, Dict, Tuple

from config.errors import ConfigError, nearest

Schedule = Callable[[int], float]


def build_schedule(cfg: Any, total_steps: int) -> Schedule:
    """Build the function from a step (the updates made before it, 0 for the first) to its learning rate.

    Reads lr, lr_schedule ('step', 'poly' or 'cosine'), lr_steps, lr_factor, lr_power and warmup_steps, lengths in
    steps.
    Warm-up is linear: lr / warmup_steps at step 0, lr at step warmup_steps - 1.
    'step' multiplies by lr_factor once `s` updates are made, for each `s` of lr_steps: step s, the update
    after those, is the first with the lower rate (InsightFace changes it at the end of batch number s).
    'cosine' and 'poly' fall from lr at step warmup_steps to 0 at total_steps and stay there; 'poly' as the remaining
    share of the steps to the power of lr_power (arcface_torch's schedule has 2).
    Raises ConfigError for an unknown schedule, bad lr_steps or a warm-up longer than the run.
    """
    name = cfg['lr_schedule']
    if name not in DECAYS:
        known = ', '.join(DECAYS)
        raise ConfigError(f'lr_schedule={name!r} is not one of {known}{nearest(name, DECAYS)}')
    lr, warmup = float(cfg['lr']), int(cfg['warmup_steps'])
    if not 0 <= warmup <= total_steps:
        raise ConfigError(f'warmup_steps={warmup} must be from 0 to the {total_steps} steps of the whole run')
    decay = DECAYS[name](cfg, warmup, total_steps)

    def rate(step: int) -> float:
        if step < 0:
            raise ValueError(f'step {step} is below 0')
        return lr * min(1.0, (step + 1) / max(1, warmup)) * decay(step)

    return rate


def check_schedule(cfg: Any) -> None:
    """Raise ConfigError for what `build_schedule` would refuse however long the run is."""
    build_schedule(cfg, int(cfg['warmup_steps']))


def total_steps(cfg: Any, batches_per_epoch: int) -> int:
    """Return the steps of a whole run: end_epoch epochs of so many batches, at most max_steps."""
    steps = batches_per_epoch * cfg['end_epoch']
    return min(steps, cfg['max_steps']) if cfg['max_steps'] else steps


def parse_steps(lr_steps: Any) -> Tuple[int, ...]:
    """Return 'a,b,c' (or a sequence of integers) as a tuple of rising steps; '' means none.

    Raises ConfigError where a part is not a positive integer or not above the one before it.
    """
    parts = lr_steps.split(',') if isinstance(lr_steps, str) else lr_steps
    if parts == ['']:
        parts = ()
    try:
        steps = tuple(int(str(part)) for part in parts)
    except (TypeError, ValueError):
        steps = (0,)
    if any(after <= before for before, after in zip((0, *steps), steps)):
        raise ConfigError(
            f"lr_steps={lr_steps!r} must be positive integers, each above the one before it, as '1000,2000'"
        )
    return steps


def _step_decay(cfg: Any, warmup: int, total_steps: int) -> Schedule:
    steps, factor = parse_steps(cfg['lr_steps']), float(cfg['lr_factor'])
    return lambda step: factor ** bisect_right(steps, step)


def _cosine_decay(cfg: Any, warmup: int, total_steps: int) -> Schedule:
    return lambda step: 0.5 * (1.0 - math.cos(math.pi * _left(step, warmup, total_steps)))


def _poly_decay(cfg: Any, warmup: int, total_steps: int) -> Schedule:
    power = float(cfg['lr_power'])
    return lambda step: _left(step, warmup, total_steps) ** power


def _left(step: int, warmup: int, total_steps: int) -> float:
    """Return the share, 1 to 0, of the steps after the warm-up that are still to be made."""
    if step >= total_steps:
        return 0.0
    return 1.0 - max(0, step - warmup) / max(1, total_steps - warmup)


DECAYS: Dict[str, Callable[[Any, int, int], Schedule]] = {
    'step': _step_decay,
    'poly': _poly_decay,
    'cosine': _cosine_decay,
}
