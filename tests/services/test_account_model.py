"""Two people, their mailboxes and every way to change an account, in any order: nobody gets into another's account.

Each may learn the other's password (`learn_password`), and then be in the account until its owner ends that. The model
says who may get in, from the rules alone; after each entry it is compared. No account is ever left without a way in.
"""

from __future__ import annotations

import asyncio
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
from models import LinkedIdentity, Passkey, User
from services.identity.login_opening import Client
from services.identity.logins import LoginTokens
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database, query
from testing.email_outbox import Outbox
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
class Account:
    """What the rules say of an account. `allowed` may get in, beside the owner of the mailbox of its address."""

    id: uuid.UUID
    mailbox: int
    is_verified: bool
    allowed: set[int]
    password: str = ""
    #: Who added each passkey and identity, and whether that was lately.
    methods: dict[uuid.UUID, tuple[int, bool]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    #: Links in mails that set a password and work.
    links: list[str] = field(default_factory=list)

    def restrict(self, *people: int) -> None:
        """Let these alone get in, and who has a passkey or an identity."""
        self.allowed = {*people, *(owner for owner, _ in self.methods.values())}


@dataclass(frozen=True)
class MethodProof:
    """The proof of a passkey or an identity, of which this test has the row alone."""

    user_id: uuid.UUID
    proves_second_factor: bool = False

    async def use(self, db: Any, user: User) -> None: ...


class Accounts(RuleBasedStateMachine):
    services: ClassVar[Container]
    outbox: ClassVar[Outbox]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        name = uuid.uuid4().hex[:16]
        self.addresses = [f"m{number}.{name}@example.com" for number in range(len(PEOPLE) * MAILBOXES_EACH)]
        self.accounts: list[Account] = []
        #: What each person knows: passwords, refresh tokens with their accounts, passkeys and identities.
        self.passwords: dict[int, set[str]] = {person: set() for person in PEOPLE}
        self.logins: dict[int, list[LoginTokens]] = {person: [] for person in PEOPLE}
        self.keys: dict[int, set[uuid.UUID]] = {person: set() for person in PEOPLE}
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

    def prove(self, person: int, account: Account, pick: int) -> Any:
        """A proof of an account that a person can give: the password, or a code where the mailbox is theirs."""
        if account.password in self.passwords[person] and account.password:
            return self.attempt(self.services.proofs.verify(str(account.id), {"password": account.password}))
        if self.owner(account.mailbox) == person:
            challenge, code = self.get_code(account.mailbox)
            body: rest.Proof = {"emailCode": {"challengeId": challenge, "code": code}}
            return self.attempt(self.services.proofs.verify(str(account.id), body))
        return None

    def get_code(self, mailbox: int) -> tuple[str, str]:
        challenge = self.run(self.services.email_codes.request(self.addresses[mailbox]))
        self.run(self.services.email_codes.send(challenge.id))
        return challenge.id, self.outbox.codes(self.addresses[mailbox])[-1]

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
        for key in self.keys[person]:
            tokens = self.run(self.log_in_with_method(key))
            if tokens is not None:
                self.enter(person, tokens)

    async def log_in_with_method(self, key: uuid.UUID) -> LoginTokens | None:
        rows = await query(
            self.services,
            "SELECT user_id FROM passkeys WHERE id = :k UNION ALL SELECT user_id FROM identities WHERE id = :k",
            k=key,
        )
        return await self.services.login_opening.open(MethodProof(rows[0].user_id), self.client()) if rows else None

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
        proof = self.prove(person, account, pick)
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
        proof = self.prove(person, account, pick)
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
        account.methods = {key: (owner, is_new) for key, (owner, is_new) in account.methods.items() if not is_new}
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

    @rule(person=people, pick=picks, kind=st.sampled_from([Passkey, LinkedIdentity]))
    def add_method(self, person: int, pick: int, kind: type[Passkey] | type[LinkedIdentity]) -> None:
        mine = self.my_login_or_new(person, pick)
        if mine is None or self.prove(person, mine[1], pick) is None:
            return
        key, account = uuid.uuid4(), mine[1]
        if kind is Passkey:
            row: Any = Passkey(
                id=key, user_id=account.id, credential_id=key.bytes, public_key=b"k", name="a key", aaguid=key
            )
        else:
            row = LinkedIdentity(id=key, user_id=account.id, provider="google", subject=key.hex)
        self.run(self.store(row))
        account.methods[key] = person, True
        account.allowed.add(person)
        self.keys[person].add(key)

    async def store(self, row: Any) -> None:
        async with self.services.database.transaction() as db:
            db.add(row)

    @rule(person=people, pick=picks)
    def remove_method(self, person: int, pick: int) -> None:
        """Not the last way in of an account whose address is not verified."""
        mine = self.my_login_or_new(person, pick)
        if mine is None or not mine[1].methods:
            return
        account = mine[1]
        key = list(account.methods)[pick % len(account.methods)]
        if not (account.is_verified or account.password or len(account.methods) > 1):
            return
        del account.methods[key]
        for table in (Passkey, LinkedIdentity):
            self.run(query(self.services, f"DELETE FROM {table.__tablename__} WHERE id = :k", k=key))

    @rule(person=people, pick=picks)
    def delete(self, person: int, pick: int) -> None:
        mine = self.my_login_or_new(person, pick)
        proof = self.prove(person, mine[1], pick) if mine else None
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
            account.methods = {key: (owner, False) for key, (owner, _) in account.methods.items()}
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
    with asyncio.Runner() as runner:
        running = running_container(own, mailer=outbox)
        services = runner.run(running.__aenter__())
        try:
            machine = type("Machine", (Accounts,), {"services": services, "outbox": outbox, "runner": runner})
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
