"""Only queries that read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.cypher import read_only

READING = [
    "MATCH ()-[r]->() RETURN count(r)",
    "match ()-[r:KNOWS]->() where r.since > 2000 return count(r);",
    "OPTIONAL MATCH (a)-[r]->(b) RETURN count(DISTINCT r)",
    "MATCH (n {name: 'CREATE (x)'})-[r]->() RETURN count(r)",
    "MATCH (n)-[r:`SET`]->() RETURN count(r)",
    "MATCH ()-[r]->() // DELETE everything\nRETURN count(r)",
    "MATCH ()-[r]->() /* MERGE; */ RETURN count(r)",
    "UNWIND [1, 2] AS x RETURN count(x)",
    "MATCH (created_at)-[r]->() RETURN count(r)",
]
WRITING = [
    "CREATE (n) RETURN 1",
    "MATCH (n) SET n.x = 1 RETURN count(n)",
    "MATCH (n) DETACH DELETE n RETURN 1",
    "MATCH (n) REMOVE n.x RETURN 1",
    "MERGE (n) RETURN 1",
    "MATCH (n) CALL { CREATE (m) } RETURN 1",
    "CALL apoc.cypher.runWrite('CREATE (n)', {}) YIELD value RETURN 1",
    "MATCH (n) WITH n CALL db.labels() YIELD label RETURN count(label)",
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN count(line)",
    "MATCH (n) WITH n LOAD CSV FROM 'http://x' AS l RETURN count(l)",
    "MATCH (n) FOREACH (x IN [1] | CREATE (m)) RETURN 1",
    "DROP DATABASE neo4j",
    "MATCH (n) RETURN 1; MATCH (n) DELETE n",
    "MATCH (n) \\u0044ELETE n RETURN 1",
    "MATCH (n) RETURN 'open",
    "MATCH (n) /* open RETURN 1",
    "MATCH (n) RETURN 1 /* x */ ; CREATE (m)",
    "MATCH (n)",
    "SHOW USERS",
    "USE system MATCH (n) RETURN count(n)",
    "",
    " ; ",
    "MATCH (n) RETURN " + "1+" * 6000 + "1",
]


@pytest.mark.parametrize("query", READING)
def test_reading_queries_are_taken(query: str) -> None:
    """Words inside strings, comments and quoted names are not clauses."""
    assert read_only(query) == query.removesuffix(";")


@pytest.mark.parametrize("query", WRITING)
def test_everything_else_is_refused(query: str) -> None:
    """The query comes with the artifact; one of these would change the graph that it is measured by."""
    with pytest.raises(BadInput) as caught:
        read_only(query)
    assert caught.value.code == "unsafe_cypher"


@given(
    st.sampled_from(["CREATE", "merge", "Delete", "SET", "remove", "CALL", "drop", "LOAD"]),
    st.sampled_from([" ", "\n", "\t", "/**/", "//x\n", "(", ")", "}", "`a`", "'s'", '"s"']),
    st.sampled_from([" ", "\n", "/* c */", "(", "{", "`a`", "''"]),
)
def test_no_separator_hides_a_writing_clause(word: str, before: str, after: str) -> None:
    """Comments and quotes next to a clause must not swallow it."""
    with pytest.raises(BadInput):
        read_only(f"MATCH (n) {before}{word}{after} RETURN 1")
