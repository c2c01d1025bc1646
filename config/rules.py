"""What a value of the config may be: one small rule per kind, which checks a value and reads one from text.

A rule returns the value in its normal form (an int for a numpy int, a tuple for a list) or raises ValueError with
the allowed values as its text; `config.schema` puts the key's name in front.
"""

from __future__ import annotations

import numbers
import re
from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence

TRUE, FALSE = ('true', '1', 'yes', 'on'), ('false', '0', 'no', 'off')


@dataclass(frozen=True)
class Rule:
    """The allowed values of one key: `allowed` in words, `check` for a value, `parse` for a command line's text."""

    type_name: str
    allowed: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any]
    choices: Sequence[str] = ()


def integer(low: int, high: Optional[int] = None, *, flags: bool = False) -> Rule:
    """Whole numbers from `low` to `high` (no upper end when None); with `flags` True and False are 1 and 0."""
    allowed = f'a whole number of at least {low}' if high is None else f'a whole number from {low} to {high}'

    def check(value: Any) -> int:
        if (
            not isinstance(value, numbers.Real)
            or (isinstance(value, bool) and not flags)
            or float(value) != int(float(value))
        ):
            raise ValueError(allowed)
        whole = int(float(value))
        if whole < low or (high is not None and whole > high):
            raise ValueError(allowed)
        return whole

    return Rule('int', allowed, check, int)


def real(low: float, high: Optional[float] = None) -> Rule:
    """Finite numbers from `low` to `high` (no upper end when None)."""
    allowed = f'a number of at least {low:g}' if high is None else f'a number from {low:g} to {high:g}'

    def check(value: Any) -> float:
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        upper = float('inf') if high is None else high
        if not number or not low <= value <= upper or value == float('inf'):
            raise ValueError(allowed)
        return float(value)

    return Rule('float', allowed, check, float)


def _flag_from_text(text: str) -> bool:
    if text.lower() not in TRUE + FALSE:
        raise ValueError('true or false')
    return text.lower() in TRUE


def flag() -> Rule:
    """True or False; 0 and 1 are taken too, since InsightFace's own configs hold them."""

    def check(value: Any) -> bool:
        # numpy's own bool is no Integral, and this file must not need numpy
        if not isinstance(value, numbers.Integral) and type(value).__name__ not in ('bool_', 'bool'):
            raise ValueError('True or False')
        if value not in (0, 1):
            raise ValueError('True or False')
        return bool(value)

    return Rule('bool', 'True or False', check, _flag_from_text)


def text() -> Rule:
    """Any text, a path for example."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError('text')
        return value

    return Rule('str', 'text', check, str)


def choice(names: Sequence[str]) -> Rule:
    """One of `names`."""
    known = tuple(names)
    allowed = f'one of {", ".join(known)}'

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(allowed)
        return value

    return Rule('str', allowed, check, str, known)


def sequence(item: Rule, length: Optional[int] = None, *, filled: bool = False) -> Rule:
    """A tuple of values that each pass `item`: `length` values when that is given; at least one with `filled`."""
    count = f'{length} ' if length is not None else 'one or more ' if filled else ''
    allowed = f'a list of {count}values, each {item.allowed}'

    def check(value: Any) -> tuple:
        if not isinstance(value, (list, tuple)) or (length is not None and len(value) != length):
            raise ValueError(allowed)
        if filled and not value:
            raise ValueError(allowed)
        try:
            return tuple(item.check(part) for part in value)
        except ValueError:
            raise ValueError(allowed) from None

    def parse(text: str) -> tuple:
        return tuple(item.parse(part.strip()) for part in text.split(',') if part.strip())

    return Rule('list', allowed, check, parse)


def one_or_three(item: Rule) -> Rule:
    """One value that passes `item`, or a tuple of three, one for each channel of an image."""
    three = sequence(item, 3)
    allowed = f'{item.allowed}, or three of them'

    def check(value: Any) -> Any:
        try:
            return (three if isinstance(value, (list, tuple)) else item).check(value)
        except ValueError:
            raise ValueError(allowed) from None

    def parse(text: str) -> Any:
        return (three if ',' in text else item).parse(text)

    return Rule(item.type_name, allowed, check, parse)


def patterns(factor: Optional[Rule] = None) -> Rule:
    """A tuple of regular expressions for the names of parameters; with `factor`, of items 'REGEX=NUMBER'.

    The text of a command line is one of them, since an expression may have commas in it.
    """
    form = 'a regular expression' if factor is None else f'REGEX=NUMBER with {factor.allowed}'
    allowed = f'a list of texts, each {form}'

    def check(value: Any) -> tuple:
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ValueError(allowed)
        for item in value:
            pattern, equals, number = item.rpartition('=') if factor else (item, '=', '')
            try:
                re.compile(pattern)
                if factor:
                    factor.check(factor.parse(number))
            except (ValueError, re.error):
                pattern = ''
            if not (pattern and equals):
                raise ValueError(allowed)
        return tuple(value)

    return Rule(
        'regex' if factor is None else 'regex=number', allowed, check, lambda text: (text,) if text else ()
    )


def rising() -> Rule:
    """Whole numbers, each above the one before it, as the text 'a,b,c'; a list of them is taken too."""
    allowed = "whole numbers of at least 1, each above the one before it, as '1000,2000'"
    number = integer(1)

    def check(value: Any) -> str:
        parts = value
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(',')] if value.strip() else []
            parts = [int(part) if part.isdecimal() else 0 for part in parts]
        if not isinstance(parts, (list, tuple)):
            raise ValueError(allowed)
        try:
            steps = [number.check(part) for part in parts]
        except ValueError:
            raise ValueError(allowed) from None
        if any(after <= before for before, after in zip(steps, steps[1:])):
            raise ValueError(allowed)
        return ','.join(map(str, steps))

    return Rule('str', allowed, check, str)


def or_word(word: str, rule: Rule) -> Rule:
    """Values that `rule` allows, or one word."""
    allowed = f'{rule.allowed}, or {word!r}'

    def check(value: Any) -> Any:
        try:
            return word if value == word else rule.check(value)
        except ValueError:
            raise ValueError(allowed) from None

    return Rule(rule.type_name, allowed, check, lambda text: word if text == word else rule.parse(text))


def optional(rule: Rule) -> Rule:
    """What `rule` allows, or None."""

    def check(value: Any) -> Any:
        try:
            return None if value is None else rule.check(value)
        except ValueError:
            raise ValueError(f'{rule.allowed}, or None') from None

    def parse(text: str) -> Any:
        return None if text.lower() == 'none' else rule.parse(text)

    return Rule(rule.type_name, f'{rule.allowed}, or None', check, parse, rule.choices)
