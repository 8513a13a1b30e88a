"""What does not belong into the log, because it is the peer's mistake and the peer has been told."""

import logging


class PeersMistakes(logging.Filter):
    """Drops the trace that uvicorn writes when a text frame is not UTF-8; that socket is closed with 1007."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, UnicodeDecodeError) and record.msg.startswith("Invalid UTF-8"))
