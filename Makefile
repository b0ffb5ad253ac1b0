# What a developer types. `make` lists it. Needs make and Python 3.11 or newer; the rest comes from PyPI, by hash.

BIN := .venv/bin
UV := .parlance/uv/bin/uv
LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
# Never a Python of uv's own: the one that runs make's tools runs the product.
export UV_PYTHON_DOWNLOADS := never
# The certificates that this machine trusts, so that a proxy which inspects TLS is one of them, as it is for pip.
export UV_SYSTEM_CERTS ?= true

.DEFAULT_GOAL := help

.PHONY: help
help: ## List what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: env ## Run everything: server, worker, PostgreSQL, Redis and S3 (ARGS=--reload).
	@$(BIN)/parlance dev $(ARGS)

# Two processes, each with services of its own; the tests of a file stay together.
AT_ONCE := -n 2 --dist loadfile

.PHONY: test
test: env ## Run the tests that need nothing but this folder (ARGS="-k auth").
	$(BIN)/python -m pytest -m "not system" $(or $(ARGS),$(AT_ONCE))
	$(if $(ARGS),,$(MAKE) --no-print-directory test-connexion)

.PHONY: test-connexion
test-connexion: env ## Run the tests marked `rest_paths` without the fast path (part of a whole `make test`).
	REST_FAST_PATH=false $(BIN)/python -m pytest -m "rest_paths and not system" tests/contract tests/handlers $(or $(ARGS),$(AT_ONCE))

.PHONY: test-system
test-system: env ## Run the tests that need Debian packages: coturn, nginx, Chromium.
	$(BIN)/python -m pytest -m system $(ARGS)

.PHONY: check
check: env ## Check style, types, layers, the specs, what breaks clients, the client and the migrations.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m contract.lint
	$(BIN)/python -m contract.compare
	$(BIN)/python -m contract.python_types --check
	$(BIN)/python -m contract.typescript --check
	$(BIN)/parlance migrations check --embedded

.PHONY: types
types: env ## Write the Python and TypeScript types of both specs, and bundle the practice page.
	$(BIN)/python -m contract.python_types
	$(BIN)/python -m contract.typescript

.PHONY: release-specs
release-specs: env ## Make the two specs those that clients have: part of a release.
	$(BIN)/python -m contract.compare --release

WIRE := .parlance/wire
.PHONY: mutants
mutants: env ## Rename everything in both specs, one thing at a time, and say what no test notices (about ten minutes).
	rm -rf $(WIRE)
	WIRE_RECORD=$(WIRE) $(BIN)/python -m pytest -m "not system" tests/contract tests/handlers tests/realtime $(AT_ONCE)
	$(BIN)/python -m tests.contract.mutations $(WIRE)

.PHONY: bench
bench: env ## Measure all of what follows, and write docs/performance.md (about 23 minutes; ARGS="rest day").
	$(BIN)/python -m bench.run $(ARGS)

.PHONY: bench-rest
bench-rest: env ## Measure REST beside Fastify, in one run (about four minutes).
	$(BIN)/python -m bench.rest.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-sockets
bench-sockets: env ## Measure sockets beside socket.io, in one run (about five minutes).
	$(BIN)/python -m bench.sockets.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-matching
bench-matching: env ## Measure matching beside the same on Node (about three minutes).
	$(BIN)/python -m bench.matching.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-webhooks
bench-webhooks: env ## Measure how soon webhooks are thanked for, beside Fastify (about three minutes).
	$(BIN)/python -m bench.webhooks.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-upload
bench-upload: env ## Measure the server's memory while a gigabyte is uploaded (about two minutes).
	$(BIN)/python -m bench.upload.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-bus
bench-bus: env ## Measure messages between workers beside Node's (about two minutes).
	$(BIN)/python -m bench.bus.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-admin
bench-admin: env ## Ask a million accounts and five million calls what operators ask (about six minutes).
	$(BIN)/python -m bench.admin.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-day
bench-day: env ## Let learners live a day against the whole product, then more of them (about five minutes).
	$(BIN)/python -m bench.day.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-counting
bench-counting: env ## Measure what counting for the metrics costs (about ten seconds).
	$(BIN)/python -m bench.counting.run
	@$(BIN)/python -m bench.performance

.PHONY: faults
faults: env ## Do to the running product what happens to products, and look what was lost (ARGS="redis-flushed").
	$(BIN)/python -m faults.run $(ARGS)

.PHONY: format
format: env ## Format the source and mend what can be mended by itself.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: $(UV) ## Write requirements/*.txt from pyproject.toml (ARGS=--upgrade for new versions).
	$(UV) $(LOCK) pyproject.toml --group development -o requirements/development.txt $(ARGS)
	$(UV) $(LOCK) pyproject.toml -c requirements/development.txt -o requirements/production.txt
	echo uv | $(UV) $(LOCK) - -o requirements/uv.txt $(ARGS)

.PHONY: sbom
sbom: env ## Write the bill of materials (dist/parlance.cdx.json) and docs/licences.md.
	$(BIN)/python deploy/bill_of_materials.py dist/parlance.cdx.json

.PHONY: env
env: .venv/.ready ## Make .venv, or bring it up to the lock file.

.PHONY: hooks
hooks: env ## Install the git hooks that check a commit.
	$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove what these tools made; data (.parlance) and keys stay.
	rm -rf .venv .parlance/uv node_modules clients/typescript/node_modules dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements/development.txt pyproject.toml $(UV)
	@echo "Installing requirements/development.txt into .venv"
	@$(BIN)/python -c "" 2>/dev/null || $(UV) venv --quiet --clear --python .parlance/uv/bin/python .venv
	@$(UV) pip sync --require-hashes --python $(BIN)/python requirements/development.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

$(UV): requirements/uv.txt
	@python=; \
	for name in python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Parlance needs Python 3.11 or newer, and neither python3 nor python3.11 to python3.14 is that." >&2; exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
		$$python -c 'import sys; print("%s lacks the venv module: apt-get install python%d.%d-venv" % (sys.executable, *sys.version_info[:2]))' >&2; \
		exit 1; \
	fi; \
	mkdir -p -m 700 .parlance && rm -rf .parlance/uv && $$python -m venv .parlance/uv && \
	.parlance/uv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@
