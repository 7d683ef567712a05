# PLMS Pipeline. `make help` lists every target.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where this is set, every process compiles all modules anew: a second each time, a hundred times in a run of the tests.
export PYTHONDONTWRITEBYTECODE :=
# Databases that live a tenth of a second are made in memory, where there is some: a disk makes each commit wait.
MEMORY := $(shell df -k --output=avail /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 > 4000000 {print "/dev/shm"}')
IN_MEMORY := $(if $(MEMORY),TMPDIR=$(MEMORY) )
STAMP := $(VENV)/.installed
LOCKED := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r $(VENV)/lock.
PEERS := .bench-peers
N ?=
SEED ?=
KILLS ?=
DAYS ?=
BACKUPS ?=
FLIPS ?=
FLOOD ?=
WORLDS ?=
ONLY ?=

.PHONY: help setup run simulate test test-live test-ui ui lint lint-rules dashboards format bench bench-peers demo-budget demo-guides demo-portfolio demo-retrain demo-run prove-alerts prove-api prove-completions prove-gates prove-guards prove-kill prove-portfolio prove-promotion prove-observer prove-panels prove-restore prove-simulation prove-small prove-small-guards prove-small-runs prove-start lock clean prove-forecast prove-estimates prove-page

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; call make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@# Two at once, each with half of the lock: it is complete, so that neither half has to look for what it depends on.
	awk '/^[a-z]/ {n++} {print > ("$(VENV)/lock." (n % 2))}' requirements.lock
	$(LOCKED)0 & first=$$!; $(LOCKED)1; second=$$?; wait $$first && exit $$second
	@# Without the packages' own tests, which are a quarter of what pip would compile. What is no Python of ours is left, as pip does.
	$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib || true
	$(BIN)/python -m pip check --disable-pip-version-check || { echo "what else is in $(VENV) does not fit: make clean setup"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

setup: $(STAMP) ## make .venv with the locked packages
	@if [ -d .git ] && [ ! -e .git/hooks/pre-commit ]; then $(BIN)/pre-commit install >/dev/null 2>&1 || true; fi

run: setup ## from an empty checkout to calibrated estimates, KPI results, proven invariants and a report
	$(BIN)/plms db upgrade
	$(BIN)/plms project samples --any-id
	$(BIN)/plms import swebench data/samples/swebench_agent_runs.csv.gz
	$(BIN)/plms import metr data/samples/metr_agent_runs.csv.gz
	$(BIN)/plms kpi warehouse load data/samples/artifacts/warehouse.sql
	$(BIN)/plms kpi inbox add data/samples/artifacts/*/
	$(BIN)/plms nightly

demo-run: setup ## one project from its file to its report: approved, worked at 1000x, gated, learnt from; below a minute
	$(BIN)/python -m plms_pipeline_tests.vectors.demo_run

demo-budget: setup ## a budget runs dry; receivers for Slack, PagerDuty and mail hold one message each, and its end
	$(BIN)/python -m plms_pipeline_tests.vectors.demo_budget

demo-guides: setup ## the guides' three demos: idempotent start, representative canary, KPI-gated completion
	$(BIN)/python -m plms_pipeline_tests.vectors.demos

demo-portfolio: setup ## twelve projects share the lanes; a picture of lanes over time and of shares
	$(BIN)/python -m plms_pipeline_tests.vectors.demo_portfolio

demo-retrain: setup ## a model from prices to its service and back: the S&P 500 told honestly, a planted signal promoted and rolled back
	$(BIN)/python -m plms_pipeline_tests.vectors.demo_retrain

test: setup ## the fast tests, on SQLite and PostgreSQL (whole servers: make test-live)
	$(IN_MEMORY)$(BIN)/pytest -n 2 --dist loadgroup

test-live: setup ## the tests that start whole servers: API, executor, guarded UI, the guides' vectors and demos
	@# Of these files alone: to import all others takes each worker seconds.
	$(IN_MEMORY)$(BIN)/pytest -m live -n 3 --dist loadgroup $$(grep -rl --include='test_*.py' 'mark\.live' plms_pipeline_tests)

test-ui: setup ## drive the Dagster UI in a real headless browser
	@# One worker has the house with all servers, the other the page of the API. Time is for what hangs, not for what is slow.
	$(IN_MEMORY)$(BIN)/pytest -m ui -n 2 --dist loadgroup --timeout 1200 plms_pipeline_tests/ui

ui: setup ## the guarded Dagster UI with its daemon on http://127.0.0.1:3000
	$(BIN)/plms ui

lint: setup ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-rules: setup ## promtool over the alert rules: valid, and each fires and resolves (needs Debian's package prometheus)
	CI=true $(BIN)/pytest -m live plms_pipeline_tests/deploy/test_promtool.py

dashboards: setup ## write deploy/grafana/dashboards anew from their code
	$(BIN)/python -m deploy.grafana

format: setup ## let ruff format and fix what it can
	$(BIN)/ruff check --fix . || true
	$(BIN)/ruff format .

prove-kill: setup ## SIGKILL at N random moments of import and night; priors stay identical (N=50 SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.kill $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED))

prove-alerts: setup ## N × SIGKILL in the middle of sending, 2 and 5 replicas, both databases; nothing lost, nothing told twice without a crash (N=100 SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.alerts $(if $(N),--kills $(N)) $(if $(SEED),--seed $(SEED))

prove-promotion: setup ## turned bits and launchers refused by name; N × SIGKILL in promotions and rollbacks, both databases: something always serves (N=100 SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.promotion $(if $(N),--kills $(N)) $(if $(SEED),--seed $(SEED))

prove-api: setup ## schemathesis over the OpenAPI of a live `plms serve`, all checks (N=examples per operation SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.api $(if $(N),--examples $(N)) $(if $(SEED),--seed $(SEED))

prove-start: setup ## 100 clients send the same start at once, N rounds, four worlds; one run per key (N=50 SEED=… WORLDS=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.start $(if $(N),--rounds $(N)) $(if $(SEED),--seed $(SEED)) $(addprefix --world ,$(WORLDS))

prove-completions: setup ## N runs with every fault switched on, then again with KILLS × SIGKILL; books are right (N=200 KILLS=100 SEED=… DATABASE=sqlite|postgresql ONLY=quiet|killed)
	$(BIN)/python -m plms_pipeline_tests.proofs.completions $(if $(N),--runs $(N)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(if $(DATABASE),--database $(DATABASE)) $(if $(ONLY),--only $(ONLY))

prove-observer: setup ## 1 000 obligations a second for FLOOD s, evidence absent; Redis and observer killed; nothing lost (FLOOD=10 KILLS=5 SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.observer $(if $(FLOOD),--seconds $(FLOOD)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

prove-page: setup ## 100 streams, 100 projects, one worker, N seconds of changes: none is missed, memory stays flat (N=540 SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.page $(if $(N),--seconds $(N)) $(if $(SEED),--seed $(SEED))

prove-guards: setup ## 50 processes for 3 places, 200 charges, 2.0/s for N seconds, a SIGKILL, the kill switch three ways (N=60)
	$(BIN)/python -m plms_pipeline_tests.proofs.guards $(if $(N),--seconds $(N))

prove-portfolio: setup ## N runs, four dispatchers, every fault, KILLS × SIGKILL: caps, shares, ledger (N=200 KILLS=100 SEED=… DATABASE=sqlite|postgresql)
	$(BIN)/python -m plms_pipeline_tests.proofs.portfolio $(if $(N),--runs $(N)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(if $(DATABASE),--database $(DATABASE))

prove-panels: setup ## every question of every dashboard is answered by a demo world: PostgreSQL, Redis, a real Prometheus
	$(BIN)/python -m plms_pipeline_tests.proofs.panels

prove-restore: setup ## BACKUPS × backups under the load of N runs, restored and proven on both databases; FLIPS × a flipped bit is found (N=40 BACKUPS=5 FLIPS=200 SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.restore $(if $(N),--runs $(N)) $(if $(BACKUPS),--backups $(BACKUPS)) $(if $(FLIPS),--flips $(FLIPS)) $(if $(SEED),--seed $(SEED))

simulate: setup ## simulated days of the real actions with faults, deaths and jumping clocks; a failing seed replays (DAYS=100 SEED=1)
	$(BIN)/python -m plms_pipeline_tests.simulation simulate $(if $(DAYS),--days $(DAYS)) $(if $(SEED),--seed $(SEED))

prove-simulation: setup ## N simulated days over seeds from SEED without a violation, and every planted mistake found (N=10000 SEED=1)
	$(BIN)/python -m plms_pipeline_tests.simulation prove $(if $(N),--days $(N)) $(if $(SEED),--seed $(SEED))

prove-forecast: setup ## N simulated projects of shipped receipts: 90 % intervals of the projected final and of the minutes to depletion, lead time of runway_t15 (N=1000 SEED=1)
	$(BIN)/python -m plms_pipeline_tests.proofs.forecast $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED))

prove-gates: setup ## N null worlds are blocked, N worlds with a signal pass, every mistake that looks like skill is named (N=40 SEED=0)
	$(BIN)/python -m plms_pipeline_tests.proofs.gates $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED))

prove-estimates: setup ## a model of estimates against the priors on the shipped receipts, judged on later ones (N=only the first N of each file SEED=…)
	$(BIN)/python -m plms_pipeline_tests.proofs.estimates $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED))

prove-small: prove-small-runs prove-small-guards ## every proof with a small count, as CI runs them

prove-small-runs:
	$(IN_MEMORY)$(MAKE) prove-kill N=2
	$(IN_MEMORY)$(MAKE) prove-forecast N=60
	$(IN_MEMORY)$(MAKE) prove-estimates N=600
	$(IN_MEMORY)$(MAKE) prove-gates N=3
	@# The world whose Redis is killed in its second round begins as the one whose Redis lives.
	$(IN_MEMORY)$(MAKE) prove-start N=2 WORLDS="sqlite postgresql redis-killed"
	$(IN_MEMORY)$(MAKE) prove-completions N=4 KILLS=3
	$(IN_MEMORY)$(MAKE) prove-completions N=3 KILLS=2 DATABASE=postgresql ONLY=killed

prove-small-guards:
	$(IN_MEMORY)$(MAKE) prove-portfolio N=4 KILLS=2
	$(IN_MEMORY)$(MAKE) prove-portfolio N=4 KILLS=2 DATABASE=postgresql
	$(IN_MEMORY)$(MAKE) prove-api N=2
	$(IN_MEMORY)$(MAKE) prove-observer FLOOD=4 KILLS=1
	$(IN_MEMORY)$(MAKE) prove-guards N=4
	$(IN_MEMORY)$(MAKE) prove-alerts N=6
	$(IN_MEMORY)$(MAKE) prove-promotion N=4
	$(IN_MEMORY)$(MAKE) prove-page N=4
	$(IN_MEMORY)$(MAKE) prove-simulation N=80
	$(IN_MEMORY)$(MAKE) prove-restore N=2 BACKUPS=1 FLIPS=10

bench: setup ## compare with peers and with the limit of this machine
	$(BIN)/python -m bench

bench-peers: setup ## the peers' own environment, for `make bench`
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers.txt

lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock

clean: ## remove what was built and stored; keeps data/samples
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find data -mindepth 1 -maxdepth 1 ! -name README.md ! -name samples -exec rm -rf {} +
	find reports -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
