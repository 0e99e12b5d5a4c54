# make repro: set up and run the study.  make test: set up and run the tests (make test-all: the longest too).  make serve, make stop: servers, worker, deployments.  Needs git, make and Python 3.11 to 3.13.
.PHONY: repro test test-all lint serve stop setup clean help
.DEFAULT_GOAL := help

PYTHON ?= python3
# uv from the PATH, else one of our own beside the environment.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(UV) run --no-sync

# Trust the machine's certificates, as networks with a proxy of their own need; the second name is that of older uv.
export UV_SYSTEM_CERTS := true
export UV_NATIVE_TLS := true

# Nothing here phones home.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

help:
	@sed -n '1s/^# //p' Makefile

repro: .venv/.ready
	@git rev-parse --git-dir >/dev/null 2>&1 || grep -qs no_scm .dvc/config .dvc/config.local || { echo "no git repository, which DVC keeps to: \`git init && git add . && git commit -m start\` makes one" >&2; exit 2; }
	$(RUN) python -m tuition.forkserver.around dvc repro
	@$(RUN) tuition study

test: .venv/.ready
	$(RUN) pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-all: .venv/.ready
	$(RUN) pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m ""

lint: .venv/.ready
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

serve: .venv/.ready
	@$(RUN) python -m flows.serve start

stop: .venv/.ready
	@$(RUN) python -m flows.serve stop

setup: .venv/.ready

.venv/.ready: pyproject.toml uv.lock
	@command -v $(UV) >/dev/null || { $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	$(UV) sync --locked
	@touch $@

clean:
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache
