"""`manage.py serve_worker`: one server process of `serve` with WORKERS above 1. Started by it, not by
people.
"""

from __future__ import annotations

import os
import socket

from django.core.management.base import BaseCommand, CommandParser

from config import serving, worker_pool


class Command(BaseCommand):
    help = "One server process behind a socket that `serve` opened (internal)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fd", type=int, required=True, help="the listening socket")
        parser.add_argument("--parent-fd", type=int, required=True, help="a pipe that closes when the parent ends")
        parser.add_argument("--ready-fd", type=int, required=True, help="a pipe to tell the parent that requests work")
        parser.add_argument("--server", choices=serving.SERVERS, default="uvicorn")

    def handle(self, *, fd: int, parent_fd: int, ready_fd: int, server: str, **_: object) -> None:
        serving.stop_on_signals()
        worker_pool.leave_with_parent(parent_fd)
        # The ready pipe stays open: its end tells the parent of this process's end.
        serving.run(socket.socket(fileno=fd), server=server, ready=lambda: os.write(ready_fd, worker_pool.READY))
