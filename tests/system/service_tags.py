"""The file of service tags, in the form in which Microsoft publishes it."""

import json


def write_tags(lab, prefixes, cloud="Public"):
    """Writes tags.json into the lab's directory, where AzureMonitor has these prefixes."""
    values = [{"name": name, "id": name, "properties": {"region": region, "addressPrefixes": those}}
              for name, region, those in (("AzureCloud.westeurope", "westeurope", ["20.0.0.0/8"]), ("AzureMonitor", "", prefixes))]
    text = json.dumps({"changeNumber": 1, "cloud": cloud, "values": values}, indent=2)
    (lab.directory / "tags.json").write_bytes(text.replace("\n", "\r\n").encode())
