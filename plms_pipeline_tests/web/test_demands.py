"""Is it found out which job a mutation would launch, however it is written?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.access.roles import ROLES
from plms_pipeline.web.demands import MAX_LOOKED_UP, Demand, Facts, KnownRun, demand_of, is_reserved, question_of
from plms_pipeline.web.operations import BadRequest, Call, operations_of_request
from plms_pipeline.web.permits import NAMELESS, verdict
from plms_pipeline.web.rules import MUTATIONS, STRICTEST, Target
from plms_pipeline_tests.web.doors import keeper, token

OPERATOR = keeper().verified(token("operator")).principal
ADMIN = keeper().verified(token("admin")).principal
AT = 'repositoryName: "__repository__", repositoryLocationName: "l"'


def demands(document: str, variables: Any = None) -> list[Demand]:
    operations = operations_of_request({"query": document, "variables": variables, "operationName": None})
    return [demand_of(call) for call in operations.calls()]


def code(found: list[Demand], facts: Facts | None = None, who: Any = OPERATOR) -> str | None:
    refusal = verdict(who, found, facts or Facts())
    return refusal.code if refusal is not None else None


DECIDES = [
    f'mutation {{ launchRun(executionParams: {{selector: {{{AT}, jobName: "approve_project"}}}}) {{ x }} }}',
    f'mutation {{ harmless: launchRun(executionParams: {{selector: {{{AT}, pipelineName: "approve_project"}}}}) {{ x }} }}',
    "mutation { ...F } fragment F on Mutation "
    f'{{ launchRun(executionParams: {{selector: {{{AT}, jobName: "approve_project"}}}}) {{ x }} }}',
    f'mutation {{ ... on Mutation {{ ... {{ launchRun(executionParams: {{selector: {{{AT}, jobName: "approve_project"}}}}) '
    "{ x } } } }",
    f'mutation {{ launchRun(executionParams: {{selector: {{{AT}, jobName: "approve_project"}}}}) @skip(if: true) {{ x }} }}',
    f'mutation {{ launchRun(executionParams: {{selector: {{{AT}, jobName: """approve_project"""}}}}) {{ x }} }}',
    f'mutation {{ launchRun(executionParams: {{selector: {{{AT}, pipelineName: "nightly", jobName: "approve_project"}}}}) '
    "{ x } }",
    f'mutation {{ launchRun(executionParams: {{selector: {{{AT}, jobName: "\\u0061pprove_project"}}}}) {{ x }} }}',
    f'mutation {{ launchMultipleRuns(executionParamsList: [{{selector: {{{AT}, jobName: "nightly"}}}}, '
    f'{{selector: {{{AT}, jobName: "approve_project"}}}}]) {{ x }} }}',
    f'mutation {{ launchMultipleRuns(executionParamsList: {{selector: {{{AT}, jobName: "approve_project"}}}}) {{ x }} }}',
    f'mutation {{ a: launchRun(executionParams: {{selector: {{{AT}, jobName: "nightly"}}}}) {{ x }} '
    f'b: launchRun(executionParams: {{selector: {{{AT}, jobName: "approve_project"}}}}) {{ x }} }}',
    f'mutation($p: String = "approve_project") {{ launchRun(executionParams: {{selector: {{{AT}, jobName: $p}}}}) {{ x }} }}',
    f'mutation {{ launchRunReexecution(executionParams: {{selector: {{{AT}, jobName: "approve_project"}}}}) {{ x }} }}',
]  # fmt: skip


@pytest.mark.parametrize("document", DECIDES)
def test_a_job_that_decides_is_found_however_it_is_spelt(document: str) -> None:
    """Each of these launches an approval; an operator may not."""
    assert code(demands(document)) == "missing_scope"


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ("mutation($e: X) { launchRun(executionParams: $e) { x } }", {"e": {"selector": {"jobName": "approve_project"}}}),
        ("mutation($s: X) { launchRun(executionParams: {selector: $s}) { x } }", {"s": {"pipelineName": "approve_project"}}),
        ("mutation($j: X) { launchRun(executionParams: {selector: {jobName: $j}}) { x } }", {"j": "approve_project"}),
        ("mutation($j: X = \"nightly\") { launchRun(executionParams: {selector: {jobName: $j}}) { x } }",
         {"j": "approve_project"}),
        ("mutation($j: X) { launchRun(executionParams: {selector: {jobName: $j}}) { x } }", '{"j": "approve_project"}'),
        ("mutation($l: X) { launchMultipleRuns(executionParamsList: $l) { x } }",
         {"l": [{"selector": {"jobName": "nightly"}}, {"selector": {"jobName": "approve_project"}}]}),
    ],
)  # fmt: skip
def test_a_job_in_a_variable_is_found(document: str, variables: Any) -> None:
    """The UI itself sends variables; Dagster reads a string of JSON as well."""
    assert code(demands(document, variables)) == "missing_scope"
    harmless = json.loads(json.dumps(variables).replace("approve_project", "nightly"))
    assert code(demands(document, harmless)) is None


def test_of_several_operations_the_strictest_decides_whichever_is_selected() -> None:
    """What selects an operation might be read otherwise by the next version of the server."""
    document = 'mutation A { terminateRun(runId: "r") { x } } mutation B { wipeAssets(assetPartitionRanges: []) { x } }'
    operations = operations_of_request({"query": document, "operationName": "A"})
    found = [demand_of(call) for call in operations.calls()]
    assert code(found, Facts(runs={"r": KnownRun("nightly", {})})) == "missing_scope"


@pytest.mark.parametrize(
    "document",
    [
        "mutation { launchRun { x } }",
        "mutation { launchRun(executionParams: {}) { x } }",
        "mutation { launchRun(executionParams: {selector: {}}) { x } }",
        'mutation { launchRun(executionParams: {selector: {jobName: ["nightly"]}}) { x } }',
        "mutation { launchRun(executionParams: {selector: {jobName: 1}}) { x } }",
        "mutation($j: X) { launchRun(executionParams: {selector: {jobName: $j}}) { x } }",
        'mutation { launchMultipleRuns(executionParamsList: "x") { x } }',
        "mutation { launchRunReexecution { x } }",
        'mutation { launchRunReexecution(reexecutionParams: {strategy: "X"}) { x } }',
        "mutation { terminateRuns(runIds: []) { x } }",
        'mutation { terminateRuns(runIds: "a") { x } }',
        'mutation { launchPartitionBackfill(backfillParams: {selector: {partitionSetName: "nightly"}}) { x } }',
        'mutation { launchPartitionBackfill(backfillParams: "x") { x } }',
    ],
)
def test_what_cannot_be_told_is_held_to_be_the_strictest(document: str) -> None:
    """Most of them Dagster refuses too; which ones must not matter."""
    (found,) = demands(document)
    assert found.scopes >= STRICTEST
    assert code([found]) == "missing_scope"


def test_a_run_that_is_not_known_is_an_administrator_s_to_end() -> None:
    """Its job may have been any."""
    found = demands('mutation { terminateRuns(runIds: ["a", "b"]) { x } }')
    assert code(found, Facts(runs={"a": KnownRun("nightly", {})})) == "missing_scope"
    assert code(found, Facts(runs={"a": KnownRun("nightly", {}), "b": KnownRun("nightly", {})})) is None
    assert code(found, who=ADMIN) is None


def test_so_many_runs_at_once_are_not_looked_up() -> None:
    """One request must not keep the server reading for a minute."""
    runs = json.dumps([f"r{n}" for n in range(MAX_LOOKED_UP + 1)])
    assert question_of(demands(f"mutation {{ terminateRuns(runIds: {runs}) {{ x }} }}")).is_empty


def launch_with(tags: Any, job: str = "nightly", **metadata: Any) -> list[Demand]:
    params = {"selector": {"jobName": job}, "executionMetadata": {"tags": tags, **metadata}}
    return demands("mutation($e: X) { launchRun(executionParams: $e) { x } }", {"e": params})


def tag(key: str, value: str = "x") -> list[dict[str, str]]:
    return [{"key": key, "value": value}]


@pytest.mark.parametrize(
    "key",
    ["plms/actor", "plms/launched_from", "plms/effect", "plms/exclusive", "PLMS/actor", " plms/actor", "plms/anything",
     "dagster/sensor_name", "dagster/schedule_name", "dagster/run_key", "dagster/backfill", "dagster/max_runtime",
     "dagster/parent_run_id", ".dagster/repository"],
)  # fmt: skip
@pytest.mark.parametrize("who", [OPERATOR, ADMIN])
def test_nobody_writes_the_pipeline_s_own_tags(key: str, who: Any) -> None:
    """A run that says it spends nothing passes the kill switch; one that says a sensor made it is never made again."""
    assert is_reserved(key)
    assert code(launch_with(tag(key)), who=who) == "reserved_tag"
    again = demands(
        "mutation($r: X) { launchRunReexecution(reexecutionParams: $r) { x } }",
        {"r": {"parentRunId": "p", "strategy": "ALL_STEPS", "extraTags": tag(key)}},
    )
    assert code(again, Facts(runs={"p": KnownRun("nightly", {key: "x"})}), who) == "reserved_tag"
    backfill = demands(
        "mutation($b: X) { launchPartitionBackfill(backfillParams: $b) { x } }", {"b": {"tags": tag(key)}}
    )
    assert code(backfill, who=who) == "reserved_tag"


@pytest.mark.parametrize("tags", ["x", {"key": "plms/actor", "value": "x"}, [1], [{"key": "a"}], [["plms/actor", "x"]]])
def test_tags_in_another_shape_are_refused_to_everybody(tags: Any) -> None:
    """GraphQL makes a list of a single one; whatever it makes of the others, we have not judged it."""
    assert code(launch_with(tags), who=ADMIN) == "launch_not_understood"
    assert code(launch_with(tags)) == "missing_scope"


def test_the_launchpad_repeats_the_job_s_tags_and_a_person_adds_their_own() -> None:
    """Dagster's own pages send the tags of the job with every launch."""
    facts = Facts(job_tags={"nightly": {"plms/exclusive": "nightly", "dagster/max_runtime": "3600"}})
    rightful = [*tag("plms/exclusive", "nightly"), *tag("dagster/max_runtime", "3600"), *tag("team", "risk")]
    assert (
        code(launch_with([*rightful, *tag("dagster/from_ui"), *tag("plms/as_of", "2026-03-01T07:00:00Z")]), facts)
        is None
    )
    assert code(launch_with(tag("plms/exclusive", "settle")), facts) == "reserved_tag"
    assert code(launch_with(tag("dagster/max_runtime", "999999")), facts) == "reserved_tag"
    assert code(launch_with(tag("plms/exclusive", "nightly"), job="lane_review"), facts) == "reserved_tag"


