"""The DNS listener, asked by real clients (dig, kdig, drill) and by handmade ones where those cannot be made to."""
import pytest
DNS = "198.18.1.1"

def serve(config, **changes):
    config["listen"]["dns"] = {"address": DNS, "port": 53}
    config["clusters"][0].update(changes)

def test_smoke(start_daemon, lab):
    d = start_daemon(serve)
    for argv in (["dig", "@" + DNS, "first.allowed.example"], ["dig", "+norec", "@" + DNS, "evil.example", "A"], ["kdig", "+tcp", "@" + DNS, "first.allowed.example", "AAAA"],
       ["drill", "@" + DNS, "global.handler.control.monitor.azure.com"], ["dig", "@" + DNS, "platform.allowed.example"], ["dig", "@" + DNS, "private.allowed.example"], ["dig", "@" + DNS, "partly-private.allowed.example"], ["dig", "@" + DNS, "nothere.allowed.example"]):
        print(lab.spoke.run(*argv).stdout)
    import json
    for r in d.records(): print(json.dumps(r))
    print(d.log())
