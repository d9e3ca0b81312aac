"""Validates the answers of a running instance against its own OpenAPI document, and parses its
metrics.

    openapi.py URL TRACK_ID

Requests every path of the document with valid and invalid queries, and validates each answer
against the document's schema for its status. Exits with status 1 and a line that describes the
first mismatch.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get_content_type(), answer.read()


def queries_of(track, artist):
    """The queries for each path: valid and invalid ones."""
    return {
        "/v1/trending": ["", "?scope=*", "?scope=US&limit=3", "?durable=true", "?limit=0", "?at=2000-01-01T00:00:00Z", "?at=earliest", "?x=1"],
        "/v1/charts": ["", "?limit=1", "?after=JP", "?after=a:b", "?x=1"],
        "/v1/charts/weekly": ["", "?scope=*&period=*", "?scope=JP&limit=2", "?period=1", "?scope=device:x", "?scope=ZW", "?scope=Mars"],
        "/v1/charts/artists-tokyo": [""],
        "/v1/charts/by-device": ["?scope=*"],
        "/v1/charts/nope": [""],
        f"/v1/tracks/{track}": ["", "?chart=weekly", "?scope=US", "?scope=ZW", "?scope=Mars", "?period=1", "?chart=nope"],
        "/v1/tracks/nobody-knows-it": [""],
        "/v1/tracks": [f"?id={track}", "?id=..", "?id=%2E", ""],
        "/v1/artists": [f"?name={artist}", f"?name={artist}&limit=1", "?name=nobody", ""],
        "/v1/search": ["?q=a", "?q=zzzzzzzz", "?q=a&limit=1", "", "?q=a&limit=x"],
        "/v1/geo": ["", f"?track={track}", "?limit=1", "?after=JP", "?period=1", "?chart=by-device"],
        "/v1/dead-letters": ["", "?limit=3", "?limit=0"],
        "/v1/status": [""],
        "/v1/openapi.json": [""],
        "/healthz": [""],
        "/readyz": [""],
    }


def template(document, path):
    """The path template in the document that matches `path`."""
    parts = path.split("/")
    for known in sorted(document["paths"], key=lambda known: "{" in known):
        others = known.split("/")
        if len(others) == len(parts) and all(a == b or b.startswith("{") for a, b in zip(parts, others)):
            return known
    sys.exit(f"{path} is not in the document")


def check_answers(document, url, track):
    artist = urllib.parse.quote(json.loads(get(f"{url}/v1/tracks/{track}")[2])["artist"])
    tested, count = set(), 0
    for path, queries in queries_of(track, artist).items():
        known = template(document, path)
        tested.add(known)
        responses = document["paths"][known]["get"]["responses"]
        for query in queries:
            status, kind, body = get(f"{url}{path}{query}")
            where = f"GET {path}{query}: {status} {kind}"
            if str(status) not in responses:
                sys.exit(f"{where}: the document does not have this status")
            content = responses[str(status)]["content"]
            if kind not in content:
                sys.exit(f"{where}: the content type is not one of {', '.join(content)}")
            if "json" in kind:
                schema = {**content[kind]["schema"], "components": document["components"]}
                errors = Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(json.loads(body))
                if error := next(errors, None):
                    sys.exit(f"{where}: {error.json_path}: {error.message}")
            count += 1
    untested = set(document["paths"]) - tested - {"/v1/stream", "/v1/snapshot", "/metrics"}
    if untested:
        sys.exit(f"no query for {', '.join(sorted(untested))}")
    return count


def check_metrics(url):
    status, kind, body = get(f"{url}/metrics")
    if (status, kind) != (200, "text/plain"):
        sys.exit(f"/metrics: {status} {kind}")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    for name, family in families.items():
        if not name.startswith("reprise_") or not family.documentation or family.type == "unknown":
            sys.exit(f"/metrics: {name} has another prefix, no help, or no type")
        if name.endswith("_total") or family.type == "counter" and any(not s.name.endswith("_total") for s in family.samples):
            sys.exit(f"/metrics: {name} is a {family.type} with the wrong suffix")
    for name in ("reprise_plays", "reprise_freshness_seconds", "reprise_partition_lag", "reprise_commits"):
        if not families[name].samples:
            sys.exit(f"/metrics: {name} has no samples")
    return len(families)


def main():
    url, track = sys.argv[1:]
    document = json.loads(get(f"{url}/v1/openapi.json")[2])
    validate(document)
    answers, metrics = check_answers(document, url, track), check_metrics(url)
    print(f"{answers} answers conform to the document, and {metrics} metrics can be parsed")


if __name__ == "__main__":
    main()
