"""The daemon's nftables table among other programs that change rules."""

import pytest

from lab import wait_for
from network_origins import ECHO, UdpEcho, ask


def has_table(lab):
    return lab.nva.run("nft", "list", "table", "inet", "aksegressd").returncode == 0


def test_a_flush_of_all_rules_is_undone(daemon, client, lab):
    """Each time that another program removes the table the daemon puts it back, and refuses what it refused before."""
    for times in range(1, 4):
        lab.nva.nft("flush ruleset\n")
        wait_for(lambda: has_table(lab), "table")
        wait_for(lambda: daemon.log().count("put it back") == times, "word of it in the log")
        assert client.curl("http://example.com/").status == 403
        assert client.curl("https://first.allowed.example/", "--cacert", lab.directory / "ca.pem").status == 200


def test_other_tables_are_others_business(daemon, lab):
    """Tables that come and go beside the daemon's are left alone and not talked about."""
    lab.nva.nft("add table inet other\nadd table ip aksegressd\n")
    lab.nva.nft("delete table inet other\ndelete table ip aksegressd\n")
    daemon.reload()
    daemon.wait_log("reloaded")
    assert has_table(lab) and "put it back" not in daemon.log()


def test_an_old_table_that_another_program_brings_back_is_undone(start_daemon, lab):
    """A ruleset saved before a stricter reload, loaded after it: what the reload refused stays refused."""
    daemon = start_daemon(lambda config: config["clusters"][0]["allow"].append(f"udp [{ECHO}]:5000"))
    saved = lab.nva.run("nft", "list", "table", "inet", "aksegressd", check=True).stdout
    daemon.config["clusters"][0]["allow"].pop()
    daemon.reload()
    with UdpEcho(lab) as echo:
        for times, text in enumerate([f"delete table inet aksegressd\n{saved}", "flush chain inet aksegressd forward\n",
                                      "add element inet aksegressd clusters.v4 { 198.18.4.0/24 : goto cluster.prod-weu }\n"], 1):
            lab.nva.nft(text)
            wait_for(lambda times=times: daemon.log().count("put it back") == times, "word of it in the log")
            with pytest.raises(OSError):
                ask(lab.spoke, ECHO)
        assert echo.peers == []
