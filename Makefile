# For a start, use make run and make test. They need Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Install all distributions in one command: their names are not registered on any index; pip must not search for them.
DISTRIBUTIONS := protos/restmap protos gateway server
PROTOS := $(sort $(wildcard protos/*/*/*.proto))
SERVICES := protos/backupsharing/v2/backup_access.proto protos/backupsharing/v2/backup_catalog.proto \
	protos/backupsharing/v2/backup_sharing.proto protos/multiplex/v1/multiplex.proto
IMAGE := protos/backupsharing/image.binpb
# Include the messages of error details, so that clients in any language need only the image.
FAILURES := google/rpc/error_details.proto google/rpc/status.proto
RELEASED := protos/released.binpb
BUF_LINT := {"version":"v1","lint":{"allow_comment_ignores":true,"use":["STANDARD","COMMENTS"],"ignore":["google"]}}
BUF_BREAKING := {"version":"v1","breaking":{"use":["FILE"],"ignore":["google"]}}

.PHONY: help run test test-all test-keystone lint format docs generate plugins stubs released dist bench bench-full siege \
	fuzz chaos mutants interop interop-broken clean

help: ## Show all targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.run ## Run the demo: server and gateway on this machine (ARGS='--listen 127.0.0.1:9090')
	@exec $(BIN)/backup-sharing demo $(ARGS)

# Number of test processes: more than the two cores of a small machine, because tests also wait, mostly in test-all.
WORKERS = 4
test-all: WORKERS = 6
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile
# Tests start our programs hundreds of times: keep the compiled files.
unexport PYTHONDONTWRITEBYTECODE

test: $(VENV)/.dev ## Run the fast tests, with a fifth of the random cases (ARGS='-k sharing', WORKERS=4)
	$(PYTEST) --hypothesis-profile=fast -m 'not resilience and not outside' $(ARGS)

test-all: $(VENV)/.dev ## Run all tests, including slow tests and tests that need other programs (ARGS=…, WORKERS=6)
	$(PYTEST) $(ARGS)

test-keystone: $(VENV)/.dev build/keystone/.installed ## Run the flows of users with a real Keystone, installed in build/
	BACKUP_SHARING_TEST_KEYSTONE=$(CURDIR)/build/keystone/bin/python $(BIN)/python -m pytest tests/system/keystone $(ARGS)

lint: $(VENV)/.dev ## Check style, types and protos, and that generated code is up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/buf format --diff --exit-code protos
	$(MAKE) --no-print-directory generate OUT=build/generated
	$(BIN)/buf lint build/generated/backupsharing/image.binpb --config '$(BUF_LINT)'
	$(BIN)/buf breaking build/generated/backupsharing/image.binpb --against $(RELEASED) --config '$(BUF_BREAKING)'
	@for file in $$(cd build/generated && find . -type f); do \
		cmp "build/generated/$$file" "protos/$$file" || { echo "run 'make generate' and commit"; exit 1; }; done

format: $(VENV)/.dev ## Format code and protos
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write protos

docs: $(VENV)/.dev ## Write the generated pages; build the site, man pages and shell completions in build/
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.manual build
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

OUT ?= protos
generate: $(VENV)/.dev ## Generate the Python stubs, the descriptor image and the generated pages of docs
	@mkdir -p $(OUT)/backupsharing
	@PATH="$(BIN):$$PATH"; \
	include=$$($(BIN)/python -c 'import google.api.http_pb2 as p; print(p.__file__[: -len("google/api/http_pb2.py")])'); \
	protoc="$(BIN)/python -m grpc_tools.protoc -I protos -I $$include"; \
	$$protoc --python_out=$(OUT) --mypy_out=quiet:$(OUT) $(PROTOS:protos/%=%) && \
	$$protoc --grpc_python_out=$(OUT) --mypy_grpc_out=quiet:$(OUT) $(SERVICES:protos/%=%) && \
	$$protoc --include_imports --include_source_info \
		--descriptor_set_out=$(OUT)/backupsharing/image.binpb $(PROTOS:protos/%=%) $(FAILURES)
	@test $(OUT) != protos || $(BIN)/python -m docs.generate

dist: $(VENV)/.dist ## Build wheels and sdists of all distributions in dist/ (install all of them in one command)
	rm -rf dist
	@for root in $(DISTRIBUTIONS); do \
		(cd $$root && $(CURDIR)/$(BIN)/python -m hatchling build --directory $(CURDIR)/dist) || exit 1; done

plugins: $(VENV)/.dev ## Install the plugins of `make stubs` in build/tools, for every language on this machine
	@$(BIN)/python -m tests.system.interop.plugins

stubs: $(VENV)/.dev ## Generate stubs in build/stubs for every language with an installed plugin (ARGS='--only go')
	@$(BIN)/python -m tests.system.interop.stubs $(ARGS)

released: generate ## Save the protos of a release, to check that later ones are compatible
	cp $(IMAGE) $(RELEASED)

bench: $(VENV)/.bench ## Run all measurements, and write bench/RESULTS.md (fifteen minutes)
	@$(BIN)/python -m bench $(ARGS)

bench-full: $(VENV)/.bench ## Run all measurements with ten million rows and a million calls (first prints the needed time and disk)
	@$(BIN)/python -m bench --full $(ARGS)

siege: $(VENV)/.bench ## Attack server and gateway for ten minutes, and write a section of bench/RESULTS.md (ARGS='--only health')
	@$(BIN)/python -m bench.siege $(ARGS)

fuzz: $(VENV)/.dev ## Send hostile requests for a minute (FUZZ_SECONDS=…, FUZZ_REQUESTS=…, FUZZ_SEED=…)
	$(BIN)/python -m tests.system.fuzz

chaos: $(VENV)/.dev ## Kill servers, gateways and the database for a minute (CHAOS_SECONDS=…, CHAOS_SEED=…)
	$(BIN)/python -m tests.system.chaos

mutants: $(VENV)/.dev ## Change the code at random, and print changes that no test detects (MUTANTS_MINUTES=…, MUTANTS_SEED=…)
	$(BIN)/python -m tests.system.mutants

interop: $(VENV)/.dev build/keystone/.installed plugins ## Build and run every client in every language (ARGS='--only Go')
	$(BIN)/python -m tests.system.interop $(ARGS)

interop-broken: interop ## Run make interop again with one fault at a time, which certain clients must detect
	for spoilt in field null time proto-field; do \
		$(BIN)/python -m tests.system.interop --break $$spoilt $(ARGS) || exit 1; done

clean: ## Remove all installed and built files
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf $(addprefix examples/typescript/,node_modules stubs dist)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; give its path: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python $(DISTRIBUTIONS:%=%/pyproject.toml) constraints.txt
	@# Replacing an old backup-sharing would delete the command backup-sharing, which now belongs to the client.
	@$(BIN)/python -m pip uninstall --quiet --yes backup-sharing 2> /dev/null || true
	$(PIP_INSTALL) $(DISTRIBUTIONS:%=-e ./%) -e './protos[commands,status]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run pyproject.toml
	$(PIP_INSTALL) -e '.[dev]'
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
