"""Sequences of events, `x-sequences` of asyncapi.yaml, as the rows of a drawing."""

from __future__ import annotations

from typing import Any

from markdown_it import MarkdownIt

from contract import page_shell

Document = dict[str, Any]

#: The participant that is not a client.
_SERVER = "Server"
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


def render(document: Document) -> str:
    """Render the sequences of the viewer's document, whose operations are those of a client."""
    addresses = {
        (operation["action"], operation["title"]): f"#channel/{operation['action']}/operation/{key.lower()}"
        for key, operation in document["operations"].items()
    }
    sequences = [
        {**sequence, "steps": [_step(step, sequence["participants"], addresses) for step in sequence["steps"]]}
        for sequence in document["info"].get("x-sequences", [])
    ]
    return page_shell.fill("sequences.html", sequences=sequences)


def _step(step: Document, participants: list[str], addresses: dict[tuple[str, str], str]) -> Document:
    """Return a step with its place among the columns, the viewer's address of its event, and its note as HTML."""
    start, end = participants.index(step["from"]), participants.index(step["to"])
    action = "send" if step["to"] == _SERVER else "receive"
    return {
        **step,
        "column": min(start, end),
        "width": abs(end - start),
        "is_to_the_right": end > start,
        "address": addresses.get((action, step["event"])),
        "note": _MARKDOWN.renderInline(step.get("note", "")),
    }
