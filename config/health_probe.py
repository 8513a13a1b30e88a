"""`python -m config.health_probe`: exit code 0 if the server in this container is ready, for container health
checks.

It imports no Django, so that a check every few seconds costs next to nothing.
"""

import os
import sys
import urllib.request

TIMEOUT_SECONDS = 4
#: A proxy that was set for the world outside (HTTP_PROXY) knows nothing of this machine, and is not to see what is sent
#: to it: `manage.py top` sends METRICS_TOKEN.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_ready(port: str) -> bool:
    """Whether /health/ready answers 200 on loopback; behind TLS too, where plain HTTP is redirected."""
    address = f"http://127.0.0.1:{port}/health/ready"
    request = urllib.request.Request(address, headers={"X-Forwarded-Proto": "https"})
    try:
        with DIRECTLY.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status == 200
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_ready(os.environ.get("PORT") or "8000") else 1)
