"""Does `--from` start from the candidate that is named, from its judged bytes, and say so in the books?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.errors import PlmsError
from plms_pipeline.models.actions.asking import experiment_of
from plms_pipeline.models.actions.candidates import register, retrain_candidate, trials_of
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.starting import branch_of, start_from, start_or_cold
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.layout import MANIFEST
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.records import ESTIMATES, MARKET
from plms_pipeline.models.store import candidates
from plms_pipeline.models.training.files import CANDIDATE
from plms_pipeline.models.training.fit import train
from plms_pipeline.models.training.trials import trial
from plms_pipeline_tests.models.candidates import LAUNCHER, House, train_on_disk
from plms_pipeline_tests.models.worlds import market, small_bars, small_experiment, small_training


def refused(home: House, wanted: str) -> str:
    with pytest.raises(PlmsError) as error:
        start_from(home.registry, wanted, root=home.root)
    return error.value.code


def test_the_champion_is_what_serves_and_not_what_was_trained_last(home: House) -> None:
    """A training "from the champion" that took the newest candidate continued what nobody had approved."""
    assert refused(home, "champion") == "no_champion"
    home.champion("c1")
    home.candidate("c2", seed=8)
    found = start_from(home.registry, "champion", root=home.root)
    assert (found.candidate_id, found.experiment) == ("c1", small_experiment(seed=7))
    assert found.known_to - small_bars().timestamp.max() < np.timedelta64(1, "s")
    assert [one.fold for one in found.folds] == [one.split.number for one in small_training().folds]
    assert start_from(home.registry, " c2 ", root=home.root).experiment == small_experiment(seed=8)


def test_what_is_unknown_altered_or_of_another_family_is_refused_by_name(light: House) -> None:
    """Whoever may write into a run folder must not write the next champion's experiment."""
    assert refused(light, "c9") == "unknown_candidate"
    assert refused(light, "../c1") == "bad_candidate"
    for name, file, code in (("c1", CANDIDATE, "model_altered"), ("c2", MANIFEST, "run_altered")):
        path = light.root / light.candidate(name, seed=int(name[1:])).folder / file
        path.write_bytes(path.read_bytes() + b" ")
        assert refused(light, name) == code
        path.unlink()
        assert refused(light, name) == "file_missing"
    start, why = start_or_cold(light.registry, "c1", root=light.root)
    assert start is None
    assert "from nothing" in why
    with pytest.raises(PlmsError) as unknown:
        start_or_cold(light.registry, "c9", root=light.root)
    assert unknown.value.code == "unknown_candidate"
    other = replace(train_on_disk(light.root, "c3", clock=light.clock, seed=3), family=ESTIMATES)
    register(light.registry, other, actor=LAUNCHER, clock=light.clock, expiry=timedelta(days=14))
    assert refused(light, "c3") == "other_family"


def test_a_branch_is_trained_and_the_books_say_from_whom(light: House, tmp_path: Path) -> None:
    """Lineage by the bytes alone named another candidate with the same ones."""
    for name in ("c1", "c2"):
        light.candidate(name)
    write_prices(tmp_path / "prices.csv", market().raw)
    (tmp_path / "branch.yaml").write_text("model: {alpha: 20}\n", encoding="utf-8")
    start = start_from(light.registry, "c2", root=light.root)
    asked = Request(
        tmp_path / "prices.csv",
        branch_of(start, tmp_path / "branch.yaml"),
        gates=GateConfig(resamples=200),
        start=start,
    )
    told: list[tuple[str, str]] = []
    done, candidate = retrain_candidate(
        light.registry, asked, root=light.root, clock=light.clock, run_id="c3", code_version="0", actor=LAUNCHER,
        expiry=timedelta(days=14), told=lambda stage, what: told.append((stage, what)),
    )  # fmt: skip
    assert candidate.started_from == "c2"
    kept = json.loads((done.run.path / MANIFEST).read_text())
    assert kept["lineage"]["started_from"] == "c2"
    assert kept["lineage"]["started_from_sha256"] == start.model_sha256
    assert kept["experiment"] == json.loads(small_experiment(model={"kind": "ridge", "alpha": 20.0}).canonical())
    # Its parent saw all of these bars: every fold starts from what the parent was before the fold's test.
    assert kept["warm_start"] | {"known_to": ""} == {
        "from": "c2", "from_sha256": start.model_sha256, "weights": True, "why_cold": None, "known_to": "",
        "warm_folds": len(kept["folds"]), "cold_folds": 0,
    }  # fmt: skip
    for fold in kept["folds"]:
        assert fold["start"]["parent_fold"] == fold["number"]
        assert fold["start"]["known_to"] < fold["test_from"]
    assert any(stage == "start" and "weights of c2" in what for stage, what in told)


