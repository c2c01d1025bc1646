from __future__ import annotations

import io
import pickle
import subprocess
import sys
from itertools import repeat
from typing import ClassVar

import pytest

from recognition.utils.restricted_pickle import RestrictedUnpickler, shown
from tests.helpers import torch_writer
from tests.helpers.nested_pickles import nested_pickles
from tests.helpers.source import ROOT


class Refused(Exception):
    pass


class Filled:
    def __setstate__(self, state):
        self.state = state


class Reader(RestrictedUnpickler):
    error = Refused
    admitted: ClassVar[dict] = {
        ('numpy.core.multiarray', 'scalar'): 'a scalar',
        ('numpy.core.numeric', '_frombuffer'): 'a buffer',
        ('tests', 'Filled'): Filled,
        ('tests', 'upper'): str.upper,
    }


def read(content: bytes):
    return Reader(io.BytesIO(b'\x80\2' + content + b'.')).load()


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read(protocol):
    content = {'a': [1, -(2**62), 0.5, None, True], 'b': ((), (1,), 'text'), 3: {'c': {}}}
    assert Reader(io.BytesIO(pickle.dumps(content, protocol=protocol))).load() == content


@pytest.mark.parametrize('core', ['numpy.core', 'numpy._core'])
@pytest.mark.parametrize('form', [b'c%b\n%b\n', b'X%b%bX%b%b\x93'])
def test_numpy_1_and_numpy_2_name_the_same(core, form):
    for module, name, found in (('multiarray', 'scalar', 'a scalar'), ('numeric', '_frombuffer', 'a buffer')):
        texts = [f'{core}.{module}'.encode(), name.encode()]
        if form.startswith(b'X'):
            texts = [part for text in texts for part in (len(text).to_bytes(4, 'little'), text)]
        assert read(form % tuple(texts)) == found


@pytest.mark.parametrize(
    'name',
    ['os.system', 'numpy._core.numeric', 'numpy._core.multiarray.eval', 'a.numpy._core.numeric._frombuffer'],
)
def test_other_names_are_refused_as_they_are_written(name):
    with pytest.raises(Refused, match=f'^it names {name}$'):
        read('c{}\n{}\n'.format(*name.rsplit('.', 1)).encode())


def test_a_name_is_one_short_line():
    with pytest.raises(Refused) as caught:
        read(b'X\3\0\0\0a\n\x1bX\xe8\3\0\0' + b'n' * 1000 + b'\x93')
    assert len(str(caught.value)) < 100
    assert str(caught.value).isprintable()


def test_only_stand_ins_take_a_state():
    assert read(b'ctests\nFilled\n)RK\7b').state == 7
    for target, kind in (
        (b'ctests\nFilled\n', 'type'),
        (b'ctests\nupper\n', 'method_descriptor'),
        (b']', 'list'),
    ):
        with pytest.raises(Refused, match=f'it sets the state of a {kind}'):
            read(target + b'N}X\1\0\0\0aK\1s\x86b')


@pytest.mark.parametrize(
    'key', [b')', b'N', b'\x88', b'C\1a', b'G' + bytes(8), b'\x8a\x09' + b'\xff' * 8 + b'\0']
)
@pytest.mark.parametrize('form', [b'}%bK\1s', b'}(K\1K\1%bK\1u'])
def test_the_keys_of_a_dict_are_texts_and_numbers(key, form):
    with pytest.raises(Refused, match='not a dict of named values'):
        read(form % key)


def test_a_list_is_not_filled_as_a_dict():
    with pytest.raises(Refused, match='not a dict of named values'):
        read(b']K\0aK\0K\1s')


@pytest.mark.parametrize(
    'name', ['EMPTY_SET', 'ADDITEMS', 'FROZENSET', 'DICT', 'INST', 'OBJ', 'NEWOBJ', 'NEWOBJ_EX', 'EXT1']
)
def test_opcodes_that_hash_or_build_are_not_there(name):
    assert getattr(pickle, name)[0] not in Reader.dispatch
    assert RestrictedUnpickler.dispatch == {}


def test_what_is_shown_is_short_and_not_walked():
    assert shown('name') == "'name'"
    assert shown((1, 2, 'a', b'b')) == "(1, 2, 'a', b'b')"
    assert shown('n' * 1000) == f"'{'n' * 79}..."
    tower = ()
    for _ in repeat(None, 60):
        tower = (tower, tower)
    assert shown(tower) == shown((1, tower)) == '<tuple>'
    assert shown([tower]) == '<list>'
    assert shown(10**5000) == '<int>'


READERS = {
    'verification set': ('recognition.data.pair_sets', 'read_pairs'),
    'checkpoint': ('recognition.weights.torch.state_dict', 'read_state_dict'),
    'zipped checkpoint': ('recognition.weights.torch.state_dict', 'read_state_dict'),
}
READ_ALL = """
import sys
from config.errors import FaceSymbolsError
from {} import {} as read
for path in sys.argv[1:]:
    print(path, end=': ', flush=True)
    try:
        print('READ', read(path))
    except FaceSymbolsError as error:
        print('refused:', str(error)[:400])
"""


@pytest.mark.parametrize('reader', READERS)
def test_tuples_that_take_for_ever_to_hash_are_refused(tmp_path, reader):
    """In a process of its own, which is killed where one of them is hashed, compared or printed after all."""
    contents = nested_pickles()
    paths = [tmp_path / f'{name}.bin' for name in contents]
    for path, content in zip(paths, contents.values()):
        path.write_bytes(content)
        if reader.startswith('zipped'):
            torch_writer.write_zip(path, content, {})
    command = [sys.executable, '-c', READ_ALL.format(*READERS[reader]), *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if ': refused: ' not in line] == []
    assert len(done.stdout.splitlines()) == len(paths)
