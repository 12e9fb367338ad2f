# Each target calls one script or module; `make` without a target lists them.

.DEFAULT_GOAL := help
.PHONY: setup demo run talk test test-image check bench bench-voice voices spoken questions bench-engine \
	bench-image golden fuzz \
	weights image export preflight smoke-test lock verify clean help
PROFILE ?= cpu
PYTHON_HERE := .venv/bin/python

setup: ## install packages and model files in this folder (a few minutes the first time)
	@ops/setup

demo: ## hold a short spoken conversation; print transcripts, replies and latencies
	@ops/demo

run: ## run the appliance until Ctrl-C; prints the URL and how to call it
	@ops/run

talk: ## call a running appliance with microphone and loudspeaker
	@VOICE_CLIENT_TOKEN_FILE=$${VOICE_CLIENT_TOKEN_FILE:-.cache/token} $(PYTHON_HERE) -m client talk $(ARGS)

test: ## run all tests, or some: ARGS=tests/gateway/test_wire.py
	@ops/test $(ARGS)

test-image: ## run only the tests that build, export, import and run images
	@ops/test --build --image --host

check: ## run ruff, mypy --strict, tsc and shellcheck
	@ops/check

bench: ## measure latency, capacity and memory; AGAINST=FOLDER compares with another build
	@$(PYTHON_HERE) -m tests.bench$(if $(AGAINST),.compare $(AGAINST)) $(ARGS)

bench-voice: ## compare streamed with whole phrases; writes pages with pairs to listen to
	@$(PYTHON_HERE) -m tests.bench.voice $(ARGS)

voices: ## measure hearing and turn taking with human recordings; AGAINST=FOLDER: and another build
	@$(PYTHON_HERE) -m tests.voices $(if $(AGAINST),--against $(AGAINST)) $(ARGS)

spoken: ## score the spoken text of reference lines; FILE=path scores another file
	@FILE='$(FILE)' $(PYTHON_HERE) -m tests.spoken

questions: ## ask the language model typed questions and judge its answers; FILE=path for others
	@$(PYTHON_HERE) -m tests.questions $(FILE) $(ARGS)

bench-engine: ## measure Ultravox under vLLM; ARGS='--random-weights 8b' for the full size
	@ops/golden --bench $(ARGS)

bench-image: ## measure size, build, start, export and import of the sealed image
	@$(PYTHON_HERE) -m tests.bench.image
	@$(PYTHON_HERE) -m tests.bench.carry

weights: ## collect the model files and verify them; PROFILE=gpu also uses the model hub
	@ops/weights --profile $(PROFILE) $(ARGS)

image: ## build the sealed image; PROFILE=cpu or gpu
	@ops/image --profile $(PROFILE) $(ARGS)

export: ## export the image of PROFILE as a signed folder, for a host without a network
	@ops/export --profile $(PROFILE) $(ARGS)

preflight: ## check whether this host is ready for the image
	@ops/preflight $(ARGS)

smoke-test: ## run the acceptance test; URL=..., ARGS=--here for an appliance started by make run
	@ops/smoke-test $(URL) $(ARGS)

golden: ## compare Ultravox under vLLM with the recorded references; DIR=FOLDER
	@ops/golden $(DIR)

lock: ## update the package locks and image-manifest.lock
	@ops/lock

fuzz: ## feed the parsers that strangers reach with random inputs; ARGS='--seconds 600'
	@ops/fuzz $(ARGS)

verify: ## hash every model file against image-manifest.lock
	@$(PYTHON_HERE) -m appliance verify

clean: ## remove everything that setup and tests created, including the model files
	@rm -rf .venv .venv-torch .cache weights weights-gpu demo-out tests/*/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
