"""Service tags: a file as Microsoft publishes it, rules that name its tags, reload."""

import socket

from clients import hello, read_all, read_until, refused_alert
from odd_origins import ODD, Origin, speak_first
from service_tags import write_tags


def monitor_by_tag(config):
    config["service_tags"] = "tags.json"
    config["clusters"][0]["allow"].append("tcp tag:AzureMonitor:443")


def test_an_address_of_a_tag_is_dialled_at_once_until_the_file_drops_it(start_daemon, lab):
    """The server may speak first; a reload reads the file again, and ends what it no longer covers."""
    write_tags(lab, [f"{ODD}/32", "2001:db8:77::/48"])
    daemon = start_daemon(monitor_by_tag)
    with Origin(lab, speak_first(b"first words")), lab.spoke.connect(ODD, 443) as connection:
        read_until(connection, b"first words")
        write_tags(lab, ["20.1.0.0/16"])
        daemon.reload()
        read_all(connection)
    daemon.expect_one_record(destination_ip=ODD, reason="policy-changed")
    assert refused_alert(lab.spoke.connect(ODD, 443), hello("other.example")) == "unrecognized_name"
    daemon.expect_one_record(fqdn="other.example", action="deny")


def test_a_file_of_another_cloud_keeps_the_old_policy(start_daemon, lab):
    """What is wrong with the new file is told with its place, and what runs goes on."""
    write_tags(lab, [f"{ODD}/32"])
    daemon = start_daemon(monitor_by_tag)
    write_tags(lab, ["20.1.0.0/16"], cloud="AzureGovernment")
    daemon.reload()
    assert "is the file of cloud 'AzureGovernment', but cluster 'prod-weu' is in 'AzurePublicCloud'" in daemon.wait_log("keeping the running")
    with Origin(lab, speak_first(b"first words")), lab.spoke.connect(ODD, 443) as connection:
        assert read_until(connection, b"first words") == b"first words"
        connection.sendall(b"anything")
        assert read_until(connection, b"anything") == b"anything"
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    record = daemon.expect_one_record(destination_ip=ODD)
    assert (record["protocol"], record["feature"], record["reason"]) == ("tcp", "allow", "completed")


def test_a_changed_file_is_read_without_being_asked(start_daemon, lab):
    """A file that is put in the place of the old one takes effect, again and again; a broken one changes nothing."""
    write_tags(lab, ["20.1.0.0/16"])
    daemon = start_daemon(monitor_by_tag)
    for round_number in range(1, 3):
        write_tags(lab, [f"{ODD}/32", f"20.{round_number}.0.0/16"])
        daemon.wait_log(f"reloaded: generation {round_number + 1},")
    with Origin(lab, speak_first(b"first words")), lab.spoke.connect(ODD, 443) as connection:
        read_until(connection, b"first words")
        write_tags(lab, ["20.1.0.0/16"], cloud="AzureGovernment")
        daemon.wait_log("keeping the running")
        connection.sendall(b"goes on")
        assert read_until(connection, b"goes on") == b"goes on"
