"""The venue's OpenAPI document, sharpened for fuzzing.

Pure chance never names a market that exists or an order of one's own, and so never comes past the first look-up. Here
everything that a request may say under a known name (`symbol`, `price`, `order_id`, …) may also be one of a few values
that mean something on the venue under test; whatever the document allowed before stays allowed. Answers are untouched:
they are still held against what the venue promises.
"""

from collections.abc import Mapping
from copy import deepcopy

REQUEST_ENDING = "Request"


def sharpened(document: dict, values: Mapping[str, list]) -> dict:
    """A copy in which requests also have these values, by name of the parameter or property."""
    made = deepcopy(document)
    for methods in made["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in values:
                    parameter["schema"] = _either(values[parameter["name"]], parameter["schema"])
    schemas = made["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith(REQUEST_ENDING):
            _sharpen_properties(schema, values)
    _sharpen_batches(schemas)
    return made


def _sharpen_properties(schema: dict, values: Mapping[str, list]) -> None:
    for name, described in schema.get("properties", {}).items():
        if name in values:
            schema["properties"][name] = _either(values[name], described)
        elif described.get("type") == "array" and name.rstrip("s") in values:
            described["items"] = _either(values[name.rstrip("s")], described["items"])


def _sharpen_batches(schemas: dict) -> None:
    """A batch takes anything, so that each order is answered by itself: here most of it are orders."""
    orders = schemas["BatchRequestRequest"]["properties"]["orders"]
    orders["items"] = {"anyOf": [{"$ref": "#/components/schemas/OrderRequestRequest"}, orders["items"]]}


def _either(known: list, schema: dict) -> dict:
    return {"anyOf": [{"enum": list(known)}, schema]}
