"""The OpenAPI 3.1 document, made from the list of routes and the structs that check what comes in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

import barograph
from barograph.collect.otlp_messages import Wire
from barograph.core.event import CALLER_KINDS, Document
from barograph.server.ofrep import EvaluationFailure
from barograph.server.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from barograph.server.routes import Route

Json = dict[str, Any]
_REFERENCE = "#/components/schemas/{name}"
_MADE_FOR_THEM = ("event_id", "time")  # fields of an event that are made when they are not given
_SAID = ("description", "default")  # members that say something beside the type
_STATUSES = {
    "400": "What was sent cannot be read",
    "401": "A key is needed, or this one opens nothing",
    "403": "The key may not do this",
    "404": "There is no such thing",
    "408": "The body came too slowly",
    "409": "Somebody else changed it at the same time",
    "412": "It is not what If-Match names any more",
    "413": "Too large",
    "415": "Another Content-Type or Content-Encoding is needed",
    "422": "The one event, or the question, was refused",
    "503": "Not now: try again after the seconds in Retry-After",
    "507": "The disk is full",
}


_REFUSALS: dict[str, Json] = {  # by the form in which a route tells what went wrong
    "problem": {"content": {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(name="ProblemDocument")}}}},
    "sentence": {"content": {"application/json": {"schema": {"type": "string", "minLength": 1}}}},
    "ofrep": {
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(name=EvaluationFailure.__name__)}}}
    },
    "otlp": {},
}


class ProblemDocument(Struct):
    """RFC 9457, and a hint at what to do next."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""


def document(routes: Sequence[Route], root_path: str = "") -> Json:
    """The whole document."""
    structs = [route.gives for route in routes if route.gives] + [route.body for route in routes if route.body]
    _, schemas = msgspec.json.schema_components(
        [*structs, ProblemDocument, EvaluationFailure, *CALLER_KINDS.values()],
        ref_template=_REFERENCE,
        schema_hook=_anything,
    )
    nullable: list[type[Struct]] = [Document, *Wire.__subclasses__()]
    for struct in nullable:
        schemas[struct.__name__] = _nullable(schemas[struct.__name__])
    for kind, struct in CALLER_KINDS.items():
        schemas[struct.__name__] = _as_input(schemas[struct.__name__], kind)
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Barograph",
            "version": barograph.__version__,
            "summary": "The recording instrument for RAG systems",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        **({"servers": [{"url": root_path}]} if root_path else {}),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`barograph key create` makes one"}
            },
        },
    }


def _anything(kind: type) -> Json:
    """Any JSON, where a struct says that it may be any object."""
    if kind is not object:
        raise NotImplementedError
    return {"description": "Any JSON"}


def _as_input(schema: Json, kind: str) -> Json:
    """An event as it may be sent: ids and times are made, unknown fields become tags."""
    required = [name for name in schema.get("required", ()) if name not in (*_MADE_FOR_THEM, "kind")]
    properties = {name: one for name, one in _nullable(schema)["properties"].items() if name != "origin"}
    return {
        **schema,
        "properties": {**properties, "kind": {"enum": [kind, None]}},
        "required": required,
        "additionalProperties": True,
    }


def _nullable(schema: Json) -> Json:
    """A field that may be left out may also be null, which says the same."""
    required = [name for name in schema.get("required", ()) if name not in _MADE_FOR_THEM]
    fields = {name: one if name in required else _or_null(one) for name, one in schema["properties"].items()}
    return {**schema, "properties": fields}


def _or_null(schema: Json) -> Json:
    either = schema.get("anyOf", [{name: value for name, value in schema.items() if name not in _SAID}])
    said = {name: schema[name] for name in _SAID if name in schema}
    return {"anyOf": [*either, *([] if {"type": "null"} in either else [{"type": "null"}])], **said}


def _operation(route: Route) -> Json:
    name = re.sub(r"[^a-z0-9]+", "_", f"{route.method} {route.path}".lower()).strip("_")
    statuses = [] if route.scope == "open" else ["400", "401", "403"]
    statuses += ["404"] if route.scope != "open" else []
    if route.takes or route.body:
        statuses += ["413", "415"]
    if route.takes:
        statuses += ["408", "422", "503", "507"]
    elif route.scope != "open":
        statuses += ["422", "503"]
    if route.changes:
        statuses += ["409", "412"]
    failed = {
        status: {"description": _STATUSES[status], **_REFUSALS[route.refuses]} for status in sorted(set(statuses))
    }
    given: Json = {"$ref": _REFERENCE.format(name=route.gives.__name__)} if route.gives else {}
    if route.gives_many:
        given = {"type": "array", "items": given}
    if route.path == "/readyz":
        failed["503"] = {
            "description": "Not ready, with the reasons",
            "content": {"application/json": {"schema": given}},
        }
    operation: Json = {
        "operationId": name,
        "summary": route.summary,
        "description": f"Needs the scope {route.scope}." if route.scope != "open" else "Open to everybody.",
        "parameters": [*_path_parameters(route.path), *_parameters(route.parameters)],
        "responses": {
            "200": {"description": "Done", "content": {media: {"schema": given} for media in route.media}},
            **failed,
        },
        "security": [] if route.scope == "open" else [{"key": []}, {}],
    }
    body = _body(route)
    return {**operation, "requestBody": body} if body else operation


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameters(kind: type[Struct] | None) -> list[Json]:
    if kind is None:
        return []
    schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    found = []
    for name, one in schema["properties"].items():
        told = {"description": one["description"]} if "description" in one else {}
        inner = {key: value for key, value in one.items() if key != "description"}
        required = name in schema.get("required", ())
        found.append({"name": name, "in": "query", "required": required, "schema": inner, **told})
    return found


def _body(route: Route) -> Json | None:
    if route.body:
        schema: Json = {"$ref": _REFERENCE.format(name=route.body.__name__)}
        content: Json = {"application/json": {"schema": {"type": "array", "items": schema} if route.many else schema}}
        return {"required": True, "content": {**{media: {"schema": {}} for media in route.media}, **content}}
    if route.takes:
        kinds = CALLER_KINDS.values() if route.takes == "events" else [CALLER_KINDS[route.takes]]
        one: Json = {"anyOf": [{"$ref": _REFERENCE.format(name=kind.__name__)} for kind in kinds]}
        content = {
            "application/json": {"schema": {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        }
        return {"required": True, "content": content}
    return None
