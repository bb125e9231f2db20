"""A signal is answered once, at the right moment, and never lost."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vidtok.engine.interruption import REPEAT_SECONDS, Interruption
from vidtok.errors import Interrupted


def listen(action: Callable[[], None], interruption: Interruption | None = None) -> None:
    """Do something that a signal has to end."""
    with (interruption or Interruption()).listening():
        action()
        raise AssertionError("went on")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_where_no_step_is_under_way_a_signal_ends_it_at_once(signum: int) -> None:
    with pytest.raises(Interrupted, match="interrupted before the first step; there is no checkpoint yet"):
        listen(lambda: signal.raise_signal(signum))


def test_within_a_step_the_first_signal_asks_and_the_second_ends_it(tmp_path: Path) -> None:
    interruption = Interruption()
    interruption.newest = lambda: tmp_path / "last.ckpt"

    def press_twice() -> None:
        interruption.is_deferred = True
        signal.raise_signal(signal.SIGINT)
        assert interruption.is_requested
        time.sleep(2 * REPEAT_SECONDS)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"a second time, .*; continue with .* --resume .*last\.ckpt"):
        listen(press_twice, interruption)


def test_signals_that_come_together_are_one() -> None:
    interruption = Interruption()
    with interruption.listening():
        interruption.is_deferred = True
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)


def test_what_was_asked_for_in_a_step_is_done_before_a_validation_begins() -> None:
    interruption = Interruption()

    def press_and_validate() -> None:
        interruption.is_deferred = True
        signal.raise_signal(signal.SIGINT)
        with interruption.at_once("during the validation"):
            raise AssertionError("validates")

    with pytest.raises(Interrupted, match="interrupted during the validation"):
        listen(press_and_validate, interruption)


def test_no_except_exception_on_the_way_out_stops_it() -> None:
    def careless() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except Exception:
            return

    with pytest.raises(Interrupted):
        listen(careless)


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def destroy() -> None:
        Destroyed()
        time.sleep(5)

    with pytest.raises(Interrupted):
        listen(destroy)


def test_handlers_are_put_back_and_other_threads_install_none() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    seen: list[object] = []

    def elsewhere() -> None:
        with Interruption().listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    with Interruption().listening():
        pass
    assert seen == before[:1]
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_process_that_waits_in_c_code_ends_all_the_same() -> None:
    """As one that waits for another process which is gone: Python runs no handler there."""
    script = """if True:
        import ctypes
        from vidtok.engine import interruption
        interruption.LEAVE_SECONDS = 0.5
        with interruption.Interruption().listening():
            print("waiting", flush=True)
            lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
            lock(mutex), lock(mutex)  # never returns, signal or not
    """
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True) as it:
        assert it.stdout is not None and it.stderr is not None
        it.stdout.readline()
        time.sleep(0.5)
        it.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        message = it.stderr.read()
    assert it.returncode == 130 and time.monotonic() - begun < 10
    assert message == "error: interrupted before the first step; there is no checkpoint yet\n"
