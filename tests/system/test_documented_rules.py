"""Every documented rule, asked of the program: allowed where its feature is on, named in the hint where it is off."""

import csv
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTROL = ROOT / os.environ.get("BUILD", "build") / "aksegressctl"

LOCATIONS = {"AzurePublicCloud": "westeurope", "AzureChinaCloud": "chinaeast2", "AzureUSGovernment": "usgovvirginia"}
# A value for every parameter and switch of allowlists/README.md.
PARAMETERS = {
    "apiserver_public_ip": "203.0.113.1", "custom_dns_ip": "203.0.113.53", "domain_controller_dns_ip": "203.0.113.54",
    "git_host": "git.example.com", "managed_disk_account": "md-x", "openai_resource": "contoso-ai", "region_cidrs": "203.0.113.0/24",
    "registry": "contoso", "vault_name": "contoso-kv", "vm_agent_account": "umsax", "acr_without_data_endpoints": "yes",
    "ntp_to_anywhere": "yes", "tunnel_to_anywhere": "yes", "tunnel_to_region": "yes",
}


def rows(cloud):
    with open(ROOT / "tests/data/aks-egress-rules.tsv", encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE) if row["cloud"] == cloud]


def host_for(row, cloud):
    """A name or address that the row is about; None for service tags, which need a file of them."""
    text = row["destination"]
    if row["kind"] == "network" and text == "*":
        return "198.51.100.7"
    if row["kind"] == "network" and text.startswith("Azure"):
        return None
    if text == "{region_cidrs}":
        return "203.0.113.200"
    for name, value in PARAMETERS.items():
        text = text.replace("{%s}" % name, value)
    text = text.replace("{location}", LOCATIONS[cloud]).replace("{region}", LOCATIONS[cloud])
    return ("some.name." + text[2:] if text.startswith("*.") else text).replace("*", "x")


def configuration(cloud, features, parameters):
    """One cluster for each list of features, 10.N.0.0/16 for the Nth."""
    lines = ["listen: { proxy: { address: 127.0.0.1, port: 3128 } }", f"allowlist_dirs: ['{ROOT}/allowlists']",
             "snat_pools: [{ name: main, addresses: [198.18.2.1] }]", "clusters:"]
    for number, names in enumerate(features):
        lines += [f"  - name: cluster-{number}", f"    sources: [10.{number}.0.0/16]", f"    cloud: {cloud}",
                  f"    location: {LOCATIONS[cloud]}", "    snat_pool: main", f"    features: [{', '.join(names)}]",
                  "    parameters: { " + ", ".join(f"{name}: '{value}'" for name, value in parameters.items()) + " }"]
    return "\n".join(lines) + "\n"


def ask(path, text, questions):
    path.write_text(text)
    data = "".join("\t".join(question) + "\n" for question in questions).encode()
    done = subprocess.run([CONTROL, "explain", "--config", path, "--batch"], input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("cloud", LOCATIONS)
def test_each_documented_rule_is_allowed_where_its_feature_is_on(cloud, tmp_path):
    """With a value for every parameter, in a cluster that has this one feature."""
    asked = [(row, host_for(row, cloud)) for row in rows(cloud)]
    asked = [(row, host) for row, host in asked if host is not None]
    features = sorted({row["feature"] for row, _ in asked})
    lists = [[] if feature == "core" else [feature] for feature in features]
    questions = [(f"10.{features.index(row['feature'])}.0.7", row["protocol"].lower(), host, port)
                 for row, host in asked for port in row["ports"].split(",")]
    answers = ask(tmp_path / "a.yaml", configuration(cloud, lists, PARAMETERS), questions)
    refused = [(question, answer) for question, answer in zip(questions, answers) if not answer.startswith("ALLOW ")]
    assert len(answers) == len(questions) > 40
    assert refused == []


@pytest.mark.parametrize("cloud", LOCATIONS)
def test_each_documented_name_is_hinted_at_where_its_feature_is_off(cloud, tmp_path):
    """In a cluster with core alone, and no parameters."""
    asked = [(row, host_for(row, cloud)) for row in rows(cloud)
             if row["kind"] == "application" and not row["destination"].startswith("{git_host")]
    questions = [("10.0.0.7", row["protocol"].lower(), host, row["ports"]) for row, host in asked]
    answers = ask(tmp_path / "a.yaml", configuration(cloud, [[]], {}), questions)
    silent = [(question, answer) for question, answer in zip(questions, answers)
              if not answer.startswith("ALLOW ") and "feature '" not in answer]
    assert len(answers) == len(questions) > 20
    assert silent == []
