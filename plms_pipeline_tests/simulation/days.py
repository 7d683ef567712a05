"""What is a simulated day, and when is a world at rest?

A day is twelve steps: in each, one process or person does one whole action of the product (or goes on with one that had lost
its turn), chosen by chance, those likelier that have something to do. Between two steps pass milliseconds, seconds, minutes or
hours, so that every lease, wait and limit of the product lies between two of them some time; the rest of the 24 hours passes at
the end, also for whoever has lost its turn: a laptop was closed, and goes on the next day with what it knew. Each day a project
is approved and a run is asked for. Every other day ends with the summaries of a night, every twentieth with a calm: faults
cease, people let go what they held and pay what is missing, and everything must come to rest.
"""

from __future__ import annotations

from collections.abc import Callable

from plms_pipeline_tests.simulation import people, processes
from plms_pipeline_tests.simulation.rules import Violated
from plms_pipeline_tests.simulation.world import Room

STEPS_A_DAY = 12
NIGHT_EVERY = 2
CALM_EVERY = 20
# A calm: so many rounds at most, in each of which everybody has a turn and forty minutes pass; in so many rounds in a row
# nothing may stand still while something is left to do.
ROUNDS = 120
STILL_ROUNDS = 12
ROUND_S = 2400.0
CAP = 2

Step = Callable[[Room], None]
STEPS: tuple[tuple[Step, float], ...] = (
    (processes.dispatch, 3.0), (processes.deliver, 2.0), (processes.settle, 2.0), (processes.reconcile, 0.8),
    (processes.stop, 0.5), (processes.retry, 2.4), (processes.observe, 1.2), (processes.owe, 0.4),
    (processes.prove, 0.3), (people.start, 0.4), (people.life, 0.7), (people.switch, 0.5), (people.manage, 0.7),
    (people.launch, 0.5), (people.end_launches, 0.1), (people.set_clock, 0.25),
)  # fmt: skip
_STEPS = [step for step, _ in STEPS]
PLACES = {step.__name__: place for place, (step, _) in enumerate(STEPS)}
RUNS = "SELECT 1 FROM project_runs WHERE status IN ('QUEUED', 'RUNNING')"
EVENTS = "SELECT 1 FROM inbox_events WHERE state = 'pending'"
EFFECTS = "SELECT 1 FROM outbox_events WHERE state = 'pending' AND kind <> 'passport'"
OWED = "SELECT 1 FROM obligations WHERE state = 'pending'"
LETTERS = "SELECT 1 FROM dead_letters WHERE state IN ('processing', 'ready')"
DUE = "SELECT 1 FROM dead_letters WHERE state = 'ready' OR lease_holder IS NOT NULL"
OVER = (
    "SELECT 1 FROM project_runs r WHERE r.status IN ('QUEUED', 'RUNNING') AND NOT EXISTS"
    " (SELECT 1 FROM run_tasks t WHERE t.run_id = r.run_id AND t.status IN ('QUEUED', 'RUNNING'))"
)
SLOTS = "SELECT 1 FROM slots WHERE state <> 'RELEASED'"
# What a step works on, and how much rarer it comes when there is none of it: looking and finding nothing shows little.
WORK: dict[str, tuple[str, float]] = {
    "dispatch": (f"SELECT 1 FROM lane_queue UNION ALL {EFFECTS}", 0.3), "settle": (EVENTS, 0.2),
    "reconcile": (f"{SLOTS} UNION ALL SELECT 1 FROM project_runs WHERE status = 'RUNNING'", 0.2), "retry": (DUE, 0.1),
    "observe": (OWED, 0.3), "stop": (f"{EFFECTS} UNION ALL SELECT 1 FROM kill_switches WHERE turned_off_at IS NULL", 0.5),
}  # fmt: skip
OVERTAKING = 4.0
# What makes stale what a process knows that has lost its turn: work ends, events are settled, people change their minds.
BEHIND = ("deliver", "settle", "life")
# Everybody's turn in a round of a calm; who would only look and find nothing is not asked.
TURNS: tuple[tuple[Step, str | None], ...] = (
    (processes.stop, EFFECTS), (processes.retry, LETTERS), (processes.dispatch, f"{RUNS} UNION ALL {EFFECTS}"),
    (processes.reconcile, f"{RUNS} UNION ALL {SLOTS}"), (processes.deliver, None),
    (processes.settle, f"{EVENTS} UNION ALL {OVER}"), (processes.observe, OWED), (people.end_launches, SLOTS),
    (people.pay, RUNS),
)  # fmt: skip
OPEN = {
    "a run": RUNS, "an event": EVENTS, "an effect": EFFECTS, "an obligation": OWED, "a letter": LETTERS, "a slot": SLOTS,
}  # fmt: skip


