# Every target makes the environment that it needs in .venv; nothing else on the machine is touched.
# PYTHON=python3.12 chooses the interpreter, ACCELERATOR=gpu the TensorFlow build, ARGS=… goes to the command.

PYTHON ?=
ACCELERATOR ?= cpu
ARGS ?=
export PYTHON ACCELERATOR

BIN := .venv/bin
CHECKS := check-lint check-format check-types check-imports check-migrations check-locks check-prose check-reference check-web check-docs check-chart check-pipelines

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev web docs reference demo demo-stack up test browser-test proofs compose-test release bench check $(CHECKS) format locks hooks clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do \
		printf '%-20s%s\n' "$$target" "$$text"; done

setup: ## make .venv from the hash-pinned locks
	@scripts/setup service

setup-dev:
	@scripts/setup dev

web: setup ## build the dashboard (with Node from PATH, or from a wheel)
	@scripts/web build

docs: ## build the manual, which the service then shows at /manual
	@scripts/setup docs
	@rm -rf api/static_manual && $(BIN)/python scripts/manual.py >.manual.log 2>&1 && rm .manual.log \
		|| { cat .manual.log >&2; rm .manual.log; exit 1; }

demo: setup ## train networks on real digits through the API, say why one is poor on unseen images, and measure what cures it
	@scripts/web try
	@exec $(BIN)/python -m examples.demo $(ARGS)

demo-stack: setup-dev ## the same demonstration through PostgreSQL, a broker and two Celery workers
	@exec $(BIN)/python -m examples.demo --stack $(ARGS)

up: setup ## run the service on this machine
	@scripts/web try
	@trap : INT; $(BIN)/heldout up $(ARGS) || [ $$? -eq 130 ] # Ctrl-C is how it ends: no error of make's

# Tests start hundreds of processes, which need not compile the code each time, whatever the environment says.
test: setup-dev ## run all tests but the long proofs
	@unset PYTHONDONTWRITEBYTECODE; exec $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

browser-test: setup-dev ## use the dashboard in a real Chromium (needs one: apt-get install chromium)
	@exec $(BIN)/python -m pytest -m "browser and not proof" tests/browser $(ARGS)

proofs: setup-dev ## run the long suites: three to four hours on two cores
	@exec $(BIN)/python -m pytest -m proof --timeout 3600 $(ARGS)

compose-test: setup-dev ## bring the stack up in containers for real, harm it, take it down (needs Docker)
	@exec $(BIN)/python -m tests.compose

release: setup-dev ## build wheels, images, hashes, lists of packages and signatures into dist/, and try them
	@scripts/setup release
	@exec $(BIN)/python -m scripts.release $(ARGS)

bench: setup-dev ## measure the service against direct training
	@exec $(BIN)/python -m benchmarks $(ARGS)

check: $(CHECKS) ## lint, format, types, import rules, migrations, locks, English, the dashboard, the manual

check-lint: setup-dev
	@$(BIN)/python -m ruff check --quiet

check-format: setup-dev
	@$(BIN)/python -m ruff format --check --quiet || { echo "run \`make format\`" >&2; exit 1; }

check-types: setup-dev
	@$(BIN)/python -m mypy

check-imports: setup-dev
	@$(BIN)/lint-imports --no-logo

# The tables in models/ and the migrations in alembic/ must say the same; a new SQLite file shows it.
check-migrations: setup-dev
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	export HELDOUT_DATABASE_URL="sqlite:///$$folder/check.db" DATABASE_URL="sqlite:///$$folder/check.db" && \
	$(BIN)/python -m alembic upgrade head && $(BIN)/python -m alembic check

check-locks: setup-dev
	@$(BIN)/python scripts/locks.py check

check-web: check-reference
	@scripts/web check

check-prose: setup-dev
	@$(BIN)/python scripts/prose.py $(ARGS)

# Strictly: a page, an anchor or a picture that a link does not find ends it.
check-docs: docs

# By Helm as a library, in an environment of its own.
check-chart: setup-dev
	@$(BIN)/python -m pytest -q -m chart tests/chart

# By schemas and a linter, in an environment of its own.
check-pipelines: setup-dev
	@$(BIN)/python -m tests.pipelines.lint

# What `make reference` writes must be what the code says.
check-reference: setup-dev
	@$(BIN)/python scripts/reference.py check

reference: setup-dev ## write what the reference, .env.example and docker-compose.yml say of the code
	@$(BIN)/python scripts/reference.py

format: setup-dev ## format, and fix what the linters can fix
	@$(BIN)/python -m ruff check --fix --quiet; $(BIN)/python -m ruff format
	@scripts/web format

locks: setup-dev ## resolve the lock files again (ARGS=--upgrade for newer versions)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/locks.py $(ARGS)

hooks: setup-dev ## run `make check` before every commit
	@$(BIN)/prek install

clean: ## remove .venv, caches and build results
	@rm -rf .venv build dist api/static api/static_manual .cache web/node_modules web/tools/*/node_modules ./*.egg-info .*_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
