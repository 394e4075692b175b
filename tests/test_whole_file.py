"""A file is there in whole or not at all, and nothing is left beside it."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tvrl_jax.files import whole_file


def test_text_and_bytes_as_they_are(tmp_path):
    whole_file.write(tmp_path / "a", "é\r\nb\n")
    assert (tmp_path / "a").read_bytes() == "é\r\nb\n".encode()
    whole_file.write(tmp_path / "a", b"\x00\xff", sync=False)
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_leaves_the_file_of_before(tmp_path):
    whole_file.write(tmp_path / "a", "before")
    with pytest.raises(KeyError), whole_file.writing(tmp_path / "a") as file:
        file.write("half")
        file.flush()
        assert len(os.listdir(tmp_path)) == 2
        raise KeyError
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "before"


def test_a_folder_that_is_absent_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        whole_file.write(tmp_path / "no" / "a", "x")


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / ".a.part").write_text("a longer half")
    whole_file.write(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "new"


def test_what_killed_writers_of_a_shared_file_left_goes_after_a_day(tmp_path):
    for name in (".a.1-2.part", ".a.3-4.part", "a", ".b"):
        (tmp_path / name).write_text("x")
    for name in (".a.1-2.part", "a", ".b"):
        os.utime(tmp_path / name, (1, 1))
    whole_file.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".a.3-4.part", ".b", "a"]


def test_many_may_write_one_shared_file(tmp_path):
    contents = [bytes([k]) * 100_000 for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(whole_file.write, tmp_path / "a", c, shared=True) for c in contents]
    assert not any(one.exception() for one in done)
    assert (tmp_path / "a").read_bytes() in contents and os.listdir(tmp_path) == ["a"]
