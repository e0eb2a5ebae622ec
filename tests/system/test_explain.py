"""Every documented rule, asked of aksegressctl explain offline: allowed with its feature on, refused with a hint naming it when off."""

import csv
import json
import pathlib
import re
import subprocess

import pytest

from daemon import BUILD, ROOT

CLOUDS = ("AzurePublicCloud", "AzureChinaCloud", "AzureUSGovernment")
PARAMETERS = {
    "apiserver_public_ip": "203.0.113.7", "region_cidrs": "203.0.113.0/24", "custom_dns_ip": "203.0.113.53",
    "domain_controller_dns_ip": "203.0.113.54", "git_host": "git.example.com", "registry": "contoso", "vault_name": "contoso-kv",
    "openai_resource": "contoso-ai", "managed_disk_account": "md-abc", "vm_agent_account": "umsa123", "tunnel_to_region": "yes",
    "tunnel_to_anywhere": "yes", "ntp_to_anywhere": "yes", "acr_without_data_endpoints": "yes",
}


def rows():
    with open(ROOT / "tests/data/aks-egress-rules.tsv", encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def write_config(directory, cloud, features, parameters):
    path = pathlib.Path(directory) / "explained.yaml"
    path.write_text(json.dumps({
        "listen": {"proxy": {"address": "127.0.0.1", "port": 3128}},
        "allowlist_dirs": [str(ROOT / "allowlists")],
        "snat_pools": [{"name": "main", "addresses": ["127.0.0.10"]}],
        "clusters": [{"name": "explained", "sources": ["10.1.0.0/16"], "cloud": cloud, "location": "westeurope", "features": features,
                      "parameters": parameters, "snat_pool": "main"}],
    }), encoding="utf-8")
    return path


def explain(path, questions):
    text = "".join("\t".join(("10.1.0.4", *question)) + "\n" for question in questions)
    done = subprocess.run([BUILD / "aksegressctl", "explain", "--config", path, "--batch"], input=text, capture_output=True, text=True,
                          check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == len(questions), done.stderr
    return lines


def question(row):
    """What a client would ask so that exactly this row matters."""
    name = row["destination"].replace("{region}", "westeurope").replace("{location}", "westeurope")
    name = re.sub(r"\{(\w+)\}", lambda match: PARAMETERS[match.group(1)], name)
    name = {"md-*.blob.storage.azure.net": "md-abc.blob.storage.azure.net",
            "umsa*.blob.core.windows.net": "umsa123.blob.core.windows.net"}.get(name, name)
    if name.startswith("*."):
        name = "a.b" + name[1:]
    if name == "*":
        name = "192.0.2.77"
    return row["protocol"].lower(), name.partition("/")[0], row["ports"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_documented_rule_allows_with_its_feature(cloud, tmp_path):
    """Each row of the table, by service tag aside, is allowed when its feature is on and its parameters have values."""
    asked = [row for row in rows() if row["cloud"] == cloud and not row["destination"].startswith(("AzureMonitor", "AzureCloud"))]
    features = sorted({row["feature"] for row in asked} - {"core"})
    path = write_config(tmp_path, cloud, features, PARAMETERS)
    wrong = [(row["feature"], question(row), line) for row, line in zip(asked, explain(path, [question(row) for row in asked]))
             if not line.startswith("ALLOW ")]
    assert len(asked) > 40
    assert wrong == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_name_of_a_feature_that_is_off_is_refused_with_the_hint(cloud, tmp_path):
    """With core alone each https or http row of another feature is refused, and the hint names a feature that has the name."""
    path = write_config(tmp_path, cloud, [], {})
    table = [row for row in rows() if row["cloud"] == cloud and row["kind"] == "application"]
    lines = explain(path, [question(row) for row in table])
    by_question = {}
    for row in table:
        by_question.setdefault(question(row), set()).add(row["feature"])
    refused = 0
    for row, line in zip(table, lines):
        if "core" in by_question[question(row)]:
            assert line.startswith("ALLOW "), (row, line)
        elif not line.startswith("ALLOW "):  # core's wildcards cover names of other features too
            refused += 1
            assert line.startswith("DENY reason=no-rule "), line
            if row["destination"] != "{git_host}":  # any name could be meant by it
                assert re.findall(r"feature '([\w-]+)'", line), (row["feature"], line)
    assert refused > 15


def test_bad_lines_are_answered_one_for_one_in_order(tmp_path):
    """A line that cannot be read is DENY reason=bad-input, and the next one is answered as usual."""
    path = write_config(tmp_path, "AzurePublicCloud", [], {})
    text = ("10.1.0.4\thttps\tmcr.microsoft.com\t443\n" "nonsense\n" "\n" "10.1.0.4\thttps\tmcr.microsoft.com\t99999\n"
            "10.1.0.4\tgopher\tmcr.microsoft.com\t443\n" + "x" * 100000 + "\n" "10.9.0.4\thttps\tmcr.microsoft.com\t443\n"
            "10.1.0.4\thttps\tMCR.microsoft.COM.\t443\n")
    done = subprocess.run([BUILD / "aksegressctl", "explain", "--config", path, "--batch"], input=text, capture_output=True, text=True,
                          check=False)
    lines = done.stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["ALLOW", "DENY", "DENY", "DENY", "DENY", "DENY", "DENY", "ALLOW"]
    assert all(line == "DENY reason=bad-input" for line in lines[1:6])
    assert "reason=unknown-source" in lines[6]


def test_exit_status_tells_the_answer(tmp_path):
    """0 allowed, 3 denied, 1 failed, 2 usage."""
    path = write_config(tmp_path, "AzurePublicCloud", [], {})

    def run(*arguments):
        return subprocess.run([BUILD / "aksegressctl", *arguments], capture_output=True, text=True, check=False)

    allowed = run("explain", "--config", path, "--source", "10.1.0.4", "https", "mcr.microsoft.com")
    assert (allowed.returncode, allowed.stdout.split(" ")[0]) == (0, "ALLOW"), allowed
    assert 'rule=' in allowed.stdout and '"https mcr.microsoft.com:443"' in allowed.stdout
    denied = run("explain", "--config", path, "--source", "10.1.0.4", "https", "example.com")
    assert (denied.returncode, denied.stdout.split(" ")[0]) == (3, "DENY"), denied
    as_json = json.loads(run("explain", "--json", "--config", path, "--source", "10.1.0.4", "https", "example.com:443").stdout)
    assert as_json["reason"] == "no-rule"
    assert run("explain", "--config", tmp_path / "absent.yaml", "--source", "10.1.0.4", "https", "example.com").returncode == 1
    assert run("explain", "https", "example.com").returncode == 2
    assert run("nonsense").returncode == 2
