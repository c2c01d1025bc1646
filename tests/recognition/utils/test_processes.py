"""Signals as a request to stop."""

from __future__ import annotations

import signal
import threading

import pytest

from recognition.utils.processes import stop_requests


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_the_second_an_interrupt(number):
    before = signal.getsignal(number)
    with stop_requests() as stop:
        assert not stop
        # Raised in this thread: another thread of mxnet's may take a signal sent to the process, and too late.
        signal.raise_signal(number)
        assert stop
        assert stop.name == signal.Signals(number).name
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_another_thread_changes_no_handler():
    seen = []

    def body():
        with stop_requests() as stop:
            seen.append((bool(stop), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]
