# make demo   the whole chain on this machine   (FOR=60 REPORT=report.json STORE=... PORT=8080)
# make test   the whole test suite, servers included
# make setup | lint | bench | evaluate | soak | campaign | models

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin
FOR    ?=
REPORT ?=
STORE  ?=
PORT   ?=
ARGS   ?=
MINUTES ?= 30
SEED   ?= 1
SHORT  ?=
ONLY   ?=
DATA   ?= ../shared/data
SCORE  ?=

.PHONY: demo test setup lint bench evaluate soak campaign models lock proto servers browser-servers clean help

help:
	@sed -n '1,3s/^# //p' Makefile

demo: setup
	@$(RUN)/gaugeline demo $(if $(FOR),--for $(FOR)) $(if $(REPORT),--report $(REPORT)) \
	  $(if $(STORE),--store $(STORE)) $(if $(PORT),--http 127.0.0.1:$(PORT)) $(ARGS)

setup:
	@PYTHON=$(PYTHON) deploy/setup/environment.sh

servers: setup
	@deploy/setup/servers.sh
	@$(RUN)/python -m tests.sparkplug.foreign

test: servers
	@tests/run.sh $(RUN)/python $(ARGS)

lint: setup
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/python deploy/setup/check_sources.py

bench: servers
	@$(RUN)/python -m benchmarks $(ARGS)

# Public benchmarks beside published results: DATA=folder with skab/, nab/, cmapss/; SCORE=folder of their scorers
evaluate: setup
	@$(RUN)/python -m benchmarks.evaluate --data $(DATA) $(if $(SCORE),--score $(SCORE)) $(if $(ONLY),--only $(ONLY)) $(ARGS)

# A whole plant with every fault of the simulator at random: MINUTES=30 SEED=1
soak: servers
	@$(RUN)/python -m benchmarks.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

# Every fault that delivery must survive, judged by a witness: up to 3 hours, SHORT=1: 2 minutes; ONLY=family SEED=n
campaign: servers
	@$(RUN)/python -m benchmarks.campaign $(if $(SHORT),--short) $(if $(ONLY),--only $(ONLY)) \
	  $(if $(filter command environment,$(firstword $(origin SEED))),--seed $(SEED)) $(ARGS)

# The packaged models, rebuilt from the simulator's normal operation to the same bytes.
models: setup
	@deploy/setup/models.sh

# For developers: new locks (versions and hashes, no addresses) and the generated schema.
lock: setup
	$(RUN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra dev pyproject.toml -o requirements/dev.lock
	$(RUN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  -c requirements/dev.lock pyproject.toml -o requirements/gateway.lock
	$(RUN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra cloud -c requirements/dev.lock pyproject.toml -o requirements/cloud.lock

proto: setup
	$(RUN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. wire/sparkplug.proto

clean:
	rm -rf $(VENV) .stamps build dist var cloud/web/static/dist cloud/web/assets/node_modules
