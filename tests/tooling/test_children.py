"""A signal that comes while a child process is being started: it is heard, and the child is not left behind."""

import os
import signal
import subprocess
import sys

import pytest

from config import children
from tests.patience import wait_until
from tests.tooling.support import is_alive

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Left(Exception):
    """What the handler of a signal raises."""


class StartedSlowly(subprocess.Popen):
    """The signal comes when the child runs and its id is not known yet."""

    pids: list[int] = []

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pids.append(self.pid)
        os.kill(os.getpid(), signal.SIGHUP)


@pytest.fixture
def signalled(monkeypatch):
    """The process ids of all that is started here, each with a SIGHUP; they end with the test."""
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(StartedSlowly, "pids", [])
    monkeypatch.setattr(subprocess, "Popen", StartedSlowly)
    yield StartedSlowly.pids
    signal.signal(signal.SIGHUP, before)
    for pid in filter(is_alive, StartedSlowly.pids):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def own_handlers():
    """This process's handlers come back, whatever a test makes of them."""
    before = {number: signal.getsignal(number) for number in children.INTERRUPTING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("start", [children.spawn, children.run])
def test_a_signal_that_raises_ends_the_child(signalled, start):
    def leave(*_):
        raise Left

    signal.signal(signal.SIGHUP, leave)
    with pytest.raises(Left):
        start(SLEEP)
    assert len(signalled) == 1 and not is_alive(signalled[0])
    assert signal.getsignal(signal.SIGHUP) is leave


@pytest.mark.parametrize("number", children.INTERRUPTING)
@pytest.mark.parametrize("call", range(1, 2 * len(children.INTERRUPTING) + 1))
def test_a_signal_between_two_handlers_leaves_no_child_and_every_handler(own_handlers, monkeypatch, number, call):
    """Handlers are put aside and come back one after the other, and those that are there hear at once."""

    def leave(*_):
        raise Left

    pids, calls, change = [], [], signal.signal

    class Started(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            pids.append(self.pid)

    def change_and_hear(*arguments):
        before = change(*arguments)
        calls.append(arguments)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return before

    for one in children.INTERRUPTING:
        signal.signal(one, leave)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Started)
        patch.setattr(signal, "signal", change_and_hear)
        with pytest.raises(Left):
            children.spawn(SLEEP)
    left = list(filter(is_alive, pids))
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    assert {signal.getsignal(one) for one in children.INTERRUPTING} == {leave}


def test_a_signal_that_only_is_noted_leaves_it_running(signalled):
    heard = []
    signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    with children.spawn(SLEEP) as child:
        assert heard == [signal.SIGHUP] and child.poll() is None
        child.kill()
    assert signalled == [child.pid]


def test_what_breaks_off_the_waiting_ends_the_child():
    pids = []

    class Waiting(subprocess.Popen):
        def communicate(self, *arguments, **options):
            pids.append(self.pid)
            raise Left

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Left):
        patch.setattr(subprocess, "Popen", Waiting)
        children.run(SLEEP)
    wait_until(lambda: not is_alive(pids[0]), "the child's end")
