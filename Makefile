.PHONY: help run test properties fuzz guided mutants chaos soak day explanations docs schema tools study bench accuracy truth stubs lint types clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help:  ## list what make can do
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

# One stamp file: the environment is rebuilt when the project's requirements change.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Metronome needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

run: $(VENV)/.installed  ## install into .venv and run the quick start
	$(BIN)/metronome run -o out/quickstart

test: $(VENV)/.installed  ## install into .venv and run the tests
	$(BIN)/python -m pytest -q -n 2

properties: $(VENV)/.installed  ## the property tests with new random examples, twenty rounds (10 minutes; ROUNDS=)
	for round in $$(seq $(or $(ROUNDS),20)); do \
	  $(BIN)/python -m pytest -q -n 2 -m hypothesis --hypothesis-profile=random || exit 1; done

tools: $(VENV)/.installed  ## install the external simulators that adapters drive
	$(BIN)/metronome tools install --missing

study: $(VENV)/.installed  ## what the couplings of docs/adapters.md and memories cost and show, and pictures (20 minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[study]'
	$(BIN)/python -m tests.study.systolic_array
	$(BIN)/python -m tests.study.memories
	$(BIN)/python -m tests.study.pictures

bench: $(VENV)/.installed  ## medians and ratios of the cost of a run (10 minutes; ROUNDS=; WRITE=1 for docs/performance.md)
	$(BIN)/python -m tests.bench $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write)

accuracy: $(VENV)/.installed  ## real references against the simulation (WRITE=1 replaces docs/accuracy.md)
	$(BIN)/python -m tests.accuracy $(if $(WRITE),--write)

truth: $(VENV)/.installed  ## vLLM's own scheduler against ours, 10,000 workloads a mode (COUNT=, VERSION=, MODE=; WRITE=1 for docs/truth.md)
	$(BIN)/python -m tests.truth $(if $(COUNT),--count $(COUNT)) $(if $(VERSION),--version $(VERSION)) \
	  $(if $(MODE),--mode "$(MODE)") $(if $(WRITE),--write)

stubs: $(VENV)/.installed  ## regenerate the gRPC stubs from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto --pyi_out=proto --grpc_python_out=proto \
	  proto/metronome/component/v1/component.proto

fuzz: $(VENV)/.installed  ## 20,000 bad inputs over every reader (10 minutes)
	$(BIN)/python -m tests.fuzz 20000

guided: $(VENV)/.installed  ## ten minutes each of the wire's decoder and the reader of recordings, guided by coverage
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz.guided wire -max_total_time=600 -rss_limit_mb=2048 -timeout=10
	$(BIN)/python -m tests.fuzz.guided journal -max_total_time=600 -rss_limit_mb=2048 -timeout=10

mutants: $(VENV)/.installed  ## does a test fail when a line of scheduler, pool, flows, journal or metrics is wrong? (COUNT= a file)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mutants]'
	$(BIN)/python -m tests.mutants $(if $(COUNT),--count $(COUNT))

chaos: $(VENV)/.installed  ## 200 kills and freezes of components, 70 of the orchestrator; runs end as if undisturbed (an hour; WRITE=1)
	$(BIN)/python -m tests.chaos --count $(or $(COUNT),200) --requests 6 $(if $(WRITE),--write)
	$(BIN)/python -m tests.chaos.orchestrator --requests 6 $(if $(WRITE),--write)

soak: $(VENV)/.installed  ## a million operations through a process of each reference model; memory stays flat (COUNT=)
	$(BIN)/python -m tests.soak $(COUNT)

day: $(VENV)/.installed  ## a hundred instances through a day with failures and autoscaling, and without failures (HOURS=)
	$(BIN)/python -m tests.fleet.day $(if $(HOURS),--hours $(HOURS))

explanations: $(VENV)/.installed  ## what blames a request's latency is removed, and other changes made: 200 requests over 5 random scenarios (2 minutes; ROUNDS=)
	$(BIN)/python -m tests.explanations $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

docs: $(VENV)/.installed  ## the documentation as a site in out/site, with a reference made from the code (10 seconds)
	$(BIN)/python docs/site/build.py

schema: $(VENV)/.installed  ## the scenario's JSON Schema for editors, scenarios/scenario.schema.json
	$(BIN)/metronome validate --schema > scenarios/scenario.schema.json

lint: $(VENV)/.installed  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed  ## types
	rm -rf build/types && mkdir -p build/types/metronome
	ln -s $(CURDIR)/proto/metronome/* $(addprefix $(CURDIR)/,adapters hwmodels orchestrator) build/types/metronome/
	$(BIN)/mypy

clean:  ## remove everything made here
	rm -rf $(VENV) build dist *.egg-info out .pytest_cache .mypy_cache .ruff_cache .hypothesis