def test_repeating_some_steps_repeats_the_parent_s_tags_and_no_others() -> None:
    """Dagster's page copies them all, `plms/actor` too; the run coordinator then writes who it really was."""
    facts = Facts(runs={"p": KnownRun("nightly", {"plms/actor": "bob", "dagster/run_key": "k"})})
    own = [*tag("plms/actor", "bob"), *tag("dagster/run_key", "k"), *tag("dagster/parent_run_id", "p"),
           *tag("dagster/root_run_id", "p")]  # fmt: skip
    assert code(launch_with(own, parentRunId="p", rootRunId="p"), facts) is None
    assert code(launch_with(tag("plms/actor", "boss"), parentRunId="p"), facts) == "reserved_tag"
    assert code(launch_with(tag("dagster/parent_run_id", "q"), parentRunId="p"), facts) == "reserved_tag"
    assert code(launch_with(tag("plms/actor", "bob")), facts) == "reserved_tag"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["nightly", "approve_project"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["selector", "jobName", "pipelineName", "executionMetadata", "tags", "key", "value", "parentRunId",
                         "extraTags", "partitionSetName"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=15)
@given(st.sampled_from(sorted(MUTATIONS)), st.dictionaries(st.sampled_from([str(t) for t in Target if t]), JSON_VALUES))
def test_whatever_the_arguments_nobody_gets_more_than_the_rule_and_nothing_breaks(
    field: str, arguments: dict[str, Any]
) -> None:
    """A traceback in the guard is an answer 500 at best."""
    found = [demand_of(Call(field, arguments))]
    question_of(found)
    assert found[0].scopes >= {MUTATIONS[field].scope}
    assert code(found, who=NAMELESS) == "sign_in_needed"


def test_a_mutation_without_a_rule_is_nobody_s() -> None:
    """Dagster may gain one with any release."""
    for who in (NAMELESS, OPERATOR, ADMIN):
        assert code([demand_of(Call("inventedTomorrow", {}))], who=who) in (
            "sign_in_needed",
            "missing_scope",
            "unknown_mutation",
        )
    assert code([demand_of(Call("inventedTomorrow", {}))], who=ADMIN) == "unknown_mutation"


@pytest.mark.parametrize("variables", ["{", "[]", [1], 5, "5"])
def test_variables_that_are_none_are_refused(variables: Any) -> None:
    """What Dagster would make of them is not for us to guess."""
    with pytest.raises(BadRequest):
        demands("mutation { reloadWorkspace { x } }", variables)


def test_an_argument_nested_beyond_reason_is_refused() -> None:
    """A deep one must not take the server down."""
    deep = "[" * 9000 + "]" * 9000
    with pytest.raises(BadRequest):
        demands(f"mutation {{ terminateRuns(runIds: {deep}) {{ x }} }}")


def test_fragments_that_name_each_other_end() -> None:
    """Dagster refuses them only after we have looked."""
    document = "mutation { ...A } fragment A on Mutation { ...B wipeAssets { x } } fragment B on Mutation { ...A }"
    assert [found.field for found in demands(document)] == ["wipeAssets"]


def test_every_rule_asks_for_a_scope_that_some_role_of_people_holds() -> None:
    """A misspelt scope would shut everybody out."""
    assert {rule.scope for rule in MUTATIONS.values()} <= ROLES["admin"]
