"""Checks of the source that no compiler makes: layers, owners of libraries, documents, format, lengths.

Each function check_… yields one line per problem and counts as one check. The last line of the output is
"N lint checks passed, N failed".
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A file includes headers of its own layer's folder or of lower layers, never up and never sideways.
LAYERS = {"base": 1, "policy": 2, "inspect": 3, "net": 4, "kernel": 4, "records": 5, "traffic": 6, "process": 7}

# Who may include what of the libraries; a folder ends in /.
OWNERS = {
    r"ares(_\w+)?\.h": ["daemon/net/dns_client.c"],
    r"nftables/.*": ["daemon/kernel/nftables.c"],
    r"systemd/sd-journal\.h": [],
    r"systemd/sd-daemon\.h": ["daemon/process/service_manager.c", "daemon/base/log.c"],
    r"libmnl/.*": ["daemon/kernel/"],
    r"libnftnl/.*": ["daemon/kernel/set_elements.c"],
    r"libnetfilter_log/.*": ["daemon/kernel/packet_log.c"],
    r"libnetfilter_conntrack/.*": ["daemon/kernel/flow.c"],
    r"linux/.*netlink.*\.h": ["daemon/kernel/", "include/kernel/"],
    r"openssl/.*": ["daemon/inspect/quic_keys.c", "daemon/records/syslog_tls.c"],
    r"jansson\.h": ["daemon/policy/service_tags.c"],
}
ONE_FILE_OF = {r"libfyaml\.h": "daemon/policy/"}

FUNCTION_LINES = 80
FILE_LINES = 600


def files(*patterns):
    found = set()
    for pattern in patterns:
        found.update(path for path in ROOT.glob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return sorted(found)


def c_files():
    return files("daemon/**/*.[ch]", "include/**/*.h", "ctl/**/*.[ch]", "tests/unit/*.[ch]", "tests/fuzz/*.[ch]", "tests/bench/*.[ch]",
                 "tests/system/*.c")


def shell_files():
    found = []
    for path in files("tests/**/*", "conf/**/*", "debian/*", ".ci/*", "systemd/*"):
        with open(path, "rb") as stream:
            if re.match(rb"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", stream.readline()):
                found.append(path)
    return found


def name(path):
    return str(path.relative_to(ROOT))


def text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def includes(path):
    """(line number, "<" or quote, what) of each include."""
    for number, line in enumerate(text(path).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match[1], match[2]


def output_of(*argv):
    """The lines that a tool printed if it failed; a tool that is not there is a problem too."""
    try:
        done = subprocess.run([str(item) for item in argv], cwd=ROOT, capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return [f"{argv[0]} is not installed: make deps"]
    if done.returncode == 0:
        return []
    return (done.stdout + done.stderr).strip().splitlines() or [f"{argv[0]} ended with {done.returncode}"]


def check_layers():
    """A file calls down, never up, never sideways."""
    for path in files("daemon/**/*.[ch]", "include/**/*.h"):
        layer = path.relative_to(ROOT).parts[1]
        for number, bracket, what in includes(path):
            used = what.partition("/")[0]
            if bracket == "<" or used not in LAYERS or "/" not in what:
                continue
            if LAYERS[used] > LAYERS[layer] or (LAYERS[used] == LAYERS[layer] and used != layer):
                yield f"{name(path)}:{number}: {layer}/ may not include {what}"


def check_folders():
    """Every C file lies in a folder that has a layer."""
    for path in files("daemon/**/*.[ch]", "include/**/*.h"):
        parts = path.relative_to(ROOT).parts
        if len(parts) != 3 or parts[1] not in LAYERS:
            yield f"{name(path)}: not in a folder of a layer ({', '.join(LAYERS)})"


def check_library_owners():
    """One library, one owner."""
    users = {pattern: set() for pattern in ONE_FILE_OF}
    for path in files("daemon/**/*.[ch]", "include/**/*.h", "ctl/**/*.[ch]"):
        for number, bracket, what in includes(path):
            if bracket != "<":
                continue
            for pattern, owners in OWNERS.items():
                if re.fullmatch(pattern, what) and not any(
                        name(path) == owner or (owner.endswith("/") and name(path).startswith(owner)) for owner in owners):
                    yield f"{name(path)}:{number}: <{what}> belongs to {' and '.join(owners) or 'no file'}"
            for pattern, folder in ONE_FILE_OF.items():
                if re.fullmatch(pattern, what):
                    users[pattern].add(name(path))
                    if not name(path).startswith(folder):
                        yield f"{name(path)}:{number}: <{what}> belongs to one file of {folder}"
    for pattern, paths in users.items():
        if len(paths) > 1:
            yield f"<{pattern}> is included by {', '.join(sorted(paths))}; it has one owner"


def check_headers():
    """Each header says #pragma once and compiles alone."""
    for path in files("include/**/*.h"):
        if path.name.endswith("_table.h"):
            continue
        if "#pragma once" not in text(path):
            yield f"{name(path)}: no #pragma once"
        for line in output_of("gcc", "-fsyntax-only", "-std=c11", "-D_GNU_SOURCE", "-Iinclude", "-x", "c", "-include", path, "/dev/null"):
            yield line


