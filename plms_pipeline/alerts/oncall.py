"""Who is told what over which channel, and what happens when nobody answers?

`deploy/oncall.yaml` names channels, contacts, the rotation, owners of projects, the PMO, quiet hours, how soon each
severity must be answered and who is asked next. Nothing in it is secret. It is refused as a whole with the line of the
first mistake, and what it says must fit together: a route to a channel that is not there is found when the file is read,
not at three in the morning.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from plms_pipeline.alerts.rules import Lines, Rule, Severity, Span, Target, first_problem
from plms_pipeline.errors import BadInput
from plms_pipeline.notify.channels import LOG
from plms_pipeline.notify.mail import checked_address

OWNER, PMO, ON_CALL = "owner", "pmo", "oncall"
ROLES: Final = (OWNER, PMO, ON_CALL)
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# The stricter of what the two guides say.
ANSWER_WITHIN: Final[dict[Severity, timedelta]] = {
    "P0": timedelta(minutes=5), "P1": timedelta(minutes=15), "P2": timedelta(hours=1), "P3": timedelta(hours=24),
}  # fmt: skip


def _zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (KeyError, ValueError, OSError):
        raise ValueError("is no time zone; write one such as UTC or America/New_York") from None


def _clock_time(text: object) -> time:
    try:
        if isinstance(text, str) and len(text) == 5:
            return time.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError('write a time of day as "22:00", in quotation marks')


def _address(text: str) -> str:
    try:
        return checked_address(text)
    except BadInput as error:
        raise ValueError(error.message.rstrip(".")) from None


Zone = Annotated[str, AfterValidator(_zone)]
ClockTime = Annotated[time, BeforeValidator(_clock_time)]
Address = Annotated[str, AfterValidator(_address)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelForm(_Form):
    """One channel: `kind` decides which setting holds its secret, unless `secret_file` names a file."""

    kind: Literal["slack", "pagerduty", "smtp", "ticket", "log"]
    shows: str = Field("", max_length=80, description="What people call it, such as #plms-alerts.")
    secret_file: str | None = Field(None, min_length=1, max_length=4096)
    sender: Address = Field("plms@localhost.localdomain", alias="from")


class Contact(_Form):
    """Somebody or some group: a role, rather than a person."""

    email: Address | None = None


class Rotation(_Form):
    """Who is on call: the contacts in `order`, each for `days`, from `since` at `at` in `zone`."""

    zone: Zone = "UTC"
    since: date
    at: ClockTime = time(9)
    days: Annotated[int, Field(ge=1, le=366)] = 7
    order: list[Name] = Field(min_length=1, max_length=100)

    def present(self, now: datetime) -> str:
        """The contact on call at a moment. Shifts are counted in days of the wall clock, so that a handover stays at nine."""
        local = now.astimezone(ZoneInfo(self.zone))
        days = (local.date() - self.since).days - (local.time() < self.at)
        return self.order[(days // self.days) % len(self.order)]


class Owners(_Form):
    """Who owns a project."""

    default: list[Name] = Field(default_factory=list, max_length=20)
    projects: dict[int, list[Name]] = Field(default_factory=dict)


class QuietHours(_Form):
    """When P2 and P3 wait."""

    zone: Zone = "UTC"
    begin: ClockTime = Field(alias="from")
    end: ClockTime = Field(alias="to")
    whole_days: list[Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _has_a_length(self) -> QuietHours:
        if self.begin == self.end:
            raise ValueError("from and to must differ; leave quiet_hours out where there are none")
        if len(set(self.whole_days)) == len(DAYS):
            raise ValueError("whole_days names all seven: nothing would ever be told")
        return self

    def until(self, now: datetime) -> datetime:
        """The end of the quiet hours that a moment lies in; the moment itself when it lies in none."""
        zone, moment = ZoneInfo(self.zone), now
        # Two nights around a long weekend at most.
        for _ in range(2 * len(DAYS) + 2):
            local = moment.astimezone(zone)
            if DAYS[local.weekday()] in self.whole_days:
                moment = datetime.combine(local.date() + timedelta(days=1), time(0), zone).astimezone(UTC)
                continue
            at, crosses = local.time(), self.begin > self.end
            is_quiet = (at >= self.begin or at < self.end) if crosses else self.begin <= at < self.end
            if not is_quiet:
                return moment
            day = local.date() + timedelta(days=1) if crosses and at >= self.begin else local.date()
            ends = datetime.combine(day, self.end, zone)
            # In the night in which an hour comes twice the end may come twice too: once quiet, until the one ahead.
            ahead = ends.astimezone(UTC) > moment
            moment = (ends if ahead else ends.replace(fold=1)).astimezone(UTC)
        return moment


class SeverityForm(_Form):
    """How soon it must be answered, and who is told each time that nobody has."""

    answer_within: Span
    escalate: list[list[Target]] = Field(default_factory=list, max_length=5)


class OnCall(_Form):
    """The whole file."""

    channels: dict[Name, ChannelForm] = Field(default_factory=dict)
    contacts: dict[Name, Contact] = Field(default_factory=dict)
    rotation: Rotation | None = None
    owners: Owners = Owners()
    pmo: list[Name] = Field(default_factory=list, max_length=20)
    quiet_hours: QuietHours | None = None
    severities: dict[Severity, SeverityForm] = Field(default_factory=dict)
    routes: dict[str, list[Target]] = Field(default_factory=dict)
    runbooks: Annotated[str, Field(pattern=r"^https://[^\s]+/$")] | None = None

    def answer_within(self, severity: str) -> timedelta:
        """How soon an alert of a severity must be acknowledged before the next are told."""
        form = self.severities.get(severity)  # type: ignore[call-overload]  # a plain str looks a Literal up
        return form.answer_within if form else ANSWER_WITHIN[severity]  # type: ignore[index]  # the same

    def next_targets(self, severity: str, level: int) -> list[str]:
        """Who is told at the escalation of a level (0: the first); empty when there is nobody left."""
        form = self.severities.get(severity)  # type: ignore[call-overload]  # a plain str looks a Literal up
        return form.escalate[level] if form and level < len(form.escalate) else []

    def contacts_of(self, who: str, *, project_id: int | None, now: datetime) -> list[str]:
        """The contacts whom a word means: a role, or a contact itself."""
        if who == OWNER:
            named = self.owners.projects.get(project_id) if project_id is not None else None
            return list(self.owners.default if named is None else named)
        if who == PMO:
            return list(self.pmo)
        if who == ON_CALL:
            return [] if self.rotation is None else [self.rotation.present(now)]
        return [who]

    def on_call(self, now: datetime) -> str:
        """Who is on call; empty where nobody is named."""
        return "" if self.rotation is None else self.rotation.present(now)


def parse_oncall(document: Any, lines: Lines, where: str, rules: dict[str, Rule]) -> OnCall:
    """The file's meaning.

    Args:
        document: what the file says.
        lines: line number of each place.
        where: the file, for errors.
        rules: those that routes may name.

    Raises:
        BadInput: the first mistake, with its line (`bad_rules`).
    """
    try:
        found = OnCall.model_validate({} if document is None else document)
    except ValidationError as error:
        raise first_problem(error, where, lines, ()) from None
    for place, said in (*_names_taken(found), *_contradictions(found, rules)):
        named = f"{'.'.join(map(str, place))}: {said}"
        line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)
        raise BadInput(f"{where}{'' if line is None else f', line {line}'}: {named}.", code="bad_rules")
    return found


Place = tuple[str | int, ...]


def _names_taken(found: OnCall) -> list[tuple[Place, str]]:
    """What is called by a word that means something else: nobody would ever be told by it."""
    meant = {OWNER: found.owners.default, PMO: found.pmo, ON_CALL: found.rotation.order if found.rotation else []}
    wrong: list[tuple[Place, str]] = [
        (
            ("contacts", name),
            f"{name!r} is a role, which means others; give the contact another name, or the role to it",
        )
        for name, others in meant.items()
        if name in found.contacts and name not in others
    ]
    if LOG in found.channels and found.channels[LOG].kind != "log":
        wrong.append((("channels", LOG), "is the log of whoever sends; give the channel another name"))
    return wrong


def _contradictions(found: OnCall, rules: dict[str, Rule]) -> list[tuple[Place, str]]:
    """What names something that is not there."""
    wrong: list[tuple[Place, str]] = []

    def contact(place: Place, name: str) -> None:
        if name not in found.contacts:
            wrong.append((place, f"there is no contact {name!r}; add it to contacts"))

    for number, name in enumerate(found.rotation.order if found.rotation else ()):
        contact(("rotation", "order", number), name)
    for number, name in enumerate(found.pmo):
        contact(("pmo", number), name)
    for number, name in enumerate(found.owners.default):
        contact(("owners", "default", number), name)
    for project, names in found.owners.projects.items():
        for number, name in enumerate(names):
            contact(("owners", "projects", project, number), name)
    for rule, targets in found.routes.items():
        if rule not in rules:
            wrong.append((("routes", rule), f"there is no rule {rule!r}; `plms alerts list --rules` shows them"))
        wrong += [(("routes", rule, n), said) for n, each in enumerate(targets) if (said := _target(found, each))]
    for severity, form in found.severities.items():
        for level, targets in enumerate(form.escalate):
            place = ("severities", severity, "escalate", level)
            wrong += [((*place, n), said) for n, each in enumerate(targets) if (said := _target(found, each))]
    for name, rule_ in rules.items():
        if name in found.routes:
            continue
        said_of = [said for target in rule_.route if found.channels and (said := _target(found, target))]
        if said_of:
            wrong.append((("channels",), f"rule {name} goes where nobody is told: {said_of[0]}, or a route"))
    return wrong


def _target(found: OnCall, target: str) -> str | None:
    channel, _, who = target.partition(":")
    if channel != LOG and channel not in found.channels:
        return f"there is no channel {channel!r}; add it to channels"
    if channel != LOG and found.channels[channel].kind == "smtp" and not who:
        return f"{channel!r} is a channel for mail; say to whom, as {channel}:owner, {channel}:pmo or {channel}:oncall"
    if who and who not in ROLES and who not in found.contacts:
        return f"there is no contact {who!r}; add it to contacts"
    return None
