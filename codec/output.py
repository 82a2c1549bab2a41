"""The last steps of writing a file so that its name stands for all of it or for what it stood for before. Standard library only."""

import os
from contextlib import suppress
from pathlib import Path


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