def test_a_run_that_kept_no_models_of_its_folds_leaves_them_cold_and_that_is_said(light: House) -> None:
    """Runs of before are there, and must neither break a training nor lend it what they had seen."""
    light.candidate("c1")
    old = replace(start_from(light.registry, "c1", root=light.root), folds=())
    found = train(small_bars(), small_experiment(), start=old)
    assert found.warmth is not None
    assert found.warmth.warm_folds == 0
    assert "start cold" in found.warmth.sentence
    assert all(one.start is None for one in found.folds)


def test_every_start_is_a_trial_and_so_is_what_was_tried_on_the_data_of_ancestors(home: House) -> None:
    """Warm starts from warm starts threw the dice again and again, and were judged as one throw."""
    data, later = small_bars_sha(home, "c1"), "d" * 64
    root = experiment_sha(home, "c1")
    warm = trial(root, "a" * 64)
    assert trials_of(home.registry, MARKET, data, [trial(root)]) == 1
    assert trials_of(home.registry, MARKET, data, [warm], started_from="c1") == 2
    assert trials_of(home.registry, MARKET, data, [warm, trial("b" * 64)], started_from="c1") == 3
    # On other data: what was tried beside the parent counts, the parent's own experiment once.
    home.candidate("c2", seed=8)
    assert trials_of(home.registry, MARKET, later, [warm]) == 1
    assert trials_of(home.registry, MARKET, later, [warm], started_from="c1") == 2
    assert trials_of(home.registry, MARKET, later, [trial(root)], started_from="c1") == 2


def test_a_champion_that_is_started_from_again_and_again_is_counted(light: House, tmp_path: Path) -> None:
    """The gates were as lenient to the tenth descendant on the same data as to the first."""
    light.candidate("c1")
    write_prices(tmp_path / "prices.csv", market().raw)
    counts = []
    for number, parent in ((2, "c1"), (3, "c2"), (4, "c2")):
        start = start_from(light.registry, parent, root=light.root)
        asked = Request(
            tmp_path / "prices.csv", start.experiment, gates=GateConfig(resamples=200), start=start, has_report=False
        )
        done, candidate = retrain_candidate(
            light.registry, asked, root=light.root, clock=light.clock, run_id=f"c{number}", code_version="0",
            actor=LAUNCHER, expiry=timedelta(days=14),
        )  # fmt: skip
        counts.append(candidate.trials)
        assert done.trials == candidate.trials
    # The last is the third again, byte for byte, and no further try.
    assert counts == [2, 3, 3]


def small_bars_sha(home: House, name: str) -> str:
    return home.candidate(name).bytes.data


def experiment_sha(home: House, name: str) -> str:
    with home.registry.reading() as session:
        found = candidates.find(session, name)
    assert found is not None
    return found.bytes.experiment


def test_a_form_takes_the_parents_experiment_and_changes_keys_of_it(light: House) -> None:
    """A form that fell back to its preset trained the default ridge in the champion's name."""
    light.candidate("c1", seed=11)
    start = start_from(light.registry, "c1", root=light.root)
    (light.root / "branch.yaml").write_text("name: branch\n", encoding="utf-8")
    assert experiment_of("boosting", "", data_dir=light.root, start=start) == small_experiment(seed=11)
    changed = experiment_of("ridge", "branch.yaml", data_dir=light.root, start=start)
    assert changed == small_experiment(seed=11, name="branch")
