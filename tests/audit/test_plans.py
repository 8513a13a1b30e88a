"""How the auditor's queries are planned."""

import pytest
from django.db import connection

from exchange import audit


class Planned(Exception):
    """Carries the lines of the plan of the auditor's question."""


def _planned(execute, sql, params, many, context):
    if "WITH offenders" not in sql:
        return execute(sql, params, many, context)
    execute(f"EXPLAIN {sql}", params, many, context)
    raise Planned([line for (line,) in context["cursor"].fetchall()])


@pytest.mark.parametrize("check", audit.CHECKS, ids=lambda check: check.name)
def test_a_check_is_planned_for_all_rows_and_not_for_those_shown(venue, check):
    """With millions of trades the few that are shown made the planner hold each of them against all orders."""
    with connection.execute_wrapper(_planned), pytest.raises(Planned) as planned:
        audit.run(checks=[check])
    assert "  CTE offenders" in planned.value.args[0]