def begin(room: Room) -> None:
    """Little room in the lanes, and faults from now on."""
    people.give_room(room, CAP)
    room.storm()


def one_day(room: Room) -> None:
    """One day.

    Raises:
        Violated: a rule does not hold.
    """
    began = room.clock.passed_s
    people.plan(room)
    people.start(room)
    for _ in range(STEPS_A_DAY):
        room.passes(_gap(room))
        is_awake = any(strand.sleeps_until <= room.steps for strand in room.turns.waiting)
        if is_awake and room.rng.random() < 0.5:
            room.go_on()
        else:
            _choose(room)(room)
    day = len(room.projects)
    if day % NIGHT_EVERY == 0:
        processes.night(room)
    room.journal.forget()
    room.passes(max(0.0, 86_400 - (room.clock.passed_s - began)))


def _gap(room: Room) -> float:
    """Seconds until the next step: mostly few, sometimes many. Who has lost its turn is overtaken while its leases go on, or
    long after that."""
    rarer = 2 if room.turns.waiting else 1
    longest = room.rng.choices((2.0, 40.0, 900.0, 7200.0), (5 * rarer, 3 * rarer, 2, 1))[0]
    return room.rng.uniform(0.0, longest)


def _choose(room: Room) -> Step:
    """Whose turn it is: whoever has work is likelier to have it."""
    now = room.executor.now()
    weights = [weight for _, weight in STEPS]
    if any(due <= now for due, _ in room.executor.events):
        weights[PLACES["deliver"]] *= 2
    else:
        weights[PLACES["deliver"]] = 0.0
    for step, (asked, idle) in WORK.items():
        if not room.journal.ask(f"{asked} LIMIT 1"):
            weights[PLACES[step]] *= idle
    if room.turns.waiting:
        for step in BEHIND:
            weights[PLACES[step]] *= 2
    for strand in room.turns.waiting:
        # While one of two stands still the other does its work.
        place = PLACES.get(strand.name.partition(" ")[0])
        if place is not None:
            weights[place] *= OVERTAKING
    return room.rng.choices(_STEPS, weights)[0]


def calm_down(room: Room) -> int:
    """Let everything come to rest; how many rounds it took.

    Raises:
        Violated: it does not, or what must be true at rest is not.
    """
    room.calm()
    while room.turns.waiting:
        room.go_on()
    people.let_go(room)
    processes.night(room)
    still, before = 0, -1
    for number in range(ROUNDS):
        for step, asked in TURNS:
            if asked is None or room.journal.ask(f"{asked} LIMIT 1"):
                step(room)
        left = _left(room)
        if not left:
            room.rest()
            begin(room)
            return number + 1
        moved = room.moved
        still, before = (still + 1 if moved == before else 0), moved
        if still >= STILL_ROUNDS:
            break
        room.passes(ROUND_S)
    room.committed_by_hand()
    for rule in room.rules:
        rule.settled()
    raise Violated("nothing is stuck", f"after {number + 1} calm rounds there is still {_left(room)}")


def _left(room: Room) -> list[str]:
    left = [name for name, query in OPEN.items() if room.journal.ask(f"{query} LIMIT 1")]
    if room.executor.events:
        left.append("an event on its way")
    return left
