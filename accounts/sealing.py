"""Secrets that must be readable again: sealed with AES-256-GCM under a key made from the server's own secret.

The sealing key comes from API_KEYS_SECRET, or from SECRET_KEY where that is not set; SECRET_KEY_FALLBACKS still open
what was sealed before. What is sealed is bound to a label, so that a row's secret opens in that row only.
"""

import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

NONCE_BYTES = 12
PURPOSE = b"venue: secrets of API keys"


class Unsealable(Exception):
    """Sealed under another server's secret, or for another label, or damaged."""


def seal(text: str, label: str) -> bytes:
    """The text, readable only by `unseal` with the same label under the same server secret."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(_secrets()[0]).encrypt(nonce, text.encode(), label.encode())


def unseal(sealed: bytes, label: str) -> str:
    """What was sealed; Unsealable."""
    nonce, content = bytes(sealed[:NONCE_BYTES]), bytes(sealed[NONCE_BYTES:])
    for secret in _secrets():
        try:
            return _cipher(secret).decrypt(nonce, content, label.encode()).decode()
        except (InvalidTag, ValueError):
            continue
    raise Unsealable


def _secrets() -> list[str]:
    return [settings.API_KEYS_SECRET or settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


@lru_cache(maxsize=8)
def _cipher(secret: str) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode()))
