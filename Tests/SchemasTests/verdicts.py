"""Prints `good` or `bad` for each line of an NDJSON file: the verdict of Python's jsonschema.

usage: verdicts.py SCHEMAS.ndjson CASES.ndjson

SCHEMAS has one {"name": ..., "schema": ...} a line, CASES one {"schema": NAME, "value": ...}.
"""
import json
import sys

from jsonschema import Draft202012Validator

validators = {}
with open(sys.argv[1], encoding="utf-8") as schemas:
    for line in schemas:
        entry = json.loads(line)
        Draft202012Validator.check_schema(entry["schema"])
        validators[entry["name"]] = Draft202012Validator(entry["schema"])
with open(sys.argv[2], encoding="utf-8") as cases:
    for line in cases:
        case = json.loads(line)
        print("good" if validators[case["schema"]].is_valid(case["value"]) else "bad")
