# The front door. Each verb is one script or module; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: setup demo run talk test test-image check bench bench-engine bench-image golden weights image \
	export preflight smoke-test lock verify clean help
PROFILE ?= cpu
PYTHON_HERE := .venv/bin/python

setup: ## make this folder ready to run: packages, model files (a few minutes the first time)
	@ops/setup

demo: ## hold a short spoken conversation and print what was heard, said, and how fast
	@ops/demo

run: ## serve until Ctrl-C; prints the URL and how to talk to it
	@ops/run

talk: ## talk to a running appliance with microphone and loudspeaker
	@VOICE_CLIENT_TOKEN_FILE=$${VOICE_CLIENT_TOKEN_FILE:-.cache/token} $(PYTHON_HERE) -m client talk

test: ## run all tests, or one: ARGS=tests/gateway/test_wire.py
	@ops/test $(ARGS)

test-image: ## of these, only what builds, carries and runs the sealed image
	@ops/test --image

check: ## ruff, mypy --strict, shellcheck
	@ops/check

bench: ## measure latency, capacity and memory on this machine; AGAINST=folder: beside another build
	@$(PYTHON_HERE) -m tests.bench$(if $(AGAINST),.compare $(AGAINST)) $(ARGS)

bench-engine: ## measure Ultravox under vLLM on this machine; ARGS='--random-weights 8b' for full size
	@ops/golden --bench $(ARGS)

bench-image: ## measure size, build, start, export and import of the sealed image
	@$(PYTHON_HERE) -m tests.bench.image
	@$(PYTHON_HERE) -m tests.bench.carry

weights: ## bring the model files here and list them; PROFILE=gpu takes them from the model hub
	@ops/weights --profile $(PROFILE) $(ARGS)

image: ## build the sealed image; PROFILE=cpu or gpu
	@ops/image --profile $(PROFILE) $(ARGS)

export: ## the image as a signed folder to carry to a host without a network
	@ops/export $(ARGS)

preflight: ## is this host ready for the image?
	@ops/preflight $(ARGS)

smoke-test: ## acceptance of a running appliance; URL=..., ARGS=--here for one out of this folder
	@ops/smoke-test $(URL) $(ARGS)

golden: ## compare Ultravox under vLLM with a recorded reference; DIR=folder
	@ops/golden $(DIR)

lock: ## renew the package locks and image-manifest.lock
	@ops/lock

verify: ## hash every model file against image-manifest.lock
	@$(PYTHON_HERE) -m appliance verify

clean: ## remove what setup and tests made, model files included
	@rm -rf .venv .venv-torch .cache weights weights-gpu demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
