"""What the kernel holds in the sets of learned addresses."""

import json


class Element:
    """One address of a set."""

    def __init__(self, item):
        inner = item["elem"] if isinstance(item, dict) else {"val": item}
        self.address = inner["val"]
        self.timeout_s = inner.get("timeout")
        self.name = inner.get("comment")


def sets(lab):
    """Every set of the daemon's table: its name and its elements, in JSON as nft has it."""
    listing = lab.nva.run("nft", "-j", "list", "table", "inet", "aksegressd", check=True)
    items = [item["set"] for item in json.loads(listing.stdout)["nftables"] if "set" in item]
    return {item["name"]: item.get("elem", []) for item in items}


def learned(lab, service, family=4, cluster="prod-weu"):
    """The elements of one set by address; service: "udp.123"."""
    elements = [Element(item) for item in sets(lab)[f"learned.{service}.{cluster}.v{family}"]]
    return {element.address: element for element in elements}
