"""Lists as InsightFace, im2rec and editors write them."""

from __future__ import annotations

import os

import pytest

from config.errors import DataError
from recognition.data.list_files import listed_pairs, listed_people, read_lines

IM2REC = '0\t0.000000\tp0/1.jpg\n1\t0.000000\tp0/2.jpg\n7\t1.000000\tp1/a b.jpg\n'


def paths(folder, text, encoding='utf-8'):
    (folder / 'faces.lst').write_bytes(text.encode(encoding))
    return [
        [os.fspath(path.relative_to(folder)) for path in each.images]
        for each in listed_people(folder / 'faces.lst')
    ]


@pytest.mark.parametrize(
    'text',
    [
        IM2REC,
        '\ufeff' + IM2REC,
        IM2REC.replace('\n', '\r\n') + '\r\n \r\n',
        '1\tp0/1.jpg\t0\n1\tp0/2.jpg\t0\n1\tp1/a b.jpg\t1\t3\t4\t5\t6\n',
        '\ufeff1\tp0/1.jpg\t0\r\n1\tp0/2.jpg\t0\r\n1\tp1/a b.jpg\t1\r\n\r\n',
    ],
)
def test_the_people_of_a_list(text, tmp_path):
    assert paths(tmp_path, text) == [['p0/1.jpg', 'p0/2.jpg'], ['p1/a b.jpg']]


@pytest.mark.parametrize('mark', ['\ufeff', ''])
def test_a_list_in_utf_16_is_named(tmp_path, mark):
    with pytest.raises(DataError, match=r'faces\.lst is text in UTF-16; save it as UTF-8'):
        paths(tmp_path, mark + IM2REC, 'utf-16-le' if mark else 'utf-16')


def test_of_several_labels_the_first_is_the_person_and_that_is_said(tmp_path, caplog):
    caplog.set_level('INFO')
    assert paths(tmp_path, '0\t1\t0.3\t0.7\ta.jpg\n1\t0\t0.1\t0.2\tb.jpg\n') == [['b.jpg'], ['a.jpg']]
    assert 'has 3 labels in a line; the first is taken as the person' in caplog.text
    caplog.clear()
    assert paths(tmp_path, IM2REC)
    assert not caplog.records


def test_a_folder_whose_name_is_a_number(tmp_path):
    """The third column of InsightFace's form is its label, and of im2rec's the path."""
    assert paths(tmp_path, '1\t12\t0\n1\t13\t1\n') == [['12'], ['13']]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (
            '1 a.jpg 0\n',
            r"line 1 is '1 a\.jpg 0' where aligned<TAB>path<TAB>label .*; it has spaces in place of tabs",
        ),
        ('0 0.000000 a.jpg\n', 'spaces in place of tabs'),
        ('1\ta.jpg\n', r'line 1 .* is expected, or index<TAB>label<TAB>path in all lines$'),
        (
            IM2REC + '1\tp1/2.jpg\t1\n',
            r'line 4 .* where index<TAB>label<TAB>path is expected, as in the first line',
        ),
        ('1\tp1/2.jpg\t1\n' + IM2REC, r'line 2 .* where aligned<TAB>path<TAB>label is expected'),
        ('0\t0.5\ta.jpg\n', r'line 1 has the label 0\.5; labels are whole numbers from 0'),
        ('0\t-1\ta.jpg\n', r'has the label -1'),
        ('0\tnan\ta.jpg\n', r'has the label nan'),
        ('0\t1e30\ta.jpg\n', r'has the label 1e30'),
        ('\n', 'lists no images; lines aligned<TAB>path<TAB>label or index<TAB>label<TAB>path are expected'),
    ],
)
def test_a_line_of_another_form(text, words, tmp_path):
    (tmp_path / 'faces.lst').write_text(text)
    with pytest.raises(DataError, match=words):
        listed_people(tmp_path / 'faces.lst')


def test_names_of_files_may_be_in_latin_1(tmp_path):
    name = 'André.jpg'.encode('latin-1')
    with open(os.path.join(os.fsencode(tmp_path), name), 'wb') as file:
        file.write(b'here')
    (tmp_path / 'faces.lst').write_bytes(b'1\t' + name + b'\t0\n')
    ((path,),) = [each.images for each in listed_people(tmp_path / 'faces.lst')]
    assert path.read_bytes() == b'here'


def test_pairs_with_a_mark_and_paths_with_spaces(tmp_path):
    file = tmp_path / 'pairs.txt'
    file.write_bytes('\ufeffa.jpg b.jpg 1\r\na b.jpg\tc.jpg\t0\r\n\r\n'.encode())
    assert [(one.name, other.name, same) for one, other, same in listed_pairs(file)] == [
        ('a.jpg', 'b.jpg', True),
        ('a b.jpg', 'c.jpg', False),
    ]
    file.write_text('a b.jpg c.jpg 1\n')
    with pytest.raises(DataError, match='a path with spaces needs tabs between the fields'):
        listed_pairs(file)


def test_a_list_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r'none\.lst cannot be read: No such file'):
        read_lines(tmp_path / 'none.lst')


def test_labels_without_a_line_take_no_memory(tmp_path):
    path = tmp_path / 'a.lst'
    path.write_text('1\ta.jpg\t2\n1\tb.jpg\t9999999\n1\tc.jpg\t4\n')
    assert [(person.name.rpartition(': ')[2], len(person.images)) for person in listed_people(path)] == [
        ('each of the labels 0 to 1', 0),
        ('label 2', 1),
        ('label 3', 0),
        ('label 4', 1),
        ('each of the labels 5 to 9999998', 0),
        ('label 9999999', 1),
    ]
    for label in ('100000000', '9' * 5000, '²'):
        path.write_text(f'1\ta.jpg\t{label}\n')
        with pytest.raises(DataError, match=r'labels are whole numbers from 0 to 16777215|is expected'):
            listed_people(path)
