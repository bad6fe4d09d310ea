"""Signals that come before anything is there to answer them."""

import signal

_HELD = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1)


def hold() -> None:
    """Have the system keep the signals that stop or kill until `release`.

    To import the engine takes most of a second, in which SIGUSR1 would end the process, and the
    kill switch would be as it was. Threads that start meanwhile leave the signals to the main one.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def take(number: signal.Signals) -> bool:
    """Whether `number` was held; then it comes no more."""
    came = number in signal.sigpending()
    if came:
        signal.sigwait({number})
    return came


def release() -> None:
    """Answer what has come; to be called once its handlers are there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