def reasons():
    return re.findall(r'^REASON\((\w+), "([a-z-]+)"', text(ROOT / "include/policy/reason_table.h"), re.M)


def check_reasons_documented():
    """docs/decision-log.md has every row of the reason table."""
    path = ROOT / "docs/decision-log.md"
    document = text(path) if path.exists() else ""
    for _, word in reasons():
        if not re.search(rf"^\| *`{word}` *\|", document, re.M):
            yield f"docs/decision-log.md: no row for `{word}`"


def check_reasons_tested():
    """tests/system/test_reasons.py provokes every row of the reason table, and no other."""
    path = ROOT / "tests/system/test_reasons.py"
    tested = re.findall(r'^@provokes\("([a-z-]+)"\)', text(path) if path.exists() else "", re.M)
    known = [word for _, word in reasons()]
    for word in known:
        if word not in tested:
            yield f"tests/system/test_reasons.py: nothing provokes '{word}'"
    for word in tested:
        if word not in known:
            yield f"tests/system/test_reasons.py: '{word}' is no reason"


def check_fields_documented():
    """docs/decision-log.md has a row for every field of a record and for every MESSAGE_ID."""
    document = text(ROOT / "docs/decision-log.md")
    rows = "".join(re.findall(r"^\|[^|]*\|", document, re.M))
    code = "".join(text(path) for path in files("daemon/records/decision.c", "include/records/formatter_journal.h"))
    fields = re.findall(r"\bADD_ARRAY\(\w+, \"([a-z_]+)\"", code) + re.findall(r"\badd_(?:text|number|time|boolean)\(\w+, \"([a-z_]+)\"", code)
    for pair in re.findall(r"\badd_endpoint\(\w+, \"([a-z_]+)\", (?:\"([a-z_]+)\"|NULL)", code):
        fields += [word for word in pair if word]
    for word in fields + re.findall(r"\b[0-9a-f]{32}\b", code):
        if f"`{word}`" not in rows:
            yield f"docs/decision-log.md: no row for `{word}`"


def check_architecture():
    """The where-is-what table of docs/ARCHITECTURE.md names every header under its folder."""
    path = ROOT / "docs/ARCHITECTURE.md"
    document = text(path) if path.exists() else ""
    for header in files("include/**/*.h"):
        folder, stem = header.parent.name, header.stem
        if not re.search(rf"^\|.*`{folder}/.*\b{stem}\b", document, re.M):
            yield f"docs/ARCHITECTURE.md: no row `{folder}/…` names {stem}"


def check_configuration_documented():
    """aksegressd.yaml(5) and conf/aksegressd.yaml name every key that the reader knows."""
    manual, sample = ROOT / "docs/aksegressd.yaml.5", ROOT / "conf/aksegressd.yaml"
    keys = set()
    for path in files("daemon/policy/config*.c"):
        keys.update(re.findall(r'^\s*\{?\s*\.name = "([a-z_0-9]+)",$', text(path), re.M))
    for path in (manual, sample):
        document = text(path) if path.exists() else ""
        for key in sorted(keys):
            if not re.search(rf"\b{key}\b", document):
                yield f"{name(path)}: the key {key} is not there"


def check_manual_pages():
    """mandoc finds no error in the manual pages."""
    pages = files("docs/*.[1-8]")
    if not pages:
        yield "docs/: no manual pages"
        return
    yield from output_of("mandoc", "-T", "lint", "-W", "error", *pages)


