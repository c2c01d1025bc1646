"""What the keys of the config may be, alone and together; the keys themselves stand in `config.keys`."""

from __future__ import annotations

from math import prod
from typing import Any, Iterable, Mapping, Tuple

from config.errors import ConfigError, nearest
from config.keys import FAMILY_NAMES, HEAD_NAMES, KEYS
from config.presets import FAMILIES, NOT_BUILT, POOLING_HEADS, READ_BY_SOME, TAKEN_BY_ALL

COLOURS = 3  # channels of an RGB image
LARGEST_ARRAY = 2**31 - 1  # values; MXNet counts them in 32 bits


def check_name(name: str) -> None:
    """Raise ConfigError, with the nearest key, when `name` is not a key of the config."""
    if name not in KEYS:
        raise ConfigError(f'{name!r} is not a key of the config{nearest(name, KEYS)}')


def check_value(name: str, value: Any) -> Any:
    """Return `value` in the key's normal form, or raise ConfigError naming key, value and what is allowed."""
    check_name(name)
    rule = KEYS[name].rule
    try:
        return rule.check(value)
    except (ValueError, OverflowError):
        if isinstance(value, str) and value in NOT_BUILT.get(name, ()):
            raise ConfigError(
                f"{name}={value!r} is InsightFace's, and not built here: it must be {rule.allowed}"
            ) from None
        hint = nearest(value, rule.choices) if isinstance(value, str) else ''
        raise ConfigError(f'{name}={value!r} is not allowed: it must be {rule.allowed}{hint}') from None


def parse_value(name: str, value: str) -> Any:
    """Return the value that `value`, the text of a command line, stands for; raise ConfigError as check_value does."""
    check_name(name)
    try:
        return check_value(name, KEYS[name].rule.parse(value))
    except ConfigError:
        raise
    except ValueError:
        raise ConfigError(f'{name}={value!r} is not allowed: it must be {KEYS[name].rule.allowed}') from None


def _closest(value: Any, allowed: Tuple[Any, ...]) -> str:
    numbers = [a for a in allowed if isinstance(a, (int, float)) and not isinstance(a, bool)]
    if isinstance(value, (int, float)) and numbers:
        return f'; the nearest is {min(numbers, key=lambda a: abs(a - value))}'
    return nearest(value, [str(a) for a in allowed])


def check_together(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for values that are each allowed but from which no network of the family can be built."""
    name = values['net_name']
    for key, allowed in {**TAKEN_BY_ALL, **FAMILIES[FAMILY_NAMES[name]].takes}.items():
        if values[key] not in allowed:
            there = f'{key}={values[key]!r} does not go with net_name={name!r}'
            if len(allowed) == 1:
                raise ConfigError(f'{there}, where it has to be {allowed[0]!r}')
            known = ', '.join(str(a) for a in allowed)
            raise ConfigError(f'{there}, which takes {known}{_closest(values[key], allowed)}')
    if prod(values['image_shape']) > LARGEST_ARRAY:
        raise ConfigError(
            f'image_shape={values["image_shape"]!r} is too large: an image may have {LARGEST_ARRAY} values'
        )
    channels = values['image_shape'][2]
    for key in ('input_order', 'input_mean', 'input_scale'):
        if channels != COLOURS and (values[key] == 'bgr' or isinstance(values[key], tuple)):
            raise ConfigError(
                f'{key}={values[key]!r} is for images of {COLOURS} channels; image_shape={values["image_shape"]!r} '
                f'has {channels}'
            )
    if values['kernel_l2_factors'] and values['kernel_l2'] is None:
        raise ConfigError(
            'kernel_l2_factors needs kernel_l2, the factor of the other convolutions; 0 is none'
        )
    if (values['kernel_l2'] or values['kernel_l2_factors']) and not values['wd']:
        raise ConfigError('kernel_l2 does not go with wd=0.0: it is applied as a share of the weight decay')


def check_explicit(values: Mapping[str, Any], given: Iterable[str]) -> None:
    """Raise ConfigError when one of the keys that a user gave asks for what the family, or the head, does not have."""
    name = values['net_name']
    unread = set(READ_BY_SOME) - set(FAMILIES[FAMILY_NAMES[name]].reads)
    for key in given:
        if key in unread and values[key] != KEYS[key].default:
            raise ConfigError(
                f'{key}={values[key]!r} does not go with net_name={name!r}, which has no such thing'
            )
    if 'net_pool' in given and values['net_pool'] != KEYS['net_pool'].default:
        head = values['net_output']
        if HEAD_NAMES[head] not in POOLING_HEADS:
            raise ConfigError(
                f'net_pool={values["net_pool"]!r} does not go with net_output={head!r}, which does not pool by it; '
                f'the heads that do are {", ".join(POOLING_HEADS)}'
            )
