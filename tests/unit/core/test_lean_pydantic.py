"""What pydantic's core leaves out takes nothing from pydantic, and everybody else has the usual `TypedDict`."""

from __future__ import annotations

import json
import subprocess
import sys

PROBE = """
import json, typing
from wxbridge.core import lean_pydantic
import pydantic, pydantic_core, typing_extensions
from pydantic_core import core_schema

class Point(typing_extensions.TypedDict):
    x: int

class Place(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    points: list[Point]
    name: str = pydantic.Field(min_length=1)

try:
    Place(points=[{"x": "no"}], name="", more=1)
except pydantic.ValidationError as error:
    wrong = sorted(each["type"] for each in error.errors())
print(json.dumps({
    "shapes": core_schema.StringSchema is core_schema.IntSchema,
    "read": Place.model_validate({"points": [{"x": "1"}], "name": "here"}).model_dump(),
    "described": sorted(Place.model_json_schema()["$defs"]),
    "wrong": wrong,
    "usual": typing.TypedDict.__module__ == "typing" and Point.__required_keys__ == {"x"},
}))
"""


def test_pydantic_reads_refuses_and_describes_as_ever() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "shapes": True,
        "read": {"points": [{"x": 1}], "name": "here"},
        "described": ["Point"],
        "wrong": ["extra_forbidden", "int_parsing", "string_too_short"],
        "usual": True,
    }
