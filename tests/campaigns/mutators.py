"""Mutations of a valid file: bits, lengths, and whatever its structure is made of."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from typing import Any, Callable, List, Tuple

import numpy as np

from tests.helpers.nested_pickles import nested_pickles

Draw = np.random.Generator
NUMBERS = (0, 1, -1, 2, 127, 255, 10**8, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
ODD_TEXTS = (
    '',
    '\0',
    'a\0b',
    '../../a',
    '/dev/zero',
    'ü\u2028',
    'x' * 70000,
    '%s%n',
    '\ud800',
    '9' * 5000,
    '1e999',
)
DEEP = 5000
ODD: Tuple[Any, ...] = (
    None,
    True,
    [],
    {},
    -1,
    0.5,
    float('nan'),
    float('inf'),
    10**8,
    2**63,
    10**400,
    *ODD_TEXTS,
)
TOKEN = re.compile(rb'[^\s,=:"\[\]{}]+')
CANARY = 'executed'  # a file that nothing but code from a mutated file makes


def hostile(canary: str) -> List[bytes]:
    """Return pickles that must not be obeyed: some that take for ever to hash, and one that makes the canary."""
    code = f'open({canary!r}, "w").close()'.encode()
    calls = [b'cbuiltins\nexec\n', b'cos\nsystem\n', b'c__builtin__\neval\n']
    runs = [b'\x80\2' + call + b'X' + struct.pack('<I', len(code)) + code + b'\x85R.' for call in calls]
    return [*nested_pickles().values(), *runs]


def flip(content: bytearray, draw: Draw) -> None:
    for place in draw.integers(0, len(content), draw.integers(1, 9)):
        content[place] ^= 1 << int(draw.integers(8))


def cut(content: bytearray, draw: Draw) -> None:
    del content[int(draw.integers(len(content))) :]


def move(content: bytearray, draw: Draw) -> None:
    """Take a piece out, or put it elsewhere once more, or many times."""
    start, place = (int(n) for n in draw.integers(0, len(content), 2))
    piece = content[start : start + int(draw.integers(1, 1 + min(len(content), 400)))]
    if draw.random() < 0.4:
        del content[start : start + len(piece)]
    else:
        content[place:place] = piece * int(draw.choice([1, 1, 2, 50]))


def number(content: bytearray, draw: Draw) -> None:
    """Write a number where one may be, in any width and order of bytes."""
    width, order = int(draw.choice([1, 2, 4, 8])), str(draw.choice(['little', 'big']))
    place = int(draw.integers(0, max(1, len(content) - width)))
    place -= place % int(draw.choice([1, width]))
    value = NUMBERS[draw.integers(len(NUMBERS))]
    content[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]


def noise(content: bytearray, draw: Draw) -> None:
    start = int(draw.integers(len(content)))
    content[start : start + int(draw.integers(1, 64))] = draw.bytes(int(draw.integers(1, 64)))


BINARY: Tuple[Callable[[bytearray, Draw], None], ...] = (flip, cut, move, number, number, noise)


def mutate(content: bytes, draw: Draw, canary: str) -> bytes:
    """Return another content; by its beginning it is taken apart where that can be done, in half of the cases."""
    structured = _structured(content)
    if structured and draw.random() < 0.6:
        return structured(content, draw, canary)
    changed = bytearray(content)
    for _ in range(int(draw.choice([1, 1, 1, 2, 5]))):
        if changed:
            BINARY[draw.integers(len(BINARY))](changed, draw)
    return bytes(changed)


def _structured(content: bytes) -> Any:
    if content.startswith(b'PK'):
        return _zip
    if content.startswith(b'\x80'):
        return _pickle
    if content[:1] in b'[{' and content[1:2] != b'\0':
        return _lines if content.count(b'\n{') > 1 else _json
    if content[8:9] == b'{':
        return _safetensors
    if content.startswith(b'\x08'):
        return _onnx
    return _tokens if content.isascii() else None


def _json(content: bytes, draw: Draw, canary: str) -> bytes:
    whole = json.loads(content)
    for _ in range(int(draw.choice([1, 1, 2, 4]))):
        places = list(_places(whole))
        if not places:
            break
        holder, key = places[draw.integers(len(places))]
        if draw.random() < 0.2:
            del holder[key]
        elif draw.random() < 0.2 and isinstance(holder[key], (int, float)):
            holder[key] = NUMBERS[draw.integers(len(NUMBERS))]
        else:
            holder[key] = ODD[draw.integers(len(ODD))]
    text = json.dumps(whole)
    if draw.random() < 0.05:
        text = text.replace('1', draw.choice(['9' * 5000, '[' * DEEP + ']' * DEEP, '{"a":' * DEEP]), 1)
    return text.encode('utf-8', 'surrogatepass')


def _places(value: Any) -> Any:
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def _lines(content: bytes, draw: Draw, canary: str) -> bytes:
    lines = content.splitlines()
    place = int(draw.integers(len(lines)))
    lines[place] = _json(lines[place], draw, canary)
    return b'\n'.join(lines) + b'\n'


def _tokens(content: bytes, draw: Draw, canary: str) -> bytes:
    found = list(TOKEN.finditer(content))
    chosen = draw.choice(len(found), min(len(found), int(draw.choice([1, 2, 4]))), False)
    for token in (found[place] for place in sorted(chosen, reverse=True)):
        values = [*map(str, NUMBERS), *ODD_TEXTS, '-1', 'nan', '0x7f', '1.5', 'a\tb', 'a\nb', ',', ' ']
        other = values[draw.integers(len(values))].encode('utf-8', 'surrogatepass')
        content = content[: token.start()] + other + content[token.end() :]
    return content


def _zip(content: bytes, draw: Draw, canary: str) -> bytes:
    """Change a member, and write the archive with the right sums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = int(draw.integers(len(members)))
    name, held = members[place]
    if draw.random() < 0.15:
        del members[place]
    elif draw.random() < 0.1:
        members[place] = (ODD_TEXTS[draw.integers(6)] or 'a', held)
    else:
        members[place] = (name, mutate(held, draw, canary) if held else draw.bytes(8))
    out = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if draw.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, 'w', method) as archive:
        for member, inner in members:
            archive.writestr(member, inner)
        if draw.random() < 0.03:
            archive.writestr('bomb.npy', bytes(1 << 28), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _pickle(content: bytes, draw: Draw, canary: str) -> bytes:
    choices = hostile(canary)
    other = choices[draw.integers(len(choices))]
    if draw.random() < 0.5:
        return other
    place = int(draw.integers(2, len(content)))
    return content[:place] + other[2:-1] + content[place:]


def _safetensors(content: bytes, draw: Draw, canary: str) -> bytes:
    length = int.from_bytes(content[:8], 'little')
    header = _json(content[8 : 8 + length], draw, canary)
    return len(header).to_bytes(8, 'little') + header + content[8 + length :]


def _onnx(content: bytes, draw: Draw, canary: str) -> bytes:
    """Change a field of some message."""
    import onnx

    model = onnx.load_from_string(content)
    messages = list(_messages(model))
    for _ in range(int(draw.choice([1, 1, 3]))):
        message = messages[draw.integers(len(messages))]
        fields = message.ListFields()
        if fields:
            _change(message, *fields[draw.integers(len(fields))], draw)
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Any:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if hasattr(value, '__len__') and not hasattr(value, 'ListFields') else [value]:
                yield from _messages(each)


def _change(message: Any, field: Any, value: Any, draw: Draw) -> None:
    repeated = (
        hasattr(value, '__len__') and not isinstance(value, (str, bytes)) and not hasattr(value, 'ListFields')
    )
    if draw.random() < 0.2 or field.type == field.TYPE_MESSAGE:
        if repeated and len(value):
            del value[int(draw.integers(len(value)))]
        else:
            message.ClearField(field.name)
        return
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        other: Any = float(draw.choice([0.0, -1.0, 1e30, np.nan, np.inf]))
    elif field.cpp_type == field.CPPTYPE_STRING:
        text = ODD_TEXTS[draw.integers(len(ODD_TEXTS))].encode('utf-8', 'replace')
        other = text if field.type == field.TYPE_BYTES else text.decode()
    else:
        other = NUMBERS[draw.integers(9 if field.cpp_type == field.CPPTYPE_INT32 else 12)]
        other = min(other, 2**31 - 1) if field.cpp_type == field.CPPTYPE_INT32 else other
    if repeated and len(value):
        value[int(draw.integers(len(value)))] = other
    elif not repeated and field.cpp_type != field.CPPTYPE_ENUM:
        setattr(message, field.name, other)
