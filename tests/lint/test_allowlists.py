"""The allowlists against the table of documented AKS egress rules, row by row and both ways."""

import csv
import itertools
import pathlib
import re
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALLOWLISTS = ROOT / "allowlists"
TABLE = ROOT / "tests/data/aks-egress-rules.tsv"

CLOUDS = ("AzurePublicCloud", "AzureChinaCloud", "AzureUSGovernment")
REQUIREMENTS = ("required", "recommended", "conditional", "optional")
ANYWHERE = "[0.0.0.0/0,::/0]"

# Destinations that the grammar refuses by design (a wildcard inside a label), and what the files say instead.
REWRITTEN = {
    "md-*.blob.storage.azure.net": "{managed_disk_account}.blob.storage.azure.net",
    "umsa*.blob.core.windows.net": "{vm_agent_account}.blob.core.windows.net",
}

# Rules that have no row, each with its reason.
ADDITIONS = {
    ("istio", "AzurePublicCloud", "https", "{vault_name}.vault.azure.net", "443", "conditional"):
        "the documented vault.azure.net is the name of no vault",
    ("app-routing", "AzurePublicCloud", "https", "{vault_name}.vault.azure.net", "443", "conditional"):
        "the documented vault.azure.net is the name of no vault",
}

# Rules that reach far beyond the cluster's own resources although the document offers something narrower.
NEEDS_CONSENT = (ANYWHERE, "tag:AzureCloud.{location}", "*.blob.core.windows.net")

RULE = re.compile(
    r"(?P<protocol>https|http|tcp|udp) +"
    r"(?P<destination>\[[^\] ]+\]|\S+?):(?P<ports>[0-9]+(?:[-,][0-9]+)*) +"
    r"(?P<requirement>" + "|".join(REQUIREMENTS) + r")"
    r"(?P<options>(?: +(?:since|retires|when)=\S+)*) +"
    r"(?P<description>\S.*)")


class Rule(NamedTuple):
    """One rule for one cloud; what table and files are compared by."""
    feature: str
    cloud: str
    protocol: str
    destination: str
    ports: str
    requirement: str


class Line(NamedTuple):
    """A rule as its file has it: the clouds it applies to and its options."""
    place: str
    feature: str
    clouds: tuple
    protocol: str
    destination: str
    ports: str
    requirement: str
    options: dict

    def rules(self):
        return [Rule(self.feature, cloud, self.protocol, self.destination, self.ports, self.requirement)
                for cloud in self.clouds]


def clouds_named(text, place):
    if text == "*":
        return CLOUDS
    assert text in CLOUDS, f"{place}: '{text}' is no cloud"
    return (text,)


def lines_of(path):
    """Every rule of a file; a line that is neither rule, comment nor cloud line fails the test."""
    clouds = CLOUDS
    for number, text in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        place = f"{path.name}:{number}"
        if text == "" or text.startswith("#"):
            continue
        if text.startswith("cloud "):
            clouds = clouds_named(text.removeprefix("cloud "), place)
            continue
        match = RULE.fullmatch(text)
        assert match, f"{place}: not a rule: {text}"
        options = dict(option.split("=", 1) for option in match["options"].split())
        yield Line(place, path.stem, clouds, match["protocol"], match["destination"], match["ports"],
                   match["requirement"], options)


def files():
    return sorted(ALLOWLISTS.glob("*.allow"))


def all_lines():
    return [line for path in files() for line in lines_of(path)]


def rows():
    with TABLE.open(encoding="ascii", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))


def destination_of(row):
    """How our grammar writes what the table has in its destination column."""
    text = row["destination"].replace("{region}", "{location}")
    if row["kind"] == "application":
        return REWRITTEN.get(text, text)
    if text == "*":
        return ANYWHERE
    if text.startswith("Azure"):
        return f"tag:{text}"
    if re.fullmatch(r"\{\w+_(ip|cidrs)\}", text):
        return f"[{text}]"
    return text


def rule_of(row):
    return Rule(row["feature"], row["cloud"], row["protocol"].lower(), destination_of(row), row["ports"],
                row["required"])


def table_rules():
    return [rule_of(row) for row in rows()]


def file_rules():
    return [rule for line in all_lines() for rule in line.rules()]


def repeated(rules):
    return sorted({rule for rule in rules if rules.count(rule) > 1})


