"""Directories that code is run from: they, and all that lead to them, can be changed by their owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pontryagin.errors import BackendError

#: Names the directory of compiled libraries, in the environment.
VARIABLE = "PONTRYAGIN_CACHE_DIR"

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def checked(directory: Path) -> Path:
    """The directory, which may be missing, as a path without symbolic links.

    Raises BackendError where others could put code into it, or something else into its place: the directory must belong
    to the effective user and be writable by nobody else; those above belong to that user or to root, and others may
    write to them only where the sticky bit lets everyone rename nothing but what is theirs. OSError where it cannot be
    looked at.
    """
    path = Path(os.path.realpath(directory.parent)) / directory.name
    me = os.geteuid()
    for folder in (*reversed(path.parents), path):
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            break  # we shall create it, below what has been looked at
        last = folder == path
        sticky = bool(found.st_mode & stat.S_ISVTX) and not last
        if stat.S_ISLNK(found.st_mode):
            refusal = f"is a symbolic link; remove it, or name in {VARIABLE} the directory that it leads to"
        elif not stat.S_ISDIR(found.st_mode):
            refusal = f"is no directory; move it away, or name another place in {VARIABLE}"
        elif found.st_uid != me and (last or found.st_uid != 0):
            refusal = f"belongs to user {found.st_uid} (you are {me}); name a directory of yours in {VARIABLE}"
        elif found.st_mode & OTHERS_WRITE and not sticky:
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            refusal = f"can be written to by others (mode {mode}); chmod go-w it, or name another in {VARIABLE}"
        else:
            continue
        raise BackendError(f"no code is run from {path}: {folder} {refusal}")
    return path


def created(directory: Path) -> Path:
    """The directory as `checked` returns it, after it was created, with mode 0700, where it was missing."""
    path = checked(directory)
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    return checked(path)


def check_file(path: Path) -> None:
    """Raises BackendError unless a file in such a directory is ours too, FileNotFoundError where there is none."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        refusal = "is no regular file"
    elif found.st_uid != os.geteuid():
        refusal = f"belongs to user {found.st_uid} (you are {os.geteuid()})"
    elif found.st_mode & OTHERS_WRITE:
        refusal = f"can be written to by others (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return
    raise BackendError(f"no code is run from {path}: it {refusal}; remove it, and it will be built again")
