#!/usr/bin/env python3
"""Checks a JSON file against a schema: check.py SCHEMA FILE. Python's own library only.

Understands the words of JSON Schema that the schemas here use: type, enum, const, properties, required,
additionalProperties (false, or a schema), items, minItems, minimum, maximum, minLength. Any other word is refused, so
that no schema says more than is checked."""

import json
import sys

KNOWN = {"title", "type", "enum", "const", "properties", "required", "additionalProperties", "items", "minItems",
         "minimum", "maximum", "minLength"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def has_type(value, name):
    if name in ("number", "integer"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return name == "number" or value == int(value)
    return isinstance(value, TYPES[name])


def check(value, schema, at, wrong):
    unknown = set(schema) - KNOWN
    if unknown:
        wrong.append(f"{at}: the schema has words that are not understood: {', '.join(sorted(unknown))}")
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(has_type(value, t) for t in types):
        wrong.append(f"{at}: {json.dumps(value)[:60]} is not {' or '.join(types)}")
        return
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{at}: {json.dumps(value)[:60]} is none of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        wrong.append(f"{at}: {json.dumps(value)[:60]} is not {schema['const']}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            wrong.append(f"{at}: {value} is below {schema['minimum']}")
        if value > schema.get("maximum", value):
            wrong.append(f"{at}: {value} is above {schema['maximum']}")
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        wrong.append(f"{at}: too short")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            wrong.append(f"{at}: {len(value)} items are too few")
        for i, item in enumerate(value):
            check(item, schema.get("items", {}), f"{at}[{i}]", wrong)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        other = schema.get("additionalProperties", True)
        for name in schema.get("required", []):
            if name not in value:
                wrong.append(f"{at}: {name} is missing")
        for name, item in value.items():
            if name in properties:
                check(item, properties[name], f"{at}.{name}", wrong)
            elif other is False:
                wrong.append(f"{at}: {name} should not be there")
            elif other is not True:
                check(item, other, f"{at}.{name}", wrong)


def main():
    wrong = []
    with open(sys.argv[1], encoding="utf-8") as f:
        schema = json.load(f)
    with open(sys.argv[2], encoding="utf-8") as f:
        value = json.load(f)
    check(value, schema, "$", wrong)
    for line in wrong[:20]:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
