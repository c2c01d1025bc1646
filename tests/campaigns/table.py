"""What the trials of a campaign came to, as a table in Markdown, and the options that every campaign has."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Mapping, Optional

OUTCOMES = ('right', 'refused', 'wrong', 'hang', 'crash')
FAULTS = OUTCOMES[2:]
Count = Counter  # of outcomes


def markdown(rows: Mapping[str, Mapping[str, int]], what: str = 'what') -> str:
    """Return a table with a row for each subject: how many trials, and how many of them had each outcome."""
    lines = [f'| {what} | trials | {" | ".join(OUTCOMES)} |', '| --- |' + ' ---: |' * (len(OUTCOMES) + 1)]
    for name, count in rows.items():
        numbers = (sum(count.values()), *(count.get(outcome, 0) for outcome in OUTCOMES))
        lines.append(f'| {name} | {" | ".join(f"{number:,}" for number in numbers)} |')
    return '\n'.join(lines)


def faults(rows: Mapping[str, Mapping[str, int]]) -> int:
    """Return how many trials were neither right nor refused."""
    return sum(count.get(outcome, 0) for count in rows.values() for outcome in FAULTS)


def parser(description: Optional[str], trials: int) -> argparse.ArgumentParser:
    """Return a parser with --trials and --seed."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument('--trials', type=int, default=trials, help='of each subject (default: %(default)s)')
    made.add_argument('--seed', type=int, default=0)
    return made
