"""The last steps of writing a file so that its name stands for all of it or for what it stood for before. Standard library only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(partial: Path, path: Path, replacing: bool) -> Iterator[BinaryIO]:
    """A file to be written under the new name `partial`; it has its own name when the block has ended and it is on the disk.

    If the block fails nothing is left. Raises OSError, and FileExistsError if the name is taken and not to be replaced.
    """
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
            if replacing:
                os.replace(partial, path)
            else:
                name(partial, path)
        finally:
            with suppress(OSError):
                os.unlink(partial)
    sync(path.parent)


def name(partial: Path, path: Path) -> None:
    """Give a file a name that nobody has. Raises FileExistsError if somebody took it meanwhile."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # no links here, as on FAT: take the name with an empty file, which nobody else then can
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            os.replace(partial, path)
        except OSError:
            os.unlink(path)
            raise


def sync(folder: Path) -> None:
    """Have the names of a folder written to the disk, where folders can be opened for it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
