"""Seeds one bug at a time into a copy of the tree, and asks the suite whether it notices.

    python -m tests.seeded [--only WORDS] [--jobs 2] [--narrow]

The tree itself is never touched. First the tests where the damage should show, then, unless `--narrow`, the whole
suite. Prints which test caught what; exit 1 when a bug escapes. About twenty minutes in all.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.seeded.bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]
#: Of a test: a file that cannot be imported catches nothing.
FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+::\S+)", re.MULTILINE)


class DidNotRun(Exception):
    """The suite came to no verdict."""


def plant(bug: Bug, tree: Path) -> None:
    """Break the tree. LookupError when the code is not there exactly once: then the bug must be described anew."""
    path = tree / bug.path
    text = path.read_text()
    if text.count(bug.code) != 1:
        raise LookupError(f"{bug.name}: the code stands {text.count(bug.code)} times in {bug.path}")
    path.write_text(text.replace(bug.code, bug.becomes))


def copy_of_the_tree() -> Path:
    """What git knows of, and what is new and not ignored, in a temporary folder."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    tree = Path(tempfile.mkdtemp(prefix="venue-seeded-"))
    tree.chmod(0o755)
    for name in names:
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def first_failure(tree: Path, tests: str, jobs: int) -> str | None:
    """The first test that fails there; None when all pass; DidNotRun where none did either."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", str(jobs), *tests.split()]
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return None
    found = FIRST_FAILURE.search(run.stdout)
    if found is None:
        raise DidNotRun(f"pytest ended with {run.returncode}: {run.stdout[-300:]}{run.stderr[-300:]}")
    return found.group(1)


def caught_by(bug: Bug, jobs: int, *, narrow: bool) -> str | None:
    """The test that notices the bug, or None."""
    tree = copy_of_the_tree()
    try:
        plant(bug, tree)
        return first_failure(tree, bug.tests, jobs) or (None if narrow else first_failure(tree, "tests", jobs))
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Seed bugs and see whether the suite catches them.")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--narrow", action="store_true", help="only the tests where the damage should show")
    options = parser.parse_args()
    chosen = [bug for bug in BUGS if options.only in bug.name]
    escaped = []
    for number, bug in enumerate(chosen, 1):
        started = time.monotonic()
        try:
            test = caught_by(bug, options.jobs, narrow=options.narrow)
        except DidNotRun as error:
            test = f"NO VERDICT: {error}"
            escaped.append(bug.name)
        if test is None:
            escaped.append(bug.name)
        seconds = time.monotonic() - started
        print(f"{number:2}/{len(chosen)}  {bug.name:<68} {test or 'ESCAPED'}  {seconds:.0f} s", flush=True)
    print(f"\n{len(chosen) - len(escaped)} of {len(chosen)} caught" + "".join(f"\nescaped: {name}" for name in escaped))
    return bool(escaped)


if __name__ == "__main__":
    sys.exit(main())
