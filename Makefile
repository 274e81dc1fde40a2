# make run and make test are all a newcomer needs: Python 3.11 or newer, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# In one command, whoever installs them: their names are registered nowhere and must not be looked for in an index.
DISTRIBUTIONS := protos/restmap protos gateway server
PROTOS := $(sort $(wildcard protos/*/*/*.proto))
SERVICES := protos/backupsharing/v2/backup_catalog.proto protos/backupsharing/v2/backup_sharing.proto \
	protos/multiplex/v1/multiplex.proto
IMAGE := protos/backupsharing/image.binpb
# What a failure carries comes along, so that the image is all that a client in any language needs.
FAILURES := google/rpc/error_details.proto google/rpc/status.proto
RELEASED := protos/released.binpb
BUF_LINT := {"version":"v1","lint":{"use":["STANDARD","COMMENTS"],"ignore":["google"]}}
BUF_BREAKING := {"version":"v1","breaking":{"use":["FILE"],"ignore":["google"]}}

.PHONY: help run test test-all test-keystone lint format docs generate plugins stubs released dist bench bench-full siege \
	fuzz chaos mutants interop interop-broken clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.run ## Run the demo: server and gateway on this machine (ARGS='--listen 127.0.0.1:9090')
	@exec $(BIN)/backup-sharing demo $(ARGS)

# Processes that run tests: more than the two cores that we have in mind, as tests also wait, above all those of test-all.
WORKERS = 4
test-all: WORKERS = 6
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal
# Tests start programs hundreds of times, which should not be compiled again each time.
unexport PYTHONDONTWRITEBYTECODE

test: $(VENV)/.dev ## Run the tests that take no long time (ARGS='-k sharing', WORKERS=4)
	$(PYTEST) -m 'not resilience and not outside' $(ARGS)

test-all: $(VENV)/.dev ## Run all tests, also those that wait on purpose or need other programs (ARGS=…, WORKERS=6)
	$(PYTEST) $(ARGS)

test-keystone: $(VENV)/.dev build/keystone/.installed ## Run the flows with a real Keystone, installed in build/
	BACKUP_SHARING_TEST_KEYSTONE=$(CURDIR)/build/keystone/bin/python $(BIN)/python -m pytest tests/system/keystone $(ARGS)

lint: $(VENV)/.dev ## Check style, types, protos, and that generated code is up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/buf format --diff --exit-code protos
	$(MAKE) --no-print-directory generate OUT=build/generated
	$(BIN)/buf lint build/generated/backupsharing/image.binpb --config '$(BUF_LINT)'
	$(BIN)/buf breaking build/generated/backupsharing/image.binpb --against $(RELEASED) --config '$(BUF_BREAKING)'
	@for file in $$(cd build/generated && find . -type f); do \
		cmp "build/generated/$$file" "protos/$$file" || { echo "run 'make generate' and commit"; exit 1; }; done

format: $(VENV)/.dev ## Bring code and protos into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write protos

docs: $(VENV)/.dev ## Write the generated pages, and build the documentation into build/site
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

OUT ?= protos
generate: $(VENV)/.dev ## Make the Python stubs, the descriptor image and the generated pages of docs
	@mkdir -p $(OUT)/backupsharing
	@PATH="$(BIN):$$PATH"; \
	include=$$($(BIN)/python -c 'import google.api.http_pb2 as p; print(p.__file__[: -len("google/api/http_pb2.py")])'); \
	protoc="$(BIN)/python -m grpc_tools.protoc -I protos -I $$include"; \
	$$protoc --python_out=$(OUT) --mypy_out=quiet:$(OUT) $(PROTOS:protos/%=%) && \
	$$protoc --grpc_python_out=$(OUT) --mypy_grpc_out=quiet:$(OUT) $(SERVICES:protos/%=%) && \
	$$protoc --include_imports --include_source_info \
		--descriptor_set_out=$(OUT)/backupsharing/image.binpb $(PROTOS:protos/%=%) $(FAILURES)
	@test $(OUT) != protos || $(BIN)/python -m docs.generate

dist: $(VENV)/.dist ## Build wheels and sdists of all distributions into dist/ (install from there in one command)
	rm -rf dist
	@for root in $(DISTRIBUTIONS); do \
		(cd $$root && $(CURDIR)/$(BIN)/python -m hatchling build --directory $(CURDIR)/dist) || exit 1; done

plugins: $(VENV)/.dev ## Install what `make stubs` needs for every language that this machine has, into build/tools
	@$(BIN)/python -m tests.system.interop.plugins

stubs: $(VENV)/.dev ## Generate stubs for every language whose plugins are here, into build/stubs (ARGS='--only go')
	@$(BIN)/python -m tests.system.interop.stubs $(ARGS)

released: generate ## Keep the protos as those of the last release, which later ones may not break
	cp $(IMAGE) $(RELEASED)

bench: $(VENV)/.bench ## Measure all there is to measure, and write bench/RESULTS.md (twelve minutes)
	@$(BIN)/python -m bench $(ARGS)

bench-full: $(VENV)/.bench ## The same with ten million rows and a million calls (says first what it needs)
	@$(BIN)/python -m bench --full $(ARGS)

siege: $(VENV)/.bench ## Attack server and gateway for ten minutes, and write a section of bench/RESULTS.md (ARGS='--only health')
	@$(BIN)/python -m bench.siege $(ARGS)

fuzz: $(VENV)/.dev ## Send hostile requests for a minute (FUZZ_SECONDS=…, FUZZ_REQUESTS=…, FUZZ_SEED=…)
	$(BIN)/python -m tests.system.fuzz

chaos: $(VENV)/.dev ## Kill servers, gateways and the database for a minute (CHAOS_SECONDS=…, CHAOS_SEED=…)
	$(BIN)/python -m tests.system.chaos

mutants: $(VENV)/.mutants ## Change the code at random, and say what no test notices (MUTANTS_MINUTES=…, MUTANTS_SEED=…)
	$(BIN)/python -m tests.system.mutants

interop: $(VENV)/.dev build/keystone/.installed plugins ## Build and run every client in every language (ARGS='--only Go')
	$(BIN)/python -m tests.system.interop $(ARGS)

interop-broken: interop ## The same with one thing spoilt after the other, which exactly some clients must notice
	for spoilt in field null time proto-field; do \
		$(BIN)/python -m tests.system.interop --break $$spoilt $(ARGS) || exit 1; done

clean: ## Remove everything that was installed or built
	rm -rf $(VENV) build dist mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf $(addprefix examples/typescript/,node_modules stubs dist)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python $(DISTRIBUTIONS:%=%/pyproject.toml) constraints.txt
	@# One from before the command backup-sharing was the client's would take the command with it when it is replaced.
	@$(BIN)/python -m pip uninstall --quiet --yes backup-sharing 2> /dev/null || true
	$(PIP_INSTALL) $(DISTRIBUTIONS:%=-e ./%)
	@touch $@

$(VENV)/.dev: $(VENV)/.run pyproject.toml
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.mutants: $(VENV)/.dev
	$(PIP_INSTALL) -e '.[mutants]'
	@touch $@

$(VENV)/.bench: $(VENV)/.run pyproject.toml
	$(PIP_INSTALL) -e '.[bench]'
	@touch $@

$(VENV)/.dist: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.[dist]'
	@touch $@

build/keystone/.installed: tests/system/keystone/constraints.txt
	$(PYTHON) -m venv --clear build/keystone
	build/keystone/bin/python -m pip install --quiet --disable-pip-version-check -c $< keystone openstacksdk
	@touch $@
