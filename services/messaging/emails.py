"""Texts of every e-mail: an HTML part and a text part with the same sentences."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import jinja2

from adapters.ports import Mail

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)

_PAGES = (("Terms", "/terms"), ("Privacy", "/privacy"), ("Safety", "/safety"), ("Contact", "/contact"))


def password_reset(to: str, link: str) -> Mail:
    return _mail(
        to,
        "Set a new password",
        ["A new password was requested for this address.", "The link works once, for an hour."],
        ("Set a new password", link),
        "If you did not request it, ignore this mail: your password does not change.",
    )


def verification(to: str, link: str) -> Mail:
    return _mail(
        to,
        "Confirm your e-mail address",
        ["Welcome to Parlance. Please confirm that this address is yours.", "The link works for a day."],
        ("Confirm my address", link),
        "If you did not sign up, do not confirm: another person has entered your address, and knows the password.",
    )


def account_deletion(to: str, link: str) -> Mail:
    return _mail(
        to,
        "Download your data or delete your account",
        [
            "A link to download your data or to delete your Parlance account was requested for this address.",
            "The link opens a page that says what would be deleted, and asks you to confirm. It works for an hour.",
        ],
        ("Open the page", link),
        "If you did not request it, ignore this mail: nothing is deleted. Do not pass the link on.",
    )


def login_code(to: str, code: str, link: str) -> Mail:
    """Write the same to every address: the mail does not show whether it has an account."""
    return _mail(
        to,
        f"Your code to sign in to Parlance: {code}",
        [f"{code} is your code to sign in to Parlance.", "It works once, for ten minutes, where it was requested."],
        ("Parlance", link),
        "If you did not request it, ignore this mail. Never pass a code on: nobody from Parlance asks for one.",
    )


def email_change_code(to: str, code: str, link: str) -> Mail:
    return _mail(
        to,
        f"Your code to use this address at Parlance: {code}",
        [
            f"{code} is the code with which this becomes the address of a Parlance account.",
            "It works once, for ten minutes, where it was requested.",
        ],
        ("Parlance", link),
        "If you did not request it, ignore this mail. Never pass a code on: nobody from Parlance asks for one.",
    )


def old_address_notice(to: str, undo_link: str | None, link: str) -> Mail:
    """Write to the address that an account had; `undo_link` is None where it was never confirmed."""
    if undo_link is None:
        return _mail(
            to,
            "This is no longer the address of a Parlance account",
            ["A Parlance account that had this address has got another one."],
            ("Parlance", link),
            "If the account is yours and you did not change its address, write to us: see Contact.",
        )
    return _mail(
        to,
        "The address of your account was changed",
        [
            "Your Parlance account has got another e-mail address. If that was you, there is nothing to do.",
            "If it was not you, the link opens a page that gives the account back to this address. It signs out all"
            " devices and removes the password. It works for 72 hours.",
        ],
        ("Undo the change", undo_link),
        "Until then nobody else can use this address at Parlance. Do not pass the link on.",
    )


def new_address_notice(to: str, link: str) -> Mail:
    return _mail(
        to,
        "This is the new address of your account",
        ["Your Parlance account has got this e-mail address.", "The earlier one can undo that for 72 hours."],
        ("Review your account", link),
        "If you did not expect this, write to us: see Contact.",
    )


def security_notice(to: str, sentence: str, link: str, *, is_staff: bool) -> Mail:
    """Write about a change of how an account is logged in to; `link` leads to what its owner reviews."""
    what_next = (
        "log in, set a new one, and write to an administrator"
        if is_staff
        else ('set a new password with the link "Forgot your password?", and look at what your account page lists')
    )
    return _mail(
        to,
        "A change to how your account is signed in to",
        [sentence],
        ("Review your account", link),
        f"If this was not you, another person can get into your account: {what_next}.",
    )


def sanction_statement(to: str, decision: str, reasons: list[str], link: str) -> Mail:
    return _mail(
        to,
        "A decision about your account",
        [decision, *reasons],
        ("Read the decision and appeal", link),
        "The link is for you alone. It works until the last day of the appeal.",
    )


def sanction_lifted(to: str, kind: str, sentences: list[str], link: str) -> Mail:
    return _mail(
        to,
        f"Your {kind} was lifted",
        sentences,
        ("Go to Parlance", link),
        "An appeal that you had submitted is closed by this.",
    )


def appeal_decision(to: str, sentences: list[str], link: str) -> Mail:
    return _mail(
        to,
        "The decision about your appeal",
        sentences,
        ("Go to Parlance", link),
        "A person has decided about your appeal, not the one who had taken the decision before.",
    )


def _mail(to: str, subject: str, sentences: list[str], action: tuple[str, str], closing: str) -> Mail:
    words: dict[str, object] = {
        "subject": subject,
        "sentences": sentences,
        "label": action[0],
        "link": action[1],
        "closing": closing,
    }
    words["pages"] = _list_pages(action[1])
    return Mail(
        to=to,
        subject=subject,
        html=_TEMPLATES.get_template("mail.html").render(words),
        text=_TEMPLATES.get_template("mail.txt").render(words),
        link=action[1],
    )


def _list_pages(link: str) -> list[tuple[str, str]]:
    """Return titles and addresses of the pages that each mail links to, on the site of its link."""
    parts = urlsplit(link)
    return [(title, f"{parts.scheme}://{parts.netloc}{path}") for title, path in _PAGES]