def check_make_targets():
    """README.md and CONTRIBUTING.md mention only targets that the Makefile has."""
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.M))
    if not (ROOT / "README.md").exists():
        yield "README.md: there is none"
    for path in files("README.md", "CONTRIBUTING.md", "docs/*.md"):
        for line in re.findall(r"`([^`\n]*)`|^ {4,}(.*)$", text(path), re.M):
            for word in re.findall(r"\bmake ([a-z][a-z-]*)\b(?!=)", "".join(line).split("#")[0]):
                if word not in targets:
                    yield f"{name(path)}: the Makefile has no target {word}"


def check_format():
    """clang-format 14 would change nothing (tables, one row a line, are left as they are)."""
    yield from output_of("clang-format-14", "--dry-run", "-Werror", *(path for path in c_files() if not path.name.endswith("_table.h")))[:60]


def check_cppcheck():
    """cppcheck's warnings that are worth having."""
    queues = next(pathlib.Path("/usr/include").glob("**/sys/queue.h"))  # its macros look like syntax errors unexpanded
    yield from output_of("cppcheck", f"--include={queues}", "--quiet", "--std=c11", "--enable=warning,portability,performance", "--inline-suppr",
                         "--error-exitcode=1", "-j2", "-Iinclude", "-D_GNU_SOURCE", '-DAKSEGRESSD_VERSION=""', '-DAKSEGRESSD_DATADIR=""',
                         '-DAKSEGRESSD_SYSCONFDIR=""', "--suppress=missingIncludeSystem", "--suppress=unmatchedSuppression",
                         "--template={file}:{line}: {severity}: {message} [{id}]", "daemon", *(["ctl"] if (ROOT / "ctl").is_dir() else []))


def check_shell():
    """shellcheck finds nothing."""
    yield from output_of("shellcheck", *shell_files())


def check_function_length():
    """No function is longer than a screen and a half."""
    for path in c_files():
        start = None
        for number, line in enumerate(text(path).splitlines(), 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start - 1 > FUNCTION_LINES:
                    yield f"{name(path)}:{start}: a function of {number - start - 1} lines (at most {FUNCTION_LINES})"
                start = None


def check_file_length():
    """No file has more than 600 lines."""
    for path in c_files() + files("tests/**/*.py"):
        lines = len(text(path).splitlines())
        if lines > FILE_LINES:
            yield f"{name(path)}: {lines} lines (at most {FILE_LINES})"


def check_loose_ends():
    """Nothing is marked as unfinished or switched off."""
    words = re.compile("TO" + "DO|FIX" + "ME|X" + "XX:|#if" + " 0")
    for path in c_files() + files("tests/**/*.py", "tests/**/*.sh", "Makefile", "docs/*", "*.md", "conf/*", "allowlists/*"):
        for number, line in enumerate(text(path).splitlines(), 1):
            if words.search(line):
                yield f"{name(path)}:{number}: {line.strip()}"


def check_sleeps():
    """Tests wait for events with a deadline; they do not sleep (benches measure over a time, which is another thing)."""
    word = re.compile(r"\btime\." + r"sleep\b|\bu?sle" + r"ep\(")
    for path in files("tests/*.py", "tests/[!b]*/**/*.py", "tests/[!b]*/**/*.c"):
        for number, line in enumerate(text(path).splitlines(), 1):
            if word.search(line):
                yield f"{name(path)}:{number}: {line.strip()}"


def check_unbounded_text():
    """Functions that write without a bound, or read the clock or a name without this program's own modules, are not used."""
    forbidden = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|gethostbyname|getaddrinfo|alloca|atoi|system|popen)\(")
    for path in files("daemon/**/*.[ch]", "include/**/*.h", "ctl/**/*.[ch]"):
        code = re.sub(r"/\*.*?\*/", lambda comment: re.sub(r"[^\n]", " ", comment[0]), text(path), flags=re.S)
        for number, line in enumerate(code.splitlines(), 1):
            match = forbidden.search(re.sub(r'"([^"\\]|\\.)*"', '""', line))
            if match:
                yield f"{name(path)}:{number}: {match[1]}() is not used here"


def main(arguments):
    passed, failed = 0, 0
    for label, check in list(globals().items()):
        if not label.startswith("check_") or (arguments and label[6:] not in arguments):
            continue
        problems = list(check())
        print(f"{'FAILED' if problems else 'ok    '} {label[6:].replace('_', ' ')}: {check.__doc__}")
        for problem in problems:
            print(f"       {problem}")
        passed, failed = (passed, failed + 1) if problems else (passed + 1, failed)
    print(f"{passed} lint checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
