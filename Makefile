# `make run` shows batchq at work, `make test` checks it; `make help` lists the rest.
# Needs Linux or macOS, Python 3.11 or newer with venv, and make (3.81 will do). Everything lands in .venv.

BIN := .venv/bin
OUT := batchq-out
BATCHQ := $(BIN)/batchq
ARGS :=
# ARGS is handed on: make test ARGS="-k chord", make worker ARGS="-c 100", make emulator ARGS="--rpm 60"

.PHONY: help run test test-faults test-browser lint format types setup worker flower emulator bench bench-quota docs build sbom audit lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Both jobs run whatever the first one's items came to; the worst exit code is the recipe's.
run: setup ## Run the two jobs of examples/ with two local workers
	@worst=0; \
	$(BATCHQ) run examples/messages/messages.csv --workers 2 -o $(OUT)/messages.jsonl \
	    --prompt "$$(cat examples/messages/prompt.txt)" --schema examples/messages/schema.json \
	    || { worst=$$?; [ $$worst -eq 3 ] || exit $$worst; }; \
	$(BATCHQ) run examples/invoices/scans --workers 2 -o $(OUT)/invoices.jsonl \
	    --operation extract --schema examples/invoices/schema.json \
	    || { worst=$$?; [ $$worst -eq 3 ] || exit $$worst; }; \
	printf '\nResults, a line for each item:\n  %s\n  %s\n' $(OUT)/messages.jsonl $(OUT)/invoices.jsonl; \
	exit $$worst

test: setup ## Run the tests, but for the long ones
	@$(BIN)/pytest -n 4 --dist loadfile -m "not fault and not scale and not browser" $(ARGS)

test-faults: setup ## Run the tests that kill, restart and corrupt; writes docs/reliability.md
	@$(BIN)/pytest -n 3 --dist load -m fault --timeout 600 --figures=docs/reliability.md $(ARGS)

test-browser: setup ## Look at Flower's pages in Chromium, where there is one
	@$(BIN)/pytest -m browser $(ARGS)

lint: setup ## Check style, formatting and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

format: setup ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup ## Check the types
	@$(BIN)/mypy
	@cd examples/invoices && ../../$(BIN)/mypy --config-file ../../pyproject.toml draw.py

setup: ## Make .venv; does nothing when it is up to date
	@tools/setup
	$(if $(filter setup,$(MAKECMDGOALS)),@echo '.venv is ready. Next: `make run` or `.venv/bin/batchq --help`' >&2)

worker: setup ## Run a worker on the configured Redis
	@$(BATCHQ) worker $(ARGS)

flower: setup ## Show jobs and workers on http://127.0.0.1:5555
	@$(BATCHQ) flower $(ARGS)

emulator: setup ## Run the local Gemini API
	@$(BATCHQ) emulator $(ARGS)

bench: setup ## Measure batchq beside plain Celery and google-genai; ARGS="overhead" picks one
	@$(BIN)/python -m bench $(ARGS)

bench-quota: setup ## Measure how much of a quota a fleet uses; takes minutes a run
	@$(BIN)/python -m bench.quota $(ARGS)

docs: setup ## Write docs/settings.md from the settings
	@$(BIN)/python -m batchq.settings_doc > docs/settings.md.new && mv docs/settings.md.new docs/settings.md \
	    || { rm -f docs/settings.md.new; exit 1; }

build: setup ## Build wheel and source archive into dist/
	@$(BIN)/python -m hatchling build

sbom: setup ## List what batchq is installed with, as CycloneDX, in build/
	@tools/supply sbom

audit: setup ## Ask for known vulnerabilities of everything that is locked
	@tools/supply audit $(ARGS)

LOCKED := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock"

lock: setup ## Lock the dependencies; ARGS=--upgrade takes newer ones
	@$(BIN)/uv pip compile pyproject.toml $(LOCKED) $(ARGS) -o requirements/run.txt
	@$(BIN)/uv pip compile pyproject.toml --group dev $(LOCKED) $(ARGS) -o requirements/dev.txt
	@$(BIN)/uv pip compile --group audit $(LOCKED) $(ARGS) -o requirements/audit.txt
	@echo "hatchling>=1.27" | $(BIN)/uv pip compile - $(LOCKED) $(ARGS) -o requirements/build.txt

clean: ## Remove .venv, builds and caches; jobs and results stay
	@rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
