"""`manage.py runserver`: daphne's, which serves sockets too. For development; `serve` is the way to run the venue.

Not by daphne's app among the installed ones, which loads Twisted into every server and command: a fifth of their start.
"""

from daphne.management.commands.runserver import Command

__all__ = ["Command"]
