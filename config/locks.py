"""Locks on files: had while the file is open, and dropped by the kernel with whoever had them."""

import fcntl
import os
from pathlib import Path


def opened(path: Path) -> int:
    """The descriptor of a file to lock, made if it is not there; programs that are started do not get it."""
    # Read-only is enough for flock, and lets root and the directory's owner share the file.
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def is_had(lock: int, kind: int) -> bool:
    """Have it (LOCK_SH with others, LOCK_EX alone) if that takes no waiting."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
