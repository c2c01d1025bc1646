"""Sums beside files: damage is found, and no crash between a file and its sum makes a whole file look damaged."""

from __future__ import annotations

import os
import subprocess

import pytest

from config.errors import CheckpointError
from recognition.utils.checksums import (
    check_checksum,
    checksum_path,
    replacing_with_checksum,
    set_checked,
    sum_of,
)


def write(path, content):
    with replacing_with_checksum(path) as temporary:
        temporary.write_bytes(content)


@pytest.fixture
def path(tmp_path):
    write(tmp_path / 'a.params', b'one')
    return tmp_path / 'a.params'


@pytest.mark.parametrize('name', ['a.params', '人脸 ü-0001.params'])
def test_sha256sum_agrees(tmp_path, name):
    write(tmp_path / name, b'one')
    sums = f'{name}.sha256'
    assert subprocess.run(['sha256sum', '-c', sums], cwd=tmp_path, check=False).returncode == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([name, sums])
    check_checksum(tmp_path / name)


@pytest.mark.parametrize('content', [b'onf', b'on', b''])
def test_damage_is_found(path, content):
    check_checksum(path)
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r'a\.params is damaged: its sum is not the one in a\.params\.sha256'
    ):
        check_checksum(path)


def test_damage_is_taken_where_nothing_is_checked(path):
    path.write_bytes(b'onf')
    set_checked(False)
    try:
        check_checksum(path)
    finally:
        set_checked(True)
    with pytest.raises(CheckpointError):
        check_checksum(path)


def test_a_file_that_is_renamed_with_its_sum_is_whole(path):
    new = path.with_name('b.params')
    checksum_path(path).rename(checksum_path(new))
    path.rename(new)
    check_checksum(new)
    new.write_bytes(b'onf')
    with pytest.raises(CheckpointError, match='damaged'):
        check_checksum(new)


@pytest.mark.parametrize(
    'form', ['SHA256 (a) = {}', 'SHA2-256(a)= {}\n', '\\{}  a\\nb', '\ufeff# made by\n{} *a', '{}']
)
def test_sums_of_other_programs_are_read(path, form):
    digits = sum_of(path)
    for encoding, text in (('utf-8', digits), ('utf-8', digits.upper()), ('utf-16', digits)):
        checksum_path(path).write_bytes(form.format(text).encode(encoding))
        check_checksum(path)
        checksum_path(path).write_bytes(form.format(text[:-1] + 'x').encode(encoding))
        with pytest.raises(CheckpointError, match=r'a\.params\.sha256 holds no SHA-256 sum; remove it'):
            check_checksum(path)


def test_a_sum_that_is_a_pipe_or_a_folder_is_no_hang(path):
    for make in (os.mkfifo, os.mkdir):
        sums = checksum_path(path)
        sums.unlink(missing_ok=True)
        make(sums)
        with pytest.raises(CheckpointError, match=r'a\.params\.sha256 cannot be read: '):
            check_checksum(path)


def test_a_file_without_a_sum_is_taken(path):
    checksum_path(path).unlink()
    check_checksum(path)


class CrashError(BaseException):
    """Ends a write where a killed process would."""


@pytest.mark.parametrize('at', [1, 2, 3])
def test_a_crash_at_any_replacement_leaves_a_whole_file(path, monkeypatch, at):
    count = 0

    def or_crash(change):
        def changing(*arguments):
            nonlocal count
            count += 1
            if count == at:
                raise CrashError
            change(*arguments)

        return changing

    monkeypatch.setattr('os.replace', or_crash(os.replace))
    monkeypatch.setattr('os.truncate', or_crash(os.truncate))
    with pytest.raises(CrashError):
        write(path, b'two')
    monkeypatch.undo()
    check_checksum(path)
    assert path.read_bytes() == (b'one' if at < 3 else b'two')
    write(path, b'three')
    assert len(checksum_path(path).read_text().splitlines()) == 1
