"""Runs everything that proves the program and counts it: the last line is "N passed, N failed".

check.py          what `make check` does
check.py long     what `make check-long` does

Steps of one group run beside each other. Each keeps its whole output in build/check/; what fails is shown.
"""

import collections
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "check"
PYTHON = "/usr/bin/python3"
JOBS = len(os.sched_getaffinity(0))
ASAN = "-fsanitize=address,undefined -fno-sanitize-recover=all"
TSAN = "-fsanitize=thread"

# What the tools say about how many of theirs passed and failed: cmocka, pytest, and our own scripts.
COUNTS = (
    (re.compile(r"^\[  PASSED  \] (\d+) test", re.M), 1),
    (re.compile(r"^\[  FAILED  \] +(\d+) test", re.M), -1),
    (re.compile(r"^(?:=+ )?(?:.*[ ,])?(\d+) passed(?:, .*)? in [\d.]+s", re.M), 1),
    (re.compile(r"^(?:=+ )?(?:.*[ ,])?(\d+) failed(?:, .*)? in [\d.]+s", re.M), -1),
    (re.compile(r"^(?:=+ )?(?:.*[ ,])?(\d+) errors?(?:, .*)? in [\d.]+s", re.M), -1),
    (re.compile(r"^(\d+) (?:lint checks|fuzz targets) passed, \d+ failed$", re.M), 1),
    (re.compile(r"^\d+ (?:lint checks|fuzz targets) passed, (\d+) failed$", re.M), -1),
)

SKIPPED = re.compile(r"^SKIPPED \[(\d+)\] \S+: (.*)$", re.M)
# Where a log begins to say what is wrong: pytest, cmocka, sanitizers.
TROUBLE = re.compile(r"=+ (FAILURES|ERRORS) =+|\[  ERROR   \]|==\d+==ERROR: |.*: runtime error: ")


def make(*targets, **variables):
    return ["make", "--no-print-directory", "-s", f"-j{JOBS}", *(f"{name}={value}" for name, value in variables.items()), *targets]


def pytest(*paths):
    return [PYTHON, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-ra", *paths]


def system(build):
    # Sanitizers make a reload several times as long.
    return pytest("--rootdir", "tests/system", "tests/system"), {"BUILD": build, **({} if build == "build" else {"RELOADS": "300"})}


def build_of(*step):
    """A step that counts as one: it builds or it does not."""
    return [*step], {}


def short_groups():
    fuzz_seconds = os.environ.get("FUZZ_SECONDS", "10")
    return [
        {"build with gcc": build_of(*make("all", "bench-programs", "system-programs"))},
        {"unit tests": (make("unit"), {}), "lint": (make("lint"), {}),
         "allowlists against the table": (pytest(*sorted(map(str, (ROOT / "tests/lint").glob("test_*.py")))), {})},
        {"build with clang": build_of(*make("all", CC="clang", BUILD="build-clang"))},
        {"build with ASan and UBSan": build_of(*make("all", "system-programs", BUILD="build-asan", SANITIZE=ASAN))},
        {"unit tests with ASan and UBSan": (make("unit", BUILD="build-asan", SANITIZE=ASAN), {})},
        {"system tests": system("build"), "system tests with ASan and UBSan": system("build-asan")},
        {f"fuzzing, {fuzz_seconds} s each": (make("fuzz", FUZZ_SECONDS=fuzz_seconds), {})},
    ]


def long_groups():
    return [
        *short_groups(),
        {"build with TSan": build_of(*make("all", "system-programs", BUILD="build-tsan", SANITIZE=TSAN))},
        {"unit tests with TSan": (make("unit", BUILD="build-tsan", SANITIZE=TSAN), {})},
        {"system tests with TSan": system("build-tsan")},
        {"soak and kills": (pytest("--rootdir", "tests/system", "tests/system/test_soak.py"), {"BUILD": "build", "SOAK": "1"})},
        {"fuzzing, 600 s each": (make("fuzz", FUZZ_SECONDS="600"), {"FUZZ_SEED": "0"})},
    ]


def excerpt(lines):
    """The first trouble and the end: the first one often is what the others come from."""
    first = next((number for number, line in enumerate(lines) if TROUBLE.match(line)), len(lines))
    end = max(len(lines) - 60, first)
    return lines[first:min(first + 60, end)] + lines[end:] if first < len(lines) else lines[-120:]


class Step:
    """One program of a group, its output in a log."""

    def __init__(self, name, argv, environment):
        self.name = name
        self.log = LOGS / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".log")
        self.started = time.monotonic()
        with open(self.log, "wb") as stream:
            self.process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                                            env={**os.environ, "MAKEFLAGS": "", **environment})

    def finish(self):
        """Waits, says how it went, and returns (passed, failed)."""
        status = self.process.wait()
        seconds = time.monotonic() - self.started
        text = self.log.read_text(errors="replace")
        passed, failed = 0, 0
        for pattern, sign in COUNTS:
            number = sum(int(match) for match in pattern.findall(text))
            passed, failed = (passed + number, failed) if sign > 0 else (passed, failed + number)
        if passed + failed == 0:
            passed = 1 if status == 0 else 0
        if status != 0 and failed == 0:
            failed = 1
        print(f"{'ok    ' if failed == 0 else 'FAILED'} {self.name}: {passed} passed, {failed} failed, {seconds:.0f} s", flush=True)
        skipped = collections.Counter()
        for number, reason in SKIPPED.findall(text):
            skipped[reason] += int(number)
        print("".join(f"       {number} skipped: {reason}\n" for reason, number in skipped.items()), end="", flush=True)
        if failed:
            print(f"------ {self.log.relative_to(ROOT)}, in part")
            print("\n".join(excerpt(text.splitlines())))
            print("------", flush=True)
        return passed, failed


def main(arguments):
    LOGS.mkdir(parents=True, exist_ok=True)
    passed, failed = 0, 0
    running = []

    def interrupt(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        for group in long_groups() if arguments == ["long"] else short_groups():
            running = [Step(name, argv, environment) for name, (argv, environment) in group.items()]
            broken = False
            for step in running:
                step_passed, step_failed = step.finish()
                passed, failed = passed + step_passed, failed + step_failed
                broken = broken or (step_failed != 0 and step.name == "build with gcc")
            if broken:
                break  # nothing after it could run
    except KeyboardInterrupt:
        for step in running:
            if step.process.poll() is None:
                step.process.send_signal(signal.SIGINT)
                step.process.wait()
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
