"""What does Dagster remember, and how is it made to forget? Its instance, seen as `actions.History`.

Deleting a run deletes its materializations. The instance would then call an asset or a partition never materialized whose
newest one was made in it, and a freshness check would wake somebody. So runs that hold the newest materialization of
anything are kept.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import dagster as dg

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
PAGE = 500
TICKS_PAGE = 1000


class DagsterHistory:
    """The history of one instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def ended_runs(self, before: float, *, most: int, needed: frozenset[str]) -> list[str]:
        """Runs that ended before a moment (epoch seconds) and hold nobody's newest materialization, the oldest first.

        Args:
            before: the moment.
            most: at most so many.
            needed: runs that stay whatever they hold.
        """
        kept = self._newest() | needed
        found: list[str] = []
        cursor: str | None = None
        filters = dg.RunsFilter(statuses=ENDED)
        while len(found) < most:
            records = self._instance.get_run_records(filters, limit=PAGE, ascending=True, cursor=cursor)
            for record in records:
                ended = record.end_time or record.update_timestamp.timestamp()
                if ended < before and record.dagster_run.run_id not in kept:
                    found.append(record.dagster_run.run_id)
            if len(records) < PAGE or records[-1].create_timestamp.timestamp() >= before:
                break
            cursor = records[-1].dagster_run.run_id
        return found[:most]

    def _newest(self) -> frozenset[str]:
        """Runs that hold the newest materialization of an asset, or of a partition of one."""
        keys = list(self._instance.get_asset_keys())
        runs: set[str] = set()
        for record in self._instance.get_asset_records(keys) if keys else []:
            newest = record.asset_entry.last_materialization_record
            if newest is not None:
                runs.add(newest.run_id)
            key = record.asset_entry.asset_key
            ids = sorted(
                self._instance.get_latest_storage_id_by_partition(
                    key, dg.DagsterEventType.ASSET_MATERIALIZATION
                ).values()
            )
            for start in range(0, len(ids), PAGE):
                wanted = dg.AssetRecordsFilter(key, storage_ids=ids[start : start + PAGE])
                runs |= {each.run_id for each in self._instance.fetch_materializations(wanted, limit=PAGE).records}
        return frozenset(runs)

    def delete_run(self, run_id: str) -> None:
        """Forget a run and its events."""
        self._instance.delete_run(run_id)

    def known(self, run_ids: Iterable[str]) -> frozenset[str]:
        """Those of these runs that are remembered."""
        asked = sorted(run_ids)
        found: set[str] = set()
        for start in range(0, len(asked), PAGE):
            found |= set(self._instance.get_run_ids(dg.RunsFilter(run_ids=asked[start : start + PAGE])))
        return frozenset(found)

    def ticks(self, before: float) -> int:
        """How many ticks of schedules and sensors are older than a moment (epoch seconds)."""
        return sum(self._ticks_of(origin, selector, before) for origin, selector in self._instigators())

    def purge_ticks(self, before: float) -> None:
        """Forget those ticks, also of schedules and sensors that no code defines any more, which the daemon leaves alone."""
        for origin, selector in self._instigators():
            self._instance.purge_ticks(origin, selector, before=before)

    def _instigators(self) -> Iterator[tuple[str, str]]:
        for state in self._instance.all_instigator_state():
            yield state.instigator_origin_id, state.selector_id

    def _ticks_of(self, origin: str, selector: str, before: float) -> int:
        n = 0
        while True:
            page = self._instance.get_ticks(origin, selector, before=before, limit=TICKS_PAGE)
            n += len(page)
            if len(page) < TICKS_PAGE:
                return n
            before = page[-1].timestamp


@contextmanager
def opened_history() -> Iterator[DagsterHistory]:
    """The history of DAGSTER_HOME's instance."""
    with dg.DagsterInstance.get() as instance:
        yield DagsterHistory(instance)
