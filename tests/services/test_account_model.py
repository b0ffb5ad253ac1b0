"""Two people, their mailboxes and every way to change an account, in any order: nobody gets into another's account.

Each may learn the other's password (`learn_password`), and then be in the account until its owner ends that. The model
says who may get in, from the rules alone; after each entry it is compared. No account is ever left without a way in.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import errors
from container import Container
from devtools.stand_ins.issuers import Issuers, running_issuer
from services.identity.id_tokens import SentIdToken
from services.identity.login_opening import Client
from services.identity.logins import LoginTokens
from services.identity.proofs import Proof
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database, query
from testing.email_outbox import Outbox
from testing.identities import with_issuers
from testing.passkeys import Authenticator
from wire import rest

Result = TypeVar("Result")
PEOPLE = (0, 1)
MAILBOXES_EACH = 2
#: More than the time in which a change of an address can be undone.
LONG = "interval '80 hours'"

people = st.sampled_from(PEOPLE)
boxes = st.integers(0, len(PEOPLE) * MAILBOXES_EACH - 1)
picks = st.integers(0, 99)


@dataclass
class Change:
    """A change of an address, as its old address can undo it."""

    old: int
    token: str
    can_undo: bool


@dataclass
class Method:
    """A passkey, or an identity at a provider, and who added it."""

    owner: int
    #: Whether it was added lately.
    is_new: bool = True
    #: Of an identity.
    subject: str | None = None


@dataclass
class Account:
    """What the rules say of an account. `allowed` may get in, beside the owner of the mailbox of its address."""

    id: uuid.UUID
    mailbox: int
    is_verified: bool
    allowed: set[int]
    password: str = ""
    methods: dict[uuid.UUID, Method] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    #: Links in mails that set a password and work.
    links: list[str] = field(default_factory=list)

    def restrict(self, *people: int) -> None:
        """Let these alone get in, and who has a passkey or an identity."""
        self.allowed = {*people, *(method.owner for method in self.methods.values())}


class Accounts(RuleBasedStateMachine):
    services: ClassVar[Container]
    outbox: ClassVar[Outbox]
    issuers: ClassVar[Issuers]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.name = uuid.uuid4().hex[:16]
        self.addresses = [f"m{number}.{self.name}@example.com" for number in range(len(PEOPLE) * MAILBOXES_EACH)]
        self.accounts: list[Account] = []
        #: What each person knows or has: passwords, refresh tokens, passkeys, and subjects at a provider.
        self.passwords: dict[int, set[str]] = {person: set() for person in PEOPLE}
        self.logins: dict[int, list[LoginTokens]] = {person: [] for person in PEOPLE}
        self.passkeys: dict[int, dict[uuid.UUID, Authenticator]] = {person: {} for person in PEOPLE}
        self.subjects: dict[int, set[str]] = {person: set() for person in PEOPLE}
        #: Every link that a mailbox has got to set the password of an account.
        self.links: list[tuple[int, Account, str]] = []

    # --- Helpers ---------------------------------------------------------------------------------

    def run(self, action: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(action)

    def attempt(self, action: Coroutine[Any, Any, Result]) -> Result | None:
        """Run what the product may refuse; return None then."""
        try:
            return self.run(action)
        except errors.ProductError as refusal:
            assert refusal.status < 500, refusal
            return None

    @staticmethod
    def owner(mailbox: int) -> int:
        return mailbox // MAILBOXES_EACH

    def find(self, mailbox: int) -> Account | None:
        return next((each for each in self.accounts if each.mailbox == mailbox), None)

    def is_reserved(self, mailbox: int, account: Account | None = None) -> bool:
        others = [each for each in self.accounts if each is not account]
        return any(change.can_undo and change.old == mailbox for each in others for change in each.changes)

    def enter(self, person: int, tokens: LoginTokens) -> Account:
        """Note that a person has got into an account, and compare with who may."""
        [account] = [each for each in self.accounts if each.id == tokens.user.id]
        may = person in account.allowed or self.owner(account.mailbox) == person
        assert may, f"takeover: {person} got into the account of {self.owner(account.mailbox)}"
        self.logins[person].append(tokens)
        return account

    def my_login(self, person: int, pick: int) -> tuple[LoginTokens, Account] | None:
        """Pick one of a person's logins that still works."""
        found = []
        for tokens in self.logins[person]:
            try:
                self.services.logins.identify(tokens.access_token)
            except errors.Unauthenticated:
                continue
            account = next((each for each in self.accounts if each.id == tokens.user.id), None)
            assert account is not None, "a login of a deleted account works"
            may = person in account.allowed or self.owner(account.mailbox) == person
            assert may, f"{person} is still in the account of {self.owner(account.mailbox)}"
            found.append((tokens, account))
        return found[pick % len(found)] if found else None

    def my_login_or_new(self, person: int, pick: int) -> tuple[LoginTokens, Account] | None:
        """Pick one of a person's logins, or log in with a password that they know."""
        mine = self.my_login(person, pick)
        if mine is not None:
            return mine
        known = [each for each in self.accounts if each.password and each.password in self.passwords[person]]
        if not known:
            return None
        account = known[pick % len(known)]
        login = self.services.authentication.login
        tokens = self.run(login(self.addresses[account.mailbox], account.password, self.client()))
        return tokens, self.enter(person, tokens)

    def make_proof(self, person: int, account: Account) -> rest.Proof | None:
        """A proof of an account that a person can give: the password, or a code where the mailbox is theirs."""
        if account.password in self.passwords[person] and account.password:
            return {"password": account.password}
        if self.owner(account.mailbox) == person:
            challenge, code = self.get_code(account.mailbox)
            return {"emailCode": {"challengeId": challenge, "code": code}}
        return None

    def prove(self, person: int, account: Account) -> Proof | None:
        proof = self.make_proof(person, account)
        return self.attempt(self.services.proofs.verify(str(account.id), proof)) if proof else None

    def get_code(self, mailbox: int) -> tuple[str, str]:
        challenge = self.run(self.services.email_codes.request(self.addresses[mailbox]))
        self.run(self.services.email_codes.send(challenge.id))
        return challenge.id, self.outbox.codes(self.addresses[mailbox])[-1]

    def make_id_token(self, subject: str, email: str | None = None, **claims: Any) -> SentIdToken:
        nonce, google = uuid.uuid4().hex, self.issuers.google
        audience = google.client_ids["ios"]
        token = google.issue_id_token(subject=subject, email=email, nonce=nonce, audience=audience, **claims)
        return SentIdToken("google", token, nonce)

    def find_linked(self, subject: str) -> Account | None:
        return next((a for a in self.accounts for m in a.methods.values() if m.subject == subject), None)

    def note_identity(self, account: Account, person: int, subject: str) -> None:
        [row] = self.run(query(self.services, "SELECT id, user_id FROM identities WHERE subject = :s", s=subject))
        assert row.user_id == account.id
        self.subjects[person].add(subject)
        account.methods[row.id] = Method(person, subject=subject)
        account.allowed.add(person)

    def client(self) -> Client:
        return Client(uuid.uuid4().hex, "ios")

    @initialize(verified=st.lists(st.booleans(), min_size=len(PEOPLE), max_size=len(PEOPLE)))
    def open_accounts(self, verified: list[bool]) -> None:
        """Each person has an account of their first mailbox."""
        for person in PEOPLE:
            self.register(person, person * MAILBOXES_EACH)
            if verified[person]:
                self.verify(person * MAILBOXES_EACH)

    # --- Ways in ---------------------------------------------------------------------------------

    @rule(person=people, mailbox=boxes)
    def register(self, person: int, mailbox: int) -> None:
        """With any address: whether it is theirs is not known."""
        password = uuid.uuid4().hex
        client = self.client()
        register = self.services.authentication.register
        tokens = self.attempt(register(self.addresses[mailbox], password, client.device_id, client.platform))
        assert (tokens is not None) == (self.find(mailbox) is None and not self.is_reserved(mailbox))
        if tokens is not None:
            self.accounts.append(Account(tokens.user.id, mailbox, False, {person}, password))
            self.passwords[person].add(password)
            self.enter(person, tokens)

    @rule(mailbox=boxes)
    def log_in_with_code(self, mailbox: int) -> None:
        person, account = self.owner(mailbox), self.find(mailbox)
        challenge, code = self.get_code(mailbox)
        login = self.services.email_code_logins.login
        tokens = self.attempt(login(challenge, self.addresses[mailbox], code, self.client()))
        assert (tokens is not None) == (account is not None or not self.is_reserved(mailbox))
        if tokens is None:
            return
        if account is None:
            account = Account(tokens.user.id, mailbox, True, {person})
            self.accounts.append(account)
        if not account.is_verified:
            account.is_verified, account.password, account.methods, account.links = True, "", {}, []
            account.allowed = {person}
        account.allowed.add(person)
        self.enter(person, tokens)

    @rule(person=people, mailbox=boxes)
    def guess_code(self, person: int, mailbox: int) -> None:
        """Nobody gets in with a code from one of their own mailboxes at another's address."""
        own = person * MAILBOXES_EACH
        if self.owner(mailbox) != person:
            challenge, code = self.get_code(own)
            login = self.services.email_code_logins.login
            assert self.attempt(login(challenge, self.addresses[mailbox], code, self.client())) is None

    @rule(person=people)
    def try_everything(self, person: int) -> None:
        """Try all passwords, tokens, passkeys and identities that a person knows or has known."""
        for account in list(self.accounts):
            for password in self.passwords[person]:
                login = self.services.authentication.login
                tokens = self.attempt(login(self.addresses[account.mailbox], password, self.client()))
                assert (tokens is not None) == (password == account.password)
                if tokens is not None:
                    self.enter(person, tokens)
        kept, self.logins[person] = self.logins[person], []
        for each in kept:
            tokens = self.attempt(self.services.logins.refresh(each.refresh_token))
            if tokens is not None:
                self.enter(person, tokens)
        for key, authenticator in self.passkeys[person].items():
            tokens = self.attempt(self.log_in_with_passkey(authenticator))
            assert (tokens is not None) == any(key in each.methods for each in self.accounts)
            if tokens is not None:
                self.enter(person, tokens)
        for subject in self.subjects[person]:
            # Without an address it opens no account.
            tokens = self.attempt(self.services.identity_login.login(self.make_id_token(subject), self.client()))
            assert (tokens is not None) == (self.find_linked(subject) is not None)
            if tokens is not None:
                self.enter(person, tokens)

    async def log_in_with_passkey(self, authenticator: Authenticator) -> LoginTokens:
        challenge = self.services.passkeys.make_challenge()
        answer = json.dumps(authenticator.answer(challenge.options))
        return await self.services.passkeys.login(challenge.token, answer, self.client())

    @rule(mailbox=boxes)
    def log_in_with_provider(self, mailbox: int) -> None:
        """The owner of a mailbox, with an identity whose provider vouches for its address."""
        person, subject = self.owner(mailbox), f"{self.name}-{mailbox}"
        account, linked = self.find(mailbox), self.find_linked(subject)
        sent = self.make_id_token(subject, self.addresses[mailbox], hd="example.com")
        tokens = self.attempt(self.services.identity_login.login(sent, self.client()))
        if linked is None and account is not None:
            # Both have verified the address, and the account is of nobody else at the provider.
            has_other = any(method.subject for method in account.methods.values())
            assert (tokens is not None) == (account.is_verified and not has_other)
        elif linked is None:
            assert (tokens is not None) == (not self.is_reserved(mailbox))
        if tokens is None:
            return
        if linked is None and account is None:
            account = Account(tokens.user.id, mailbox, True, {person})
            self.accounts.append(account)
        if linked is None and account is not None:
            self.note_identity(account, person, subject)
        self.enter(person, tokens)

    @rule(person=people, mailbox=boxes)
    def claim_address_at_provider(self, person: int, mailbox: int) -> None:
        """With a new identity that has any address, for which its provider does not vouch."""
        subject, account = uuid.uuid4().hex, self.find(mailbox)
        sent = self.make_id_token(subject, self.addresses[mailbox], email_verified=False)
        tokens = self.attempt(self.services.identity_login.login(sent, self.client()))
        assert (tokens is not None) == (account is None and not self.is_reserved(mailbox))
        if tokens is not None:
            account = Account(tokens.user.id, mailbox, False, {person})
            self.accounts.append(account)
            self.note_identity(account, person, subject)
            self.enter(person, tokens)

    # --- Changes ---------------------------------------------------------------------------------

    @rule(person=people, pick=picks)
    def learn_password(self, person: int, pick: int) -> None:
        """A person learns the password of an account: it was given, or it was stolen."""
        having = [each for each in self.accounts if each.password]
        if having:
            account = having[pick % len(having)]
            self.passwords[person].add(account.password)
            account.allowed.add(person)

    @rule(person=people, pick=picks)
    def change_password(self, person: int, pick: int) -> None:
        mine = self.my_login_or_new(person, pick)
        if mine is None:
            return
        tokens, account = mine
        proof = self.prove(person, account)
        if proof is None:
            return
        password = uuid.uuid4().hex
        identity = self.services.logins.identify(tokens.access_token)
        try:
            self.run(self.services.passwords.change(identity, password, proof))
        except errors.RequestInvalid:
            assert account.password and account.password not in self.passwords[person]
            return
        account.password, account.links = password, []
        self.passwords[person].add(password)
        account.restrict(person)

    @rule(mailbox=boxes)
    def mail_reset_link(self, mailbox: int) -> None:
        account = self.find(mailbox)
        self.run(self.services.passwords.send_reset(self.addresses[mailbox]))
        if account is not None:
            account.links.append(self.outbox.tokens(self.addresses[mailbox], "reset-password")[-1])
            self.links.append((mailbox, account, account.links[-1]))

    @rule(pick=picks)
    def reset_password(self, pick: int) -> None:
        """With any link that a mailbox has ever got."""
        if not self.links:
            return
        mailbox, account, token = self.links[pick % len(self.links)]
        person, password = self.owner(mailbox), uuid.uuid4().hex
        try:
            self.run(self.services.passwords.reset(token, password))
        except errors.TokenInvalid:
            assert token not in account.links
            return
        assert token in account.links and account.mailbox == mailbox
        if not account.is_verified:
            account.is_verified, account.methods = True, {}
        account.password, account.links = password, []
        self.passwords[person].add(password)
        account.restrict(person)

    @rule(person=people, pick=picks, number=st.integers(0, MAILBOXES_EACH - 1))
    def change_email(self, person: int, pick: int, number: int) -> None:
        """To an address whose mail they can read."""
        mine, mailbox = self.my_login_or_new(person, pick), person * MAILBOXES_EACH + number
        if mine is None or mine[1].mailbox == mailbox:
            return
        identity, account = self.services.logins.identify(mine[0].access_token), mine[1]
        proof = self.prove(person, account)
        if proof is None:
            return
        challenge = self.run(self.services.email_changes.request(identity, self.addresses[mailbox], proof))
        self.run(self.services.email_codes.send(challenge.id))
        code = self.outbox.codes(self.addresses[mailbox])[-1]
        is_free = self.find(mailbox) is None and not self.is_reserved(mailbox, account)
        try:
            self.run(self.services.email_changes.confirm(identity, challenge.id, code))
        except errors.EmailTaken:
            assert not is_free
            return
        assert is_free
        [row] = self.run(
            query(
                self.services,
                "SELECT id FROM email_changes WHERE user_id = :u ORDER BY created_at DESC LIMIT 1",
                u=account.id,
            )
        )
        self.run(self.services.email_changes.send_mails(str(row.id)))
        back = next((n for n, each in enumerate(account.changes) if each.can_undo and each.old == mailbox), None)
        if back is not None:
            for later in account.changes[back + 1 :]:
                later.can_undo = False
        elif account.is_verified:
            token = self.outbox.tokens(self.addresses[account.mailbox], "undo-email-change")[-1]
            account.changes.append(Change(account.mailbox, token, can_undo=True))
        account.mailbox, account.is_verified, account.links = mailbox, True, []
        account.allowed.add(person)

    @rule(pick=picks)
    def undo_email_change(self, pick: int) -> None:
        """With any link that a mailbox has ever got."""
        links = [token for each in self.addresses for token in self.outbox.tokens(each, "undo-email-change")]
        if not links:
            return
        token = links[pick % len(links)]
        valid = [(a, c) for a in self.accounts for c in a.changes if c.can_undo and c.token == token]
        try:
            self.run(self.services.email_changes.undo(token))
        except errors.TokenInvalid:
            assert not valid, "a link does not work"
            return
        assert valid, "takeover: a link works that should not"
        [(account, change)] = valid
        for each in account.changes[account.changes.index(change) :]:
            each.can_undo = False
        account.mailbox, account.is_verified, account.password = change.old, True, ""
        account.links = []
        account.methods = {key: method for key, method in account.methods.items() if not method.is_new}
        account.restrict(self.owner(change.old))

    @rule(mailbox=boxes)
    def verify(self, mailbox: int) -> None:
        """The owner of a mailbox confirms an account that was opened with its address."""
        account = self.find(mailbox)
        if account is not None and not account.is_verified:
            self.run(self.services.email_verification.send(str(account.id)))
            token = self.outbox.tokens(self.addresses[mailbox], "verify-email")[-1]
            self.run(self.services.email_verification.verify(token))
            account.is_verified = True

    @rule(person=people, pick=picks)
    def add_passkey(self, person: int, pick: int) -> None:
        mine = self.my_login_or_new(person, pick)
        proof = self.prove(person, mine[1]) if mine else None
        if mine is None or proof is None:
            return
        identity, authenticator = self.services.logins.identify(mine[0].access_token), Authenticator()
        challenge = self.run(self.services.passkeys.begin(identity, proof))
        answer = json.dumps(authenticator.register(challenge.options))
        passkey = self.run(self.services.passkeys.add(identity, challenge.token, answer, "Phone"))
        mine[1].methods[passkey.id] = Method(person)
        mine[1].allowed.add(person)
        self.passkeys[person][passkey.id] = authenticator

    @rule(person=people, pick=picks)
    def link_identity(self, person: int, pick: int) -> None:
        mine = self.my_login_or_new(person, pick)
        proof = self.make_proof(person, mine[1]) if mine else None
        if mine is None or proof is None:
            return
        identity, subject = self.services.logins.identify(mine[0].access_token), uuid.uuid4().hex
        if self.attempt(self.services.identities.link(identity, self.make_id_token(subject), proof)) is not None:
            self.note_identity(mine[1], person, subject)

    @rule(person=people, pick=picks)
    def remove_method(self, person: int, pick: int) -> None:
        """Not the last way in of an account whose address is not verified."""
        mine = self.my_login_or_new(person, pick)
        if mine is None or not mine[1].methods:
            return
        account, identity = mine[1], self.services.logins.identify(mine[0].access_token)
        key = list(account.methods)[pick % len(account.methods)]
        has_other = account.is_verified or account.password != "" or len(account.methods) > 1
        is_passkey = account.methods[key].subject is None
        remove = self.services.passkeys.remove if is_passkey else self.services.identities.unlink
        try:
            self.run(remove(identity, str(key)))
        except errors.LastLoginMethod:
            assert not has_other
            return
        assert has_other
        del account.methods[key]

    @rule(person=people, pick=picks)
    def delete(self, person: int, pick: int) -> None:
        mine = self.my_login_or_new(person, pick)
        proof = self.prove(person, mine[1]) if mine else None
        if mine and proof:
            self.run(self.services.account_deletion.delete(self.services.logins.identify(mine[0].access_token), proof))
            self.accounts.remove(mine[1])
            mine[1].links = []

    @rule()
    def let_days_pass(self) -> None:
        """Changes can no longer be undone; what was added lately is old."""
        for account in self.accounts:
            for change in account.changes:
                change.can_undo = False
            for method in account.methods.values():
                method.is_new = False
            for statement in (
                f"UPDATE email_changes SET undo_until = undo_until - {LONG}, created_at = created_at - {LONG}",
                f"UPDATE passkeys SET created_at = created_at - {LONG}",
                f"UPDATE identities SET created_at = created_at - {LONG}",
            ):
                self.run(query(self.services, f"{statement} WHERE user_id = :u", u=account.id))

    # --- What holds after each step --------------------------------------------------------------

    @invariant()
    def every_account_has_a_way_in(self) -> None:
        for account in self.accounts:
            [row] = self.run(
                query(
                    self.services,
                    "SELECT email, is_verified, password_hash <> '' AS has_password, (SELECT count(*) FROM passkeys p"
                    " WHERE p.user_id = u.id) + (SELECT count(*) FROM identities i WHERE i.user_id = u.id) AS methods"
                    " FROM users u WHERE id = :u AND deleted_at IS NULL",
                    u=account.id,
                )
            )
            assert row.is_verified or row.has_password or row.methods, "no way in"
            found = (row.email, row.is_verified, row.has_password, row.methods)
            expected = (self.addresses[account.mailbox], account.is_verified, account.password != "")
            assert found == (*expected, len(account.methods))

    def teardown(self) -> None:
        """Each person tries all that they know; then each mailbox gets into the account of its address."""
        for person in PEOPLE:
            self.try_everything(person)
        for account in list(self.accounts):
            self.log_in_with_code(account.mailbox)


@pytest.fixture(scope="module")
def own(settings: Settings) -> Iterator[Settings]:
    with own_database(settings) as found:
        # Wrong codes and mails are counted, and nobody waits here.
        yield found.model_copy(update={"rate_limits": "loose"})


def test_nobody_gets_into_anothers_account(own: Settings) -> None:
    outbox = Outbox()
    with running_issuer() as issuers, asyncio.Runner() as runner:
        running = running_container(with_issuers(own, issuers), mailer=outbox)
        services = runner.run(running.__aenter__())
        try:
            machine = type(
                "Machine", (Accounts,), {"services": services, "outbox": outbox, "issuers": issuers, "runner": runner}
            )
            run_state_machine_as_test(
                machine,
                settings=hypothesis_settings(
                    max_examples=25,
                    stateful_step_count=35,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    database=None,
                ),
            )
        finally:
            runner.run(running.__aexit__(None, None, None))
