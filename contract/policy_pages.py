"""Public pages of the service's documents: terms, privacy, safety, contact, deletion of an account.

They work without scripts, and but for the forms without PostgreSQL and Redis: they are rendered once, at the start.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.routing import Route

from contract import guide, page_shell
from contract.deletion_form import ADDRESS as DELETION_ADDRESS
from contract.deletion_form import DeletionForm
from contract.static_files import FORM_POLICY, Files
from services.safety.published_policy import ADDRESSES, CONTACT_ADDRESS, PublishedPolicy

if TYPE_CHECKING:
    from container import Container

_SITE_FOLDER = "/policies"
#: Where a text has `<!-- NAME -->` on a line of its own, the deployment's own facts stand.
_PLACE = "<!-- {} -->"
#: Characters that Markdown gives a meaning.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def routes(services: Container) -> list[Route]:
    """Build the routes of all pages."""
    files = Files(_SITE_FOLDER)
    policy = services.policy
    pages = {
        "/terms": ("terms",),
        "/privacy": ("privacy",),
        "/safety": ("rules", "child-safety"),
        CONTACT_ADDRESS: ("contact",),
    }
    for address, names in pages.items():
        content = "\n".join(render_text(policy, name) for name in names)
        title = f"{policy.texts[names[0]].title} · Parlance"
        html = page_shell.render(title, content, current=address, links=page_shell.DOCUMENTS, label="Documents")
        files.page(address, html, FORM_POLICY)
    form = DeletionForm(services, render_text(policy, "delete-account"))
    return [*files.routes, Route(DELETION_ADDRESS, form.respond, methods=["GET", "POST"])]


def render_text(policy: PublishedPolicy, name: str) -> str:
    """Render a document as HTML, with the deployment's facts in their places."""
    document = policy.texts[name]
    text = document.text
    for place, (facts, home) in _facts(policy).items():
        mark = _PLACE.format(place)
        if mark in text:
            text = text.replace(mark, facts)
        elif name == home:
            text = f"{text.rstrip()}\n\n{facts}\n"
    if name != "contact":
        text = f"{text.rstrip()}\n\nVersion {_escape(document.version)}\n"
    files = {f"{each}.md": address for each, address in ADDRESSES.items()}
    files |= {"contact.md": CONTACT_ADDRESS, "delete-account.md": DELETION_ADDRESS, "child-safety.md": "/safety"}
    return guide.render(text, f"{name}.md", files)


def _facts(policy: PublishedPolicy) -> dict[str, tuple[str, str | None]]:
    """Map each place to its facts in Markdown, and to the document that has them in any case."""
    return {
        "minimum-age": (_describe_age(policy), None),
        "contact": (_describe_contact(policy), "contact"),
        "retention": (_describe_retention(policy), "privacy"),
    }


def _describe_age(policy: PublishedPolicy) -> str:
    age = f"You are at least **{policy.minimum_age} years** old."
    if policy.minimum_age == 18:
        return f"{age} Minors may not use the service."
    meet = "Minors practise with minors only." if policy.minor_pools else "Only adults are connected with others."
    return f"{age} {meet}"


def _describe_contact(policy: PublishedPolicy) -> str:
    lines = []
    if policy.contact_email:
        lines.append(f"E-mail: [{_escape(policy.contact_email)}](<mailto:{policy.contact_email}>)")
    if policy.contact_address:
        lines.append(f"Post: {_escape(' '.join(policy.contact_address.split()))}")
    return "\n\n".join(lines) or "The operator has not published a contact yet."


def _describe_retention(policy: PublishedPolicy) -> str:
    rows = [
        f"| {_escape(each.data)} | {_describe_days(each.days)} | {_escape(each.rule)} |" for each in policy.retention
    ]
    return "\n".join(["| data | how long | rule |", "| --- | --- | --- |", *rows])


def _escape(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _describe_days(days: int | None) -> str:
    return "–" if days is None else "1 day" if days == 1 else f"{days} days"
