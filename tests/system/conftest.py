"""Fixtures of the system tests: one lab for the whole run, one daemon for each test that asks for it."""

import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import boot  # noqa: E402
import daemon as daemon_module  # noqa: E402
import lab as lab_module  # noqa: E402
from clients import Client  # noqa: E402


if "SOAK" not in os.environ:
    collect_ignore = ["test_soak.py"]

TEST_SECONDS = 120  # no test takes longer, whatever hangs; SOAK has no bound


@pytest.fixture(autouse=True)
def bounded():
    """Ends a test that hangs."""
    def over(_number, _frame):
        raise TimeoutError(f"the test took more than {TEST_SECONDS} s")
    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(0 if "SOAK" in os.environ else TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def lab():
    """The network; see lab.py."""
    lab_module.end_on_signals()
    with lab_module.Lab() as network:
        yield network
        assert network.counted("leaked") == 0, "packets reached the internet from a client's own address: the NVA forwarded them"


@pytest.fixture
def start_daemon(lab):
    """A function that starts a daemon with changes to the usual configuration, checked and ended after the test.

    change(config) edits the configuration in place. Flows of earlier tests are forgotten: their ends would be this one's records.
    """
    running = []
    lab.nva.run("conntrack", "-F", check=True)

    def start(change=None, **options):
        config = daemon_module.configuration(lab)
        if change is not None:
            change(config)
        instance = daemon_module.Daemon(lab, config, **options)
        running.append(instance)
        return instance.start()

    yield start
    try:
        for instance in running:
            if instance.baseline is not None and not instance.finished:
                instance.check_and_stop()
    finally:
        for instance in running:
            instance.kill()


@pytest.fixture
def daemon(start_daemon):
    """A daemon with the usual configuration."""
    return start_daemon()


@pytest.fixture
def client(lab):
    """Real and handmade clients in the spoke."""
    return Client(lab, lab.spoke)


@pytest.fixture(scope="module")
def booted(lab):
    """One boot for all tests of a file."""
    if boot.sanitized():
        pytest.skip("a sanitizer's run time is not part of the installed machine")
    with boot.Machine(lab) as machine:
        yield machine


@pytest.fixture
def machine(booted):
    """A booted machine with a running service and the usual configuration."""
    yield booted
    booted.reset()
