"""E-mail addresses: which may be registered, and the canonical form by which an account is found.

Look-up, uniqueness, limits, jobs and search all compare `to_canonical`; nothing else folds an address.
"""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, validate_email

from digests import compute_digest

#: General categories that a mail program does not show, or takes for the end of an address.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})
#: The rest of Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties), whose categories are those of letters.
_UNSEEN = frozenset(
    chr(code)
    for first, last in (
        *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164)),
        *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
    )
    for code in range(first, last + 1)
)
#: What UTS 46 takes for the dots of a domain.
_DOTS = ".。．｡"


def to_deliverable(typed: str) -> str | None:
    """Return an address as mail is sent to it: NFC, the domain in A-labels; None where mail programs would differ.

    The letters of the local part keep their case: some servers distinguish them.
    """
    if any(each in _UNSEEN or unicodedata.category(each) in _UNSEEN_CATEGORIES for each in typed):
        return None
    address = _validated(_without_root(typed))
    # Compatibility forms of specials, such as a full-width comma, become specials where a program normalises.
    return address if address is not None and _validated(fold(address)) is not None else None


def to_canonical(typed: str) -> str:
    """Return the form by which an account is found, equal for all spellings of one address.

    Addresses that may not be registered have one too: accounts from before that rule are found by it.
    """
    return fold(to_deliverable(typed) or typed)


def account_key(typed: str) -> str:
    """Name the account of an address, hashed: counters and proofs should not be lists of addresses."""
    return compute_digest(to_canonical(typed))[:32]


def fold(text: str) -> str:
    """Fold a text's case and compatibility forms: `İ ı ſ ß` and full-width letters become `i i s ss` and ASCII."""
    upper = unicodedata.normalize("NFKC", text).upper()
    folded = unicodedata.normalize("NFKC", upper.casefold())
    # The dot that İ keeps when it is folded, so that it is the letter that databases and people take it for.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", folded).replace("i\u0307", "i"))


def _without_root(typed: str) -> str:
    """Take away the dot that ends a fully qualified domain."""
    return typed[:-1] if typed[-1:] and typed[-1] in _DOTS else typed


def _validated(address: str) -> str | None:
    # An encoded word (RFC 2047) is made of characters that an address may have, and mail programs decode it.
    if "=?" in address:
        return None
    try:
        found = validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return None
    return f"{found.local_part}@{found.ascii_domain}"
