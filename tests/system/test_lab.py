"""The lab itself: what the other tests stand on."""

import subprocess
import sys

import lab as lab_module

FORWARDED = """
import sys
sys.path.insert(0, {path!r})
import lab
with lab.Lab() as network:
    print(network.spoke.name, network.directory, flush=True)
    {action}
"""


def run_lab(action, **options):
    script = FORWARDED.format(path=str(lab_module.pathlib.Path(lab_module.__file__).parent), action=action)
    return subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, check=False, timeout=30, **options)


def left_of(text):
    """What is still there of a lab that printed its spoke's name and its directory."""
    name, directory = text.split()[:2]
    prefix = name.rpartition("-")[0]
    return [path for path in (*lab_module.pathlib.Path("/run/netns").iterdir(), *lab_module.pathlib.Path("/etc/netns").iterdir(),
                              lab_module.pathlib.Path(directory)) if path.exists() and path.name.startswith(prefix)]


def test_without_a_daemon_the_origins_are_reached_by_forwarding():
    """Every real server answers, and the origin sees the client's own address."""
    done = run_lab('print(network.spoke.run("curl", "-sS", "-4", "https://packages.microsoft.com/").stdout)\n'
                   '    print(network.spoke.run("curl", "-sS", "-6", "http://security.ubuntu.com/").stdout)')
    assert done.returncode == 0, done.stderr
    assert "peer=198.18.1.10" in done.stdout
    assert "peer=2001:db8:1::10" in done.stdout


def test_a_lab_leaves_nothing_behind():
    """Namespaces, files and processes are gone after the end."""
    done = run_lab("pass")
    assert done.returncode == 0, done.stderr
    assert left_of(done.stdout) == []


def test_a_lab_leaves_nothing_behind_when_its_test_fails():
    """The same after an exception."""
    done = run_lab("raise SystemExit(3)")
    assert done.returncode == 3, done.stderr
    assert left_of(done.stdout) == []


def test_the_leftovers_of_a_killed_lab_are_removed_by_the_next():
    """After kill -9 the namespaces stay; the next lab removes them."""
    done = run_lab("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert left_of(done.stdout) != []
    lab_module.clean_dead(kept_too=False)
    assert left_of(done.stdout) == []


def test_a_kept_lab_stays_until_it_is_asked_to_go():
    """What KEEP=1 left outlives the next lab and goes with `lab.py clean PID`."""
    done = run_lab("network.keep = True")
    try:
        lab_module.clean_dead(kept_too=False)
        assert len(left_of(done.stdout)) > 5
    finally:
        lab_module.clean_dead({int(done.stdout.split("-")[1])})
    assert left_of(done.stdout) == []