def parameters_in(line):
    names = re.findall(r"\{(\w+)\}", line.destination)
    return set(names + ([line.options["when"]] if "when" in line.options else []))


def documented_parameters():
    """Name to set of features, from the table in the README."""
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (ALLOWLISTS / "README.md").read_text(), re.MULTILINE)
    return {name: set(re.findall(r"[\w-]+", features)) for name, features in found}


def test_the_table_is_read_whole():
    """Guards the other tests: a row that is skipped or shifted would let them pass."""
    assert len(rows()) == len(TABLE.read_text().splitlines()) - 1
    assert {row["cloud"] for row in rows()} == set(CLOUDS)
    assert {row["kind"] for row in rows()} == {"application", "network"}
    assert {row["required"] for row in rows()} <= set(REQUIREMENTS)
    assert all(row["source"] for row in rows())


def test_every_row_has_a_rule_in_the_file_of_its_feature():
    missing = sorted(set(table_rules()) - set(file_rules()))
    assert missing == []


def test_every_rule_has_a_row_or_is_a_listed_addition():
    unknown = sorted(set(file_rules()) - set(table_rules()) - {Rule(*key) for key in ADDITIONS})
    assert unknown == []


def test_every_listed_addition_is_there_and_has_no_row():
    for key in ADDITIONS:
        assert Rule(*key) in file_rules()
        assert Rule(*key) not in table_rules()


def test_no_row_and_no_rule_is_there_twice():
    assert repeated(table_rules()) == []
    assert repeated(file_rules()) == []


def test_there_is_one_file_per_feature():
    assert {path.stem for path in files()} == {row["feature"] for row in rows()}


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_the_head_names_the_file_and_its_sources_with_date(path):
    head = list(itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()))
    assert head[0].startswith(f"# {path.name}: ")
    sources = [line for line in head if line.startswith("# source: ")]
    for origin in {row["source"] for row in rows() if row["feature"] == path.stem}:
        assert any(names_origin(source, origin) for source in sources), origin
    for source in sources:
        assert re.search(r", (\d{4}-\d\d-\d\d|undated)$", source), source


def names_origin(source, origin):
    """Whether a source line has the repository or address, path, commit and date of the table's source column."""
    wanted = re.findall(r"\S+/[^\s,]+|\b[0-9a-f]{7,40}\b|\b\d{4}-\d\d-\d\d\b|\bundated\b", origin)
    return all(word in source for word in wanted)


def test_a_broad_alternative_needs_consent():
    """What reaches everybody's resources is inactive unless the cluster sets a parameter that says so."""
    broad = [line for line in all_lines() if line.destination in NEEDS_CONSENT]
    assert {line.destination for line in broad} == set(NEEDS_CONSENT)
    for line in broad:
        assert "when" in line.options, line.place


def test_each_group_of_alternatives_has_a_default_without_consent():
    """The last row of a group is the narrowest: it must not carry when=."""
    last_of_group = {}
    for row in rows():
        group = re.search(r"alt-group=([\w-]+)", row["condition"])
        if group:
            last_of_group[row["cloud"], group[1]] = rule_of(row)
    consented = {rule for line in all_lines() if "when" in line.options for rule in line.rules()}
    assert last_of_group != {}
    assert consented & set(last_of_group.values()) == set()


def test_what_was_retired_says_since_when():
    retired = {rule_of(row) for row in rows() if "retired" in row["condition"]}
    dated = {rule for line in all_lines() if "retires" in line.options for rule in line.rules()}
    assert retired == dated


def test_dates_are_dates():
    for line in all_lines():
        for option in ("since", "retires"):
            if option in line.options:
                assert re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", line.options[option]), line.place


def test_application_rules_have_names_only():
    for line in all_lines():
        if line.protocol in ("https", "http"):
            assert not line.destination.startswith(("[", "tag:")), line.place


def test_a_wildcard_is_a_whole_label():
    for line in all_lines():
        if not line.destination.startswith(("[", "tag:")):
            for label in line.destination.split("."):
                assert label == "*" or "*" not in label, line.place


def test_the_readme_lists_every_parameter_with_its_features():
    used = {}
    for line in all_lines():
        for name in parameters_in(line) - {"location"}:
            used.setdefault(name, set()).add(line.feature)
    assert documented_parameters() == used
