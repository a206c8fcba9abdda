# `make demo` and `make test` do everything that is needed by themselves, once; `make` lists the rest.
#   ARGS    goes to the command:  make demo ARGS=--auto-scan    make test ARGS="-k outbox -x"
#   IMAGE   the name of the container image, DOCKER what builds it (docker, podman or buildah).
#   Mirrors are yours to name: PIP_INDEX_URL (pip's own variable) and, for the image, DEBIAN_MIRROR (http://HOST/debian).
#   PYTHON  to run on, 3.11 to 3.13; found when not given.      VENV  where it is installed.

VENV ?= .venv
PYTHON ?=
ARGS ?=
# Many tests wait for sockets and clocks: two for each processor keep those busy.
WORKERS ?= $(shell expr $$(nproc) \* 2)
BIN := $(VENV)/bin
# Without compiled files each test worker, and each bridge that a test starts, would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt bench dist image clean setup browser
# One step after the other, also under `make -j`: `clean test` in any other order would be a race.
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

# `exec`: the signal that make passes on reaches wxbridge itself, and no shell in between.
demo: $(VENV)/.installed browser ## Run the bridge against the WeChat that ships with it
	@exec $(BIN)/wxbridge demo $(ARGS)

test: $(VENV)/.installed-dev browser ## Run all tests
	@exec $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(VENV)/.installed-dev ## Lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fmt: $(VENV)/.installed-dev ## Format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-bench browser ## Run the benchmarks
	@exec $(BIN)/python -m bench $(ARGS)

dist: $(VENV)/.installed-dev ## Build the wheel and the source archive, in dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build -d dist

IMAGE ?= wxbridge
DOCKER ?= $(shell command -v docker || command -v podman || command -v buildah)
PIP_INDEX_URL ?=
DEBIAN_MIRROR ?=
# What podman and buildah build by default, unlike docker, keeps no HEALTHCHECK.
image: ## Build the container image
	@[ -n "$(DOCKER)" ] || { echo "no docker, podman or buildah was found; name one: make image DOCKER=…"; exit 1; }
	@exec $(DOCKER) build -t $(IMAGE) $(if $(filter podman buildah,$(notdir $(DOCKER))),--format docker) \
	  $(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL=$(PIP_INDEX_URL)) \
	  $(if $(DEBIAN_MIRROR),--build-arg DEBIAN_MIRROR=$(DEBIAN_MIRROR)) $(ARGS) .

# What a bridge has stored (state/, res/) is not make's to throw away.
clean: ## Remove what make made: the venv, caches, wheels
	@if [ -f $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi
	@rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find wxbridge tests bench -name __pycache__ -prune -exec rm -rf {} +

setup: $(VENV)/.installed-dev browser ## Only set everything up

# Stamps: a second run is instant, a changed pyproject.toml installs again.
$(BIN)/python:
	@python=$$(scripts/find-python $(PYTHON)) || exit 1; \
	echo "making $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV)

# `--group` came with pip 25.1; Debian's ensurepip brings an older one.
$(VENV)/.pip: $(BIN)/python
	@$(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "$(VENV) has $$($(BIN)/python --version 2>&1), and wxbridge needs 3.11 to 3.13:"; \
	  echo "remove it (make clean), or take another folder: make VENV=venv …"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.pip pyproject.toml
	@echo "installing wxbridge; the first time takes a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@# Else the first test workers would all compile the same files, each for itself.
	@$(BIN)/python -m compileall -q -j 0 wxbridge
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing what tests and checks need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . --group dev
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

# No stamp unless there is one: without a browser everything but pictures works, and the next run asks again.
browser: $(VENV)/.installed
	@[ -f $(VENV)/.browser ] || { scripts/ensure-browser $(BIN)/python && touch $(VENV)/.browser; } || true
