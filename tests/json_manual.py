"""The tables of docs/json.md out of docs/json-schema.json: `python tests/json_manual.py` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

DOCS = Path(__file__).parents[1] / "docs"
SCHEMA = json.loads((DOCS / "json-schema.json").read_text())
BEGIN = "<!-- The rest is made of json-schema.json: python tests/json_manual.py -->\n"


def kind(one):
    """What a value is, in the words of JSON."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "anyOf" in one:
        return " or ".join(kind(each) for each in one["anyOf"])
    if values := one.get("enum", [one["const"]] if "const" in one else []):
        return " or ".join(f"`{json.dumps(each)}`" for each in values)
    below = one.get("items") if one["type"] == "array" else one.get("additionalProperties")
    if below:
        return f"{'list' if one['type'] == 'array' else 'object'} of {kind(below)}"
    return " or ".join([one["type"]] if isinstance(one["type"], str) else one["type"])


def rows(one, prefix=""):
    """A row for each field, and for those of objects within."""
    for name, field in one.get("properties", {}).items():
        yield f"| `{prefix}{name}` | {kind(field)} | {field['description']} |"
        inner = next(
            (each for each in (field, field.get("items", {}), *field.get("anyOf", ())) if "properties" in each), {}
        )
        yield from rows(inner, f"{prefix}{name}.")


def manual():
    """What stands below `BEGIN`."""
    parts = []
    for name, one in SCHEMA["$defs"].items():
        parts.append(f"### {name}\n\n{one['description']}\n")
        inner = next((each for each in (one, *one.get("anyOf", ())) if "properties" in each), None)
        if inner:
            parts.append("\n".join(["| field | type | what |", "| --- | --- | --- |", *rows(inner)]) + "\n")
        elif "items" in one and one["items"].get("type") != "string":
            parts.append(f"A {kind(one)}.\n")
    return "\n".join(parts)


def _closed(part):
    """The schema as a test wants it: no field that it does not have."""
    if isinstance(part, dict):
        closed = {name: _closed(one) for name, one in part.items()}
        if "properties" in part:
            closed["additionalProperties"] = False
        return closed
    return [_closed(one) for one in part] if isinstance(part, list) else part


def hold(name, value):
    """Fail unless the value is what `$defs` has under that name, without a field that stands not there."""
    validator = jsonschema.Draft202012Validator({**_closed(SCHEMA), "$ref": f"#/$defs/{name}"})
    wrong = jsonschema.exceptions.best_match(validator.iter_errors(value))
    assert wrong is None, f"{wrong.json_path}: {wrong.message}"


if __name__ == "__main__":
    page = DOCS / "json.md"
    page.write_text(page.read_text().partition(BEGIN)[0] + BEGIN + "\n" + manual())
