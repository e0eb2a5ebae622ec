"""The daemon's nftables table among other programs that change rules."""

from lab import wait_for


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
