"""A bot: a client that signs what it sends, by the text of the contract alone."""

import hashlib
import hmac
import json
import time


def signature(secret: str, timestamp: int | str, rest: bytes) -> str:
    return hmac.new(secret.encode(), str(timestamp).encode() + rest, hashlib.sha256).hexdigest()


class Bot:
    """Signed requests of one key."""

    def __init__(self, api, made: dict):
        self.api, self.made = api, made

    def headers(self, method: str, target: str, body: bytes, *, age_ms: int = 0, **changed) -> dict:
        timestamp = int(time.time() * 1000) - age_ms
        sign = signature(self.made["secret"], timestamp, f"{method}{target}".encode() + body)
        made = {"X-API-KEY": self.made["key"], "X-API-TIMESTAMP": str(timestamp), "X-API-SIGN": sign}
        return {**made, **changed}

    def __call__(self, method: str, target: str, body=None, *, age_ms: int = 0, headers=None, **changed):
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = self.headers(method, target, raw, age_ms=age_ms, **changed)
        return self.api(method, target, None if body is None else raw, headers=signed | (headers or {}), token=None)
