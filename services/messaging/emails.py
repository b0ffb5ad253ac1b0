"""Owns the words of every mail: an HTML part and a text part, made from the same sentences."""

from __future__ import annotations

from pathlib import Path

import jinja2

from adapters.ports import Mail

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)


def password_reset(to: str, link: str) -> Mail:
    return _mail(
        to,
        "Set a new password",
        ["Somebody, probably you, asked to set a new password for this address.", "The link works once, for an hour."],
        ("Set a new password", link),
        "If it was not you, there is nothing to do: your password stays as it is.",
    )


def verification(to: str, link: str) -> Mail:
    return _mail(
        to,
        "Is this your address?",
        ["Welcome to Parlance. Please confirm that this address is yours.", "The link works for a day."],
        ("Confirm my address", link),
        "If you did not sign up, somebody mistyped theirs, and you can delete this mail.",
    )


def _mail(to: str, subject: str, sentences: list[str], action: tuple[str, str], closing: str) -> Mail:
    words = {"subject": subject, "sentences": sentences, "label": action[0], "link": action[1], "closing": closing}
    return Mail(
        to=to,
        subject=subject,
        html=_TEMPLATES.get_template("mail.html").render(words),
        text=_TEMPLATES.get_template("mail.txt").render(words),
        link=action[1],
    )
