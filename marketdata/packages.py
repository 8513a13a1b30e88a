"""What to say where a package is missing that not everybody needs."""

import shlex
import sys


def install(what: str) -> str:
    """The command that installs it for the Python that runs this: another `pip` on the path may be another's."""
    return f"{shlex.quote(sys.executable)} -m pip install {what}"
