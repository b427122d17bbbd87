"""Code is run only from what nobody else could have written."""

from __future__ import annotations

import os

import pytest
from cache_cases import forget, placed, text

from pontryagin.backend import cache
from pontryagin.backend.private import created
from pontryagin.errors import BackendError

pytestmark = pytest.mark.usefixtures("home")


SOMEBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def test_directory_and_files_are_private_under_any_umask(home):
    before = os.umask(0)
    try:
        library = cache.library_for(text()).path
    finally:
        os.umask(before)
    assert home.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.iterdir() if path != library} == {0o600}
    assert library.stat().st_mode & 0o777 == 0o700


def test_missing_directories_above_are_created_private_too(monkeypatch, tmp_path):
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        cache.library_for(text())
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def refused(match: str) -> None:
    """Nothing is run, counted, or removed there."""
    assert not cache.is_cached(text())
    for action in (lambda: cache.library_for(text()), cache.contents, cache.clear):
        with pytest.raises(BackendError, match=match):
            action()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_directory_that_others_can_write_to_is_refused(home, mode):
    placed(home, text())
    home.chmod(mode)
    refused(f"{home} can be written to by others .mode {mode:04o}.; chmod go-w")


def test_a_directory_below_one_that_others_can_write_to_is_refused_unless_it_is_sticky(home, tmp_path):
    placed(home, text())
    tmp_path.chmod(0o777)
    refused(f"no code is run from {home}: {tmp_path} can be written to by others")
    tmp_path.chmod(0o1777)
    assert cache.library_for(text()).handle.answer() == 42


def test_nothing_is_created_below_a_directory_that_others_can_write_to(home, tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(BackendError, match="can be written to by others"):
        created(home)
    assert not home.exists()


@only_root
def test_a_directory_of_somebody_else_is_refused(home):
    placed(home, text())
    os.chown(home, SOMEBODY, -1)
    refused(f"{home} belongs to user {SOMEBODY} .*name a directory of yours in PONTRYAGIN_CACHE_DIR")


@only_root
def test_a_directory_below_one_of_somebody_else_is_refused(home, tmp_path):
    placed(home, text())
    os.chown(tmp_path, SOMEBODY, -1)
    refused(f"{tmp_path} belongs to user {SOMEBODY}")


def test_a_symbolic_link_in_place_of_the_directory_is_refused(home, tmp_path):
    placed(home, text())
    home.rename(tmp_path / "elsewhere")
    home.symlink_to(tmp_path / "elsewhere")
    refused(f"{home} is a symbolic link")


def test_a_symbolic_link_further_up_is_followed_and_what_it_leads_to_is_looked_at(monkeypatch, tmp_path):
    (tmp_path / "open" / "own").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "link" / "own"))
    assert cache.library_for(text()).path.parent == tmp_path / "open" / "own"
    forget(monkeypatch)
    (tmp_path / "open").chmod(0o777)
    refused(f"{tmp_path / 'open'} can be written to by others")


def test_a_file_in_place_of_the_directory_is_refused(home):
    home.write_text("")
    refused(f"{home} is no directory")


def test_a_library_that_others_can_write_to_is_refused(home):
    path = placed(home, text())
    path.chmod(0o722)
    with pytest.raises(BackendError, match=rf"{path}: it can be written to by others .mode 0722.; remove it"):
        cache.library_for(text())
    cache.clear()
    assert cache.library_for(text()).compiled


@only_root
def test_a_library_of_somebody_else_is_refused(home):
    path = placed(home, text())
    os.chown(path, SOMEBODY, -1)
    with pytest.raises(BackendError, match=rf"{path}: it belongs to user {SOMEBODY}"):
        cache.library_for(text())


def test_a_symbolic_link_in_place_of_a_library_is_refused(home, tmp_path):
    path = placed(home, text())
    path.rename(tmp_path / "elsewhere.so")
    path.symlink_to(tmp_path / "elsewhere.so")
    with pytest.raises(BackendError, match="it is no regular file; remove it"):
        cache.library_for(text())
