"""A real browser through the transparent path (where the distribution has Chromium as a package)."""

import base64
import hashlib
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not packaged in this distribution")


@pytest.fixture
def browse(lab):
    """Returns the DOM that headless Chromium makes of a page."""
    certificate = subprocess.run(["openssl", "x509", "-in", lab.directory / "server.pem", "-pubkey", "-noout"], capture_output=True, check=True)
    key = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=certificate.stdout, capture_output=True, check=True)
    pin = base64.b64encode(hashlib.sha256(key.stdout).digest()).decode()

    def visit(url):
        done = lab.spoke.run(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
                             "--no-proxy-server", f"--ignore-certificate-errors-spki-list={pin}", f"--user-data-dir={lab.directory}/chromium",
                             "--timeout=15000", "--dump-dom", url, timeout=60)
        return done.stdout

    yield visit
    shutil.rmtree(lab.directory / "chromium", ignore_errors=True)


def test_chromium_shows_an_allowed_page(daemon, browse):
    """The page of an allowed name is shown, over HTTP/2."""
    assert "origin=packages.microsoft.com" in browse("https://packages.microsoft.com/page")
    assert "h2" in daemon.wait_record(fqdn="packages.microsoft.com", action="allow")["alpn"]


def test_chromium_is_refused_other_names(daemon, browse):
    """A refused name ends in the browser's own error page, not in the origin's."""
    assert "origin=" not in browse("https://example.com/page")
    daemon.wait_record(fqdn="example.com", reason="no-rule")


def test_chromium_reads_why_over_cleartext(daemon, browse):
    """Over cleartext HTTP the refusal itself is shown."""
    assert "no-rule" in browse("http://example.com/page")
    daemon.wait_record(fqdn="example.com", reason="no-rule", protocol="http")
