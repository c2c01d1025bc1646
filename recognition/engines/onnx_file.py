"""Description of an ONNX file, read without the onnx package: its first nodes, inputs, outputs and metadata.

The numbers are those of the fields in ONNX's onnx.proto, the encoding is that of protocol buffers.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from pathlib import Path
from typing import Any, DefaultDict, Dict, List, NamedTuple, Optional, Tuple

from config.errors import CheckpointError
from config.reading import no_reason, reading

FIRST_NODES = 8  # by whose names InsightFace's readers decide
OPEN_SIDE = 2**31  # and above: a negative number, by which some writers leave a side open
KINDS = {1: 'float32', 2: 'uint8', 10: 'float16'}  # of TensorProto.DataType what images may be
INT8_OPERATORS = ('QuantizeLinear', 'QLinearConv', 'ConvInteger', 'MatMulInteger')

Fields = DefaultDict[int, List[Any]]


class Port(NamedTuple):
    """An input or output: its name, what it holds (of KINDS, else ''), its sides (None: open)."""

    name: str
    kind: str
    sides: Tuple[Optional[int], ...]


class OnnxFile(NamedTuple):
    """Header of a file: the names of its first nodes, and the operators that read its first input.

    inputs: those without a value in the file. is_int8: whether an operator is a quantised one. value_files: the files
    beside it that hold values, as writers have it where these are many.
    """

    node_names: Tuple[str, ...]
    first_operators: Tuple[str, ...]
    inputs: Tuple[Port, ...]
    outputs: Tuple[Port, ...]
    metadata: Dict[str, str]
    is_int8: bool
    value_files: Tuple[Path, ...]


def read_onnx_file(path: Path) -> OnnxFile:
    """Read what a file says of its network; CheckpointError where it is damaged, or no ONNX file."""
    with reading(path, CheckpointError, 'is damaged or not an ONNX file', no_reason):
        with open(path, 'rb') as file:  # mapped, for of hundreds of MB of weights nothing is read
            model = _fields(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        graph = _fields(model[7][0])
        nodes = [_fields(node) for node in graph[1]]
        values = [_fields(value) for value in graph[5]]
        valued = {_text(value[8]) for value in values}
        places = [_texts(entry) for value in values for entry in value[13]]
        inputs = tuple(port for port in map(_port, graph[11]) if port.name not in valued)
        return OnnxFile(
            tuple(_text(node[3]) for node in nodes[:FIRST_NODES]),
            tuple(_text(node[4]) for node in nodes if inputs and inputs[0].name.encode() in node[1]),
            inputs,
            tuple(map(_port, graph[12])),
            dict(map(_texts, model[14])),
            any(_text(node[4]) in INT8_OPERATORS for node in nodes),
            tuple(path.parent / name for name in sorted({name for key, name in places if key == 'location'})),
        )


def _port(message: memoryview) -> Port:
    """Return a ValueInfoProto; where its type is none of a tensor, or absent, the kind is '' and there are no sides."""
    info = _fields(message)
    tensor = _inner(_inner(info, 2), 1)
    sides = [(_fields(dimension)[1] or [0])[-1] for dimension in _inner(tensor, 2)[1]]
    kind = KINDS.get(tensor[1][-1], '') if tensor[1] else ''
    return Port(_text(info[1]), kind, tuple(side if 0 < side < OPEN_SIDE else None for side in sides))


def _inner(fields: Fields, number: int) -> Fields:
    """Return the fields of a message in a field, none where it is absent."""
    return _fields(fields[number][-1] if fields[number] else memoryview(b''))


def _texts(message: memoryview) -> Tuple[str, str]:
    """Return the key and the value of a StringStringEntryProto."""
    entry = _fields(message)
    return _text(entry[1]), _text(entry[2])


def _text(values: Any) -> str:
    """Return the last value of a field as text; '' where it is absent."""
    return bytes(values[-1]).decode() if values else ''


def _fields(message: memoryview) -> Fields:
    """Return the values of a message by the numbers of their fields: whole numbers, and else bytes."""
    found: Fields = defaultdict(list)
    place = 0
    while place < len(message):
        key, place = _whole_number(message, place)
        value: Any
        if key & 7 == 0:
            value, place = _whole_number(message, place)
        else:
            size, place = _whole_number(message, place) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], place)
            value, place = message[place : place + size], place + size
        if place > len(message):
            raise ValueError('the message is cut')
        found[key >> 3].append(value)
    return found


def _whole_number(message: memoryview, place: int) -> Tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte, place = message[place], place + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError('a number of more than 64 bits')
