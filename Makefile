# `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := protos quote-svc prediction-svc subscription-svc gateway
# Each folder of tests is checked by itself, since each may have its own conftest.
TESTS := $(wildcard $(PACKAGES:=/tests/*/)) tests/e2e tests/browser tests/faults tests/long tests/postgres tests/certificates tests/logs $(wildcard deploy/smoke/*/) deploy/tests
PYTEST := $(BIN)/python -m pytest
# What browsers are served beside our own files; Node comes from PyPI.
ASSETS := gateway/src/gateway/static/vendor/.stamp
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##### set-up

# Each level of set-up is a stamp that is older than the lock it was made from when it is due again.
.PHONY: setup
setup: $(VENV)/run.stamp $(ASSETS) ## make .venv and fetch what the product needs to run

$(BIN)/python:
	@deploy/make-venv $(VENV)

$(VENV)/%.stamp: requirements/%.txt $(PACKAGES:=/pyproject.toml) | $(BIN)/python
	@echo "Installing $< into $(VENV) (once; a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

$(ASSETS): gateway/web/package-lock.json deploy/install-assets requirements/assets.txt | $(BIN)/python
	@echo "Fetching scripts and styles with npm, and a Node for it into $(VENV) (once; a minute or less) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/assets.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" deploy/install-assets
	@touch $@

##### use

.PHONY: run
run: setup ## bring the whole product up on http://localhost:8080 (GATEWAY_PORT)
	@exec $(BIN)/python deploy/run_local.py

##### the stack: Docker Compose and PostgreSQL

COMPOSE := docker compose
# More arguments of `docker compose up`, like SCALE="--scale quote-svc=2".
SCALE :=

.PHONY: up down smoke logs secrets
up: secrets ## bring the stack up with Docker, on http://localhost:8080 (GATEWAY_PORT)
	@mkdir -p prices
	@$(COMPOSE) up --build --detach --wait --wait-timeout 300 --remove-orphans $(SCALE) \
		|| { $(COMPOSE) ps --all; echo "The stack is not healthy: 'make logs' says why." >&2; exit 1; }
	@printf '\n  Foretick is up: http://%s\n' "$$($(COMPOSE) port gateway 8080)"
	@printf '  make logs shows what it does, make smoke tries it, make down stops it and keeps its data.\n\n'
down: ## stop the stack; its data stay
	@deploy/need-docker
	@$(COMPOSE) --profile smoke down --remove-orphans
logs: ## follow what the stack says
	@deploy/need-docker
	@$(COMPOSE) logs --follow --tail 100
secrets: ## make deploy/secrets, what is there stays
	@deploy/need-docker
	@deploy/make-secrets deploy/secrets
smoke: $(VENV)/test.stamp ## try the stack that is up; it leaves accounts of its own behind
	@deploy/need-docker
	@$(PYTEST) deploy/smoke/outside
	@$(COMPOSE) build --quiet smoke
	@SMOKE_REPLICAS="$$(for service in quote-svc prediction-svc subscription-svc; do \
			echo "$$service=$$($(COMPOSE) ps --quiet $$service | wc -l)"; done)" \
		$(COMPOSE) run --rm --no-TTY smoke

.PHONY: doctor backup restore
doctor: setup ## what is wrong, and what to do: the stack where it is up, else what `make run` needs
	@$(BIN)/python deploy/doctor.py
backup: | $(BIN)/python ## back up the stack if it is up, else the data folder, into backups/ (or OUT=FILE)
	@$(BIN)/python deploy/backup.py backup $(if $(OUT),--out '$(OUT)')
restore: | $(BIN)/python ## restore FILE=…; FORCE=1 where there is something to replace
	@test -n "$(FILE)" || { echo "Say which: make restore FILE=backups/…" >&2; exit 2; }
	@$(BIN)/python deploy/backup.py restore '$(FILE)' $(if $(FORCE),--force)

##### test

# Files of tests, two at once: most of their time is other processes' starting.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile

.PHONY: test test-unit test-rpc test-web test-e2e test-browser
test: $(VENV)/test.stamp $(ASSETS) ## all tests but the browser's
	@$(PYTEST) $(SIDE_BY_SIDE) $(foreach p,$(PACKAGES),$(p)/tests) deploy/tests tests/e2e
test-unit: $(VENV)/test.stamp $(ASSETS) ## pure tests
	@$(PYTEST) $(wildcard $(PACKAGES:=/tests/unit))
test-rpc: $(VENV)/test.stamp $(ASSETS) ## the services over real channels
	@$(PYTEST) $(wildcard $(PACKAGES:=/tests/rpc))
test-web: $(VENV)/test.stamp $(ASSETS) ## the gateway over HTTP
	@$(PYTEST) gateway/tests/web
test-e2e: $(VENV)/test.stamp $(ASSETS) ## all four processes together
	@$(PYTEST) tests/e2e
test-browser: $(VENV)/dev.stamp $(ASSETS) ## the pages in a browser (needs Chromium: CHROMIUM=path)
	@$(PYTEST) tests/browser

.PHONY: test-long
test-long: $(VENV)/test.stamp $(ASSETS) ## what takes long: hundreds of sessions of the demo exchange, loops of kill -9, thousands of inputs
	@$(PYTEST) tests/long
	@FORETICK_KILLS=20 $(PYTEST) -k kill quote-svc/tests/unit/test_quote_store.py prediction-svc/tests/unit/test_prediction_ledger_kill.py
	@FORETICK_FUZZ_INPUTS=10000 $(PYTEST) gateway/tests/web/test_gateway_inputs.py tests/e2e/test_e2e_inputs.py

.PHONY: test-faults
test-faults: $(VENV)/test.stamp ## a stack of its own, disturbed: replicas replaced, PostgreSQL away, wiped and restored
	@deploy/need-docker
	@$(PYTEST) -s tests/faults

# How the product is started, and a source of prices that the tests have too.
BENCH := PYTHONPATH=deploy:tests/certificates:quote-svc/tests/yahoo $(BIN)/python -m bench
.PHONY: bench bench-gate
bench: $(VENV)/dev.stamp $(ASSETS) ## what things cost beside what else one would use, in 15 minutes; ONLY=1,4 for some
	@$(BENCH) $(if $(ONLY),--only '$(ONLY)')
bench-gate: $(VENV)/dev.stamp $(ASSETS) ## fail where a warm page costs too much CPU, or more than one call
	@$(BENCH) --gate

##### keep

.PHONY: check format words protos protos-check lock
check: $(VENV)/dev.stamp $(ASSETS) protos-check ## formatting, lint, types, contracts
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@MYPYPATH=deploy:tests/postgres:tests/logs:tests/certificates:quote-svc/tests/yahoo $(BIN)/mypy $(PACKAGES:=/src) protos/gen protos/generate.py gateway/words.py $(wildcard deploy/*.py) bench conftest.py
	@for tests in $(TESTS); do MYPYPATH=deploy:gateway:deploy/smoke/outside:tests/browser:tests/e2e:tests/faults:tests/long:tests/postgres:tests/certificates:tests/logs:quote-svc/tests/yahoo:gateway/tests/fakes:subscription-svc/tests/fakes:prediction-svc/tests/fakes $(BIN)/mypy $$tests || exit 1; done
	@PATH="$(CURDIR)/$(BIN):$$PATH" && cd protos && npm ci --silent --ignore-scripts --no-audit --no-fund && npm exec --silent -- buf lint && npm exec --silent -- buf format --diff --exit-code
format: $(VENV)/dev.stamp ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .
words: $(VENV)/run.stamp ## gather what pages say into the catalogues of other languages
	@$(BIN)/python gateway/words.py
protos: $(VENV)/dev.stamp ## generate the code of the contracts
	@$(BIN)/python protos/generate.py protos/gen
protos-check: $(VENV)/dev.stamp
	@$(BIN)/python protos/generate.py $(VENV)/generated
	@diff -r -x __pycache__ $(VENV)/generated protos/gen \
		|| { echo "protos/gen differs from the contracts: run 'make protos'"; exit 1; }
# Foretick's own packages are copied into the images.
NOT_LOCKED := $(patsubst %,--no-emit-package foretick-%,$(PACKAGES:-svc=))
lock: $(VENV)/dev.stamp ## renew the hashed locks in requirements/
	@cd requirements && ../$(LOCK) --upgrade dev.in -o dev.txt && \
		for level in assets run test gateway quote-svc prediction-svc subscription-svc smoke; do \
			../$(LOCK) -c dev.txt $(NOT_LOCKED) $$level.in -o $$level.txt || exit 1; done

.PHONY: clean
clean: ## remove .venv and caches, never your data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache protos/node_modules gateway/web/node_modules $(dir $(ASSETS))
