"""docs/dependencies.md against what the Makefile links, and the licence files."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def linked_libraries():
    makefile = (ROOT / "Makefile").read_text()
    names = re.search(r"^LIBRARIES :?= *((?:.*\\\n)*.*)$", makefile, re.MULTILINE)[1]
    return set(names.replace("\\\n", " ").split())


def documented_libraries():
    """The pkg-config column of the table of linked libraries."""
    page = (ROOT / "docs/dependencies.md").read_text()
    linked = page.split("## Linked into the programs")[1].split("\n## ")[0]
    columns = [line.split("|")[2] for line in linked.splitlines() if line.startswith("| ")]
    return set(re.findall(r"`([\w.+-]+)`", " ".join(columns)))


def test_the_page_lists_exactly_the_libraries_that_are_linked():
    assert linked_libraries() != set()
    assert documented_libraries() == linked_libraries()


def test_the_licence_is_version_2_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE\n                       Version 2, June 1991" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_openssl_exception_is_there():
    assert "OpenSSL" in (ROOT / "LICENSE-EXCEPTION").read_text()
