"""Secrets that the venue makes for itself: generated once, readable by their owner only."""

import secrets
from pathlib import Path

from marketdata import files


class Lost(Exception):
    """The file is there and has no secret in it."""


def generated(path: Path) -> str:
    """The text in `path`; made from 50 random URL-safe characters when the file does not exist yet.

    Two processes may ask at once: both read the winner's text. Lost where somebody emptied the file: another secret
    would open nothing that was sealed with the old one, so that is not for us to make.
    """
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        files.keep_first(path, secrets.token_urlsafe(50))
        text = path.read_text().strip()
    if not text:
        raise Lost(
            f"{path} is empty: put back the one that was there, or delete it to start with a new one (everybody logs"
            " in again, and API keys must be made anew)"
        )
    return text
