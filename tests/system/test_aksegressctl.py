"""aksegressctl without a daemon: exit statuses, batches, the shipped allowlists."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTROL = ROOT / os.environ.get("BUILD", "build") / "aksegressctl"
CONFIGURATION = """
listen: { proxy: { address: 127.0.0.1, port: 3128 } }
allowlist_dirs: [%s]
snat_pools: [{ name: main, addresses: [198.18.2.1] }]
clusters:
  - name: prod-weu
    sources: [10.1.0.0/16]
    cloud: AzurePublicCloud
    location: westeurope
    snat_pool: main
""" % (ROOT / "allowlists")


@pytest.fixture(name="config")
def fixture_config(tmp_path):
    """A configuration file with one cluster on the shipped allowlists."""
    path = tmp_path / "aksegressd.yaml"
    path.write_text(CONFIGURATION)
    return path


def run(*argv, data=None):
    return subprocess.run([CONTROL, *argv], input=data, capture_output=True, check=False, timeout=60)


def explain(config, *argv, data=None):
    return run("explain", "--config", config, *argv, data=data)


def test_allowed_is_status_0_and_refused_is_status_3(config):
    """Scripts tell the answers apart by the exit status."""
    allowed = explain(config, "--source", "10.1.0.7", "https", "mcr.microsoft.com")
    assert allowed.returncode == 0
    assert allowed.stdout.startswith(b"ALLOW cluster=prod-weu feature=core rule=")
    refused = explain(config, "--source", "10.1.0.7", "https", "example.com:443")
    assert refused.returncode == 3
    assert refused.stdout.startswith(b"DENY reason=no-rule hint=")


def test_wrong_usage_is_status_2_and_a_broken_configuration_status_1(config):
    """Neither prints an answer."""
    for argv in ([], ["nonsense"], ["explain"], ["explain", "--source", "x", "https", "a.com"], ["explain", "--batch", "more"],
                 ["explain", "--source", "10.1.0.7", "tcp", "a.com"], ["features", "more"], ["explain", "--unknown"]):
        done = run(*argv)
        assert (done.returncode, done.stdout) == (2, b""), argv
        assert b"usage:" in done.stderr
    config.write_text(CONFIGURATION.replace("westeurope", "westeurope\n    features: [moniter]"))
    done = explain(config, "--source", "10.1.0.7", "https", "a.com")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"did you mean 'monitor'?" in done.stderr


def test_a_batch_answers_each_line_once_in_order(config):
    """Also lines of any length, with any bytes, and a last one without its end."""
    lines = [b"10.1.0.7\thttps\tmcr.microsoft.com\t443", b"", b"x" * 1000, b"y" * 70000, b"z" * 300000, b"\0\0", b"\xff\xfe\t\t\t",
             b"10.1.0.7\thttps\tmcr.microsoft.com\t443\r", b"10.1.0.7\thttps\texample.com\t443", b"10.9.0.7\thttps\texample.com\t443"] * 3
    done = explain(config, "--batch", data=b"\n".join(lines))
    answers = done.stdout.split(b"\n")
    assert done.returncode == 0
    assert answers.pop() == b""
    assert len(answers) == len(lines)
    for line, answer in zip(lines, answers):
        if b"mcr" in line:
            assert answer.startswith(b"ALLOW ")
        elif b"example" in line:
            assert answer.startswith(b"DENY reason=" + (b"no-rule" if line.startswith(b"10.1") else b"unknown-source"))
        else:
            assert answer == b"DENY reason=bad-input"


def test_a_batch_answers_without_waiting_for_the_end(config):
    """A script can ask one question at a time."""
    with subprocess.Popen([CONTROL, "explain", "--config", config, "--batch"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        for name, start in (("mcr.microsoft.com", b"ALLOW"), ("example.com", b"DENY")):
            process.stdin.write(f"10.1.0.7\thttps\t{name}\t443\n".encode())
            process.stdin.flush()
            assert process.stdout.readline().startswith(start)
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def test_json_is_one_object_a_line(config):
    """Answers parse, and carry the same as the text."""
    done = explain(config, "--json", "--batch", data=b"10.1.0.7\thttps\tmcr.microsoft.com\t443\nnonsense\n")
    allowed, bad = map(json.loads, done.stdout.splitlines())
    assert (allowed["action"], allowed["cluster"], allowed["feature"]) == ("allow", "prod-weu", "core")
    assert bad == {"action": "deny", "reason": "bad-input"}


def test_features_lists_every_shipped_file_for_every_cluster(config):
    """On or off, with what is inactive."""
    done = run("features", "--json", "--config", config)
    lines = json.loads(done.stdout)
    assert [line["feature"] for line in lines] == sorted(path.stem for path in (ROOT / "allowlists").glob("*.allow"))
    core = next(line for line in lines if line["feature"] == "core")
    assert core["enabled"] and core["active_rules"] > 0
    assert "parameter apiserver_public_ip has no value" in core["inactive_because"]
    assert not any(line["enabled"] for line in lines if line["feature"] != "core")


@pytest.mark.parametrize("cloud,location", [("AzurePublicCloud", "westeurope"), ("AzureChinaCloud", "chinaeast2"),
                                            ("AzureUSGovernment", "usgovvirginia")])
def test_every_shipped_feature_loads_in_every_cloud(config, cloud, location):
    """With the parameters that the lists require and none of the optional ones."""
    features = ", ".join(sorted(path.stem for path in (ROOT / "allowlists").glob("*.allow")))
    config.write_text(CONFIGURATION.replace("AzurePublicCloud", cloud).replace("westeurope", location) +
                      f"    features: [{features}]\n    parameters: {{ openai_resource: contoso }}\n")
    done = run("features", "--json", "--config", config)
    assert done.returncode == 0, done.stderr.decode()
    assert all(line["enabled"] for line in json.loads(done.stdout))
