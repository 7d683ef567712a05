"""Is no more admitted than a budget bears, and does the ledger tell every micro-dollar that was spent?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from plms_pipeline_tests.simulation.journal import Change
from plms_pipeline_tests.simulation.rules import Rule, holds

_RESERVED = {"reserve": 1, "settle": -1, "release": -1}
_SETTLED = {"settle": 1, "overrun": 1, "charge": 1}


@dataclass
class _Account:
    reserved: int = 0
    settled: int = 0
    overrun: int = 0


@dataclass
class Money(Rule):
    """A hand-kept ledger in micro-dollars: sums from entries, limits from the owner, costs from the executor."""

    tables = ("projects", "ledger_entries", "ledger_accounts", "task_receipts")
    budgets: dict[str, int | None] = field(default_factory=dict)
    accounts: dict[str, _Account] = field(default_factory=lambda: defaultdict(_Account))
    reserved: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    charged: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    touched: set[tuple[str, str]] = field(default_factory=set)

    def saw(self, change: Change) -> None:
        if change.table == "projects":
            self.budgets[f"project:{change.key}"] = change.a
        elif change.table == "ledger_accounts":
            self.told[change.key] = (change.a, change.b)
        elif change.table == "ledger_entries":
            self._entry(change)
        else:
            run, task, attempt = change.key.rsplit("/", 2)
            key = self.room.outgoing.cards[run, task, int(attempt)]
            project = f"project:{self.room.outgoing.projects[run]}"
            self.touched.add((project, key))

    def _entry(self, change: Change) -> None:
        account, subject, kind, amount = change.a, change.key, str(change.now), int(change.b)
        book, mine = self.accounts[account], (account, subject)
        holds("the ledger balances", amount >= 0, f"{kind} of {amount} in {account}")
        if kind == "reserve":
            holds("money is reserved once", self.reserved[mine] == 0, f"{subject} reserves twice in {account}")
        book.reserved += _RESERVED.get(kind, 0) * amount
        book.settled += _SETTLED.get(kind, 0) * amount
        book.overrun += amount if kind == "overrun" else 0
        self.reserved[mine] += _RESERVED.get(kind, 0) * amount
        if kind in ("settle", "overrun"):
            self.charged[mine] += amount
            self.touched.add(mine)
        holds("the ledger balances", self.reserved[mine] >= 0, f"{subject} gave back more than it had in {account}")
        limit = self._limit(account)
        if kind in ("reserve", "charge") and limit is not None and not subject.startswith("opening@"):
            total = book.settled + book.reserved
            holds(
                "no admission beyond the budget", total <= limit,
                f"{account} admitted {amount} for {subject}: {total} of {limit} micro-dollars",
            )  # fmt: skip

    def _limit(self, account: str) -> int | None:
        if account.startswith("project:"):
            return self.budgets.get(account)
        usd = self.room.daily_usd if account.startswith("portfolio:") else self.room.launcher.daily_usd
        return int(usd * 1_000_000)

    def committed(self) -> None:
        for account, (settled, reserved) in self.told.items():
            book = self.accounts[account]
            holds(
                "the ledger balances", (settled, reserved) == (book.settled, book.reserved),
                f"{account} says {settled} and {reserved}, its entries {book.settled} and {book.reserved}",
            )  # fmt: skip
            limit = self._limit(account)
            if limit is not None:
                # Where the owner was generous for a while, what was admitted then stays.
                self.most[account] = limit = max(limit, self.most.get(account, 0))
                beyond = book.settled + book.reserved - limit
                holds(
                    "only recorded overruns overshoot", beyond <= book.overrun,
                    f"{account} is {beyond} over, its overruns are {book.overrun}",
                )  # fmt: skip
        for account, subject in self.touched:
            if account.startswith("launcher:") or "/" in subject:
                continue
            self._is_charged(account, subject)
        self.told.clear()
        self.touched.clear()

    def _is_charged(self, account: str, subject: str) -> None:
        receipts = self.room.once.receipts
        attempt = self.room.executor.attempts.get(subject)
        if attempt is None:
            return
        cost = receipts.get(attempt.name)
        is_project = account.startswith("project:")
        paid = self.charged[account, subject]
        if is_project or paid:
            holds(
                "what was spent is charged once", paid == (cost or 0),
                f"{subject} took {cost} micro-dollars, {account} was charged {paid}",
            )  # fmt: skip
        if attempt.name in receipts:
            left = self.reserved[account, subject]
            holds("what ended reserves nothing", left == 0, f"{subject} ended, and {left} are reserved in {account}")

    def settled(self) -> None:
        stuck = {account: book.reserved for account, book in self.accounts.items() if book.reserved}
        holds("what ended reserves nothing", not stuck, f"at rest something is reserved: {stuck}")
        rows = self.room.journal.ask(
            "SELECT 'project:' || p.project_id, sum(t.cost_usd) FROM task_receipts t JOIN project_runs p USING (run_id)"
            " GROUP BY 1"
        )
        for account, spent in rows:
            found = self.accounts[account].settled
            holds("receipts and ledger agree", found == spent, f"{account} settled {found}, its receipts say {spent}")
