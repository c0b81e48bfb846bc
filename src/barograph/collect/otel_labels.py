"""Who a trace belongs to and what one filters it by: application, user, session, variants, tags.

``otel`` asks for them. The root is asked first, then its descendants from the top down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from barograph.collect.otel_tree import Node, Tree
from barograph.collect.otel_values import LABEL, Json, cut, first, json_of
from barograph.core.event import MAX_TAGS

USER_ATTRIBUTES = (
    "user.id", "enduser.id", "traceloop.association.properties.user_id", "traceloop.association.properties.userId",
    "langfuse.user.id", "gen_ai.user", "llm.user", "user_id",
)  # fmt: skip
SESSION_ATTRIBUTES = (
    "session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id",
    "traceloop.association.properties.sessionId", "traceloop.association.properties.thread_id",
    "langfuse.session.id", "session_id",
)  # fmt: skip
USER_METADATA = ("user_id", "userId", "user")
_SESSION_METADATA = ("session_id", "sessionId", "thread_id", "conversation_id")
_PROPERTIES = "traceloop.association.properties."
VARIANT = "barograph.variant."
_METADATA_NOISE = ("ls_", "langgraph_", "lc_", "checkpoint", "__", VARIANT)  # what LangChain notes for itself
_PLAIN = (  # attribute of the root to tag
    ("http.route", "http.route"),
    ("gen_ai.data_source.id", "data_source"),
    ("llm.prompt_template.version", "prompt_version"),
    ("traceloop.prompt.version", "prompt_version"),
    ("gen_ai.prompt.name", "prompt"),
    ("prompt.id", "prompt"),
)
_ANSWERED_BY = ("gen_ai.response.model", "llm.response.model_name")  # the exact version of the model
TAG_TEXT = 1024  # characters of a tag that are kept
_TAG_NAME = 128
_ROOM = MAX_TAGS - 4  # the rest is for what must not be crowded out

Metadata = Mapping[str, Json]


def pipeline_of(resource: Mapping[str, str]) -> str:
    """The application: its service name, or the project that OpenInference calls it by."""
    service = resource.get("service.name", "")
    if not service or service.startswith("unknown_service"):  # what an SDK says that was not told
        service = resource.get("openinference.project.name", "")
    return cut(service, LABEL)


def environment_of(resource: Mapping[str, str]) -> str:
    """Where it runs: production, staging."""
    return cut(first(resource, ("deployment.environment.name", "deployment.environment")), LABEL)


def metadata_of(tree: Tree) -> Metadata:
    """The metadata of the highest span that has any."""
    for node in (tree.top, *tree.levels):
        text = node.attributes.get("metadata")
        if text:
            value = json_of(text)
            if isinstance(value, dict) and value:
                return value
    return {}


def user_of(tree: Tree, metadata: Metadata) -> str:
    """Who asked."""
    return _identifier(tree, USER_ATTRIBUTES, metadata, USER_METADATA)


def session_of(tree: Tree, metadata: Metadata) -> str:
    """The conversation."""
    return _identifier(tree, SESSION_ATTRIBUTES, metadata, _SESSION_METADATA)


def _identifier(tree: Tree, names: Sequence[str], metadata: Metadata, keys: Sequence[str]) -> str:
    found = first(tree.top.attributes, names)
    if not found:
        for node in tree.levels:
            found = first(node.attributes, names)
            if found:
                break
        else:
            found = next((text for key in keys if (text := _text(metadata.get(key)))), "")
    return cut(found, LABEL)


def variants_of(nodes: Iterable[Node], metadata: Metadata) -> dict[str, str]:
    """The experiments' arms: attributes or metadata named ``barograph.variant.<experiment>``."""
    found: dict[str, str] = {}
    for node in nodes:
        if VARIANT in node.names:
            for name, arm in node.attributes.items():
                before, mark, experiment = name.partition(VARIANT)
                if mark and before in ("", _PROPERTIES):
                    _add(found, experiment, arm, LABEL)
    for name, value in metadata.items():
        if name.startswith(VARIANT):
            _add(found, name.removeprefix(VARIANT), _text(value), LABEL)
    return found


def tags_of(tree: Tree, metadata: Metadata, resource: Mapping[str, str], incomplete: str) -> dict[str, str]:
    """What one filters by: the version, the operation, the metadata, the tag list."""
    top = tree.top.attributes
    tags: dict[str, str] = {}
    if incomplete:
        tags["incomplete"] = incomplete
    if tree.root is not None:
        _add(tags, "operation", tree.root.span.name, TAG_TEXT)
    if tree.top.kind == "AGENT":
        _add(tags, "agent", first(top, ("agent.name", "gen_ai.agent.name")), TAG_TEXT)
    _add(tags, "service.version", resource.get("service.version", ""), TAG_TEXT)
    for node in reversed(tree.nodes):
        if node.generates and (answered := first(node.attributes, _ANSWERED_BY)):
            if answered not in ("unknown", node.attributes.get("gen_ai.request.model")):
                _add(tags, "response_model", answered, TAG_TEXT)
            break
    for name, tag in _PLAIN:
        if name in top:
            _add(tags, tag, top[name], TAG_TEXT)
    for node in (tree.top, *tree.levels):
        if "tag.tags" in node.attributes:
            _add(tags, "tags", node.attributes["tag.tags"], TAG_TEXT)
            break
    for name, value in metadata.items():
        if not name.startswith(_METADATA_NOISE) and name not in USER_METADATA and name not in _SESSION_METADATA:
            _add(tags, name, _text(value), TAG_TEXT)
    for node in (tree.top, *tree.levels):
        if _PROPERTIES in node.names:
            _add_properties(tags, node)
            break
    return tags


def _add_properties(tags: dict[str, str], node: Node) -> None:
    for name, text in sorted(node.attributes.items()):
        if name.startswith(_PROPERTIES) and name not in USER_ATTRIBUTES and name not in SESSION_ATTRIBUTES:
            key = name.removeprefix(_PROPERTIES)
            if not key.startswith(_METADATA_NOISE):
                _add(tags, key, text, TAG_TEXT)


def _add(found: dict[str, str], name: str, text: str, limit: int) -> None:
    if text and name and len(name) <= _TAG_NAME and len(found) < _ROOM and name not in found:
        found[name] = cut(text, limit)


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
