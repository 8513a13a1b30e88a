"""All benchmarks, one after the other, as one report.

    python -m benchmarks [--quick] [engine http fanout candles growth accounts margin]

Each is a module of its own with more options (`python -m benchmarks.http --help`). `--quick` only shows that they work.
Ctrl-C, SIGTERM and SIGHUP end the one that runs, with all that it has started.
"""

import argparse
import sys
import time

from benchmarks.commands import Commands
from benchmarks.report import machine

#: Module to the arguments of its quick form.
BENCHMARKS = {
    "engine": ("--operations", "20000"),
    "http": ("--quick",),
    "fanout": ("--sockets", "100", "--seconds", "3"),
    "candles": ("--candles", "20000", "--pages", "50"),
    "growth": ("--quick",),
    "accounts": ("--entries", "20000", "--requests", "20"),
    "margin": ("--quick",),
}


def succeeds(name: str, is_quick: bool, commands: Commands) -> bool:
    """Whether that one ends as it should; it prints by itself."""
    print(f"\n{name}\n{'=' * len(name)}", flush=True)
    started = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *(BENCHMARKS[name] if is_quick else ())]
    returncode = commands.run(command).returncode
    print(f"({time.monotonic() - started:.0f} s)", flush=True)
    return not returncode


def main() -> int:
    """Run those that are named, all by default; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description="Measure what is claimed about speed.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(machine())
    commands = Commands()
    try:
        failed = [name for name in options.names or BENCHMARKS if not succeeds(name, options.quick, commands)]
    except KeyboardInterrupt:
        commands.stop()
        print("stopped", file=sys.stderr)
        return 130
    if failed:
        print(f"\nFAILED: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
