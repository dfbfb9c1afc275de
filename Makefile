# SPDX-License-Identifier: BSD-2-Clause
# Every target sets up what it needs (tools/setup.sh) and leaves `git status` clean.
# Built things lie in the cache: CLARIVID_CACHE, else $XDG_CACHE_HOME/clarivid, else ~/.cache/clarivid.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
BUILD := .venv/build# a link that setup makes to the CMake build in the cache
SHELL_SCRIPTS := tools/setup.sh tools/gpu_pack.sh tools/gpu_check.sh .ci/run
C_SOURCES := git ls-files -z -- 'csrc/*.c' 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.hpp' 'csrc/*.cu' 'csrc/*.cuh'

.PHONY: help setup demo examples test docs wheel deb rehearse bench bench-inpaint gpu-pack gpu-check lint lint-format lint-tidy lint-python format clean

help: ## Show this
	@echo 'clarivid: neural video filters for FFmpeg'
	@echo
	@echo 'On a new machine:   make demo    sets everything up, doubles a real clip, writes out/demo/'
	@echo 'Before a commit:    make test lint'
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 23
	@echo
	@echo 'FFmpeg with the filters, once set up:'
	@echo '  $$($(BIN)/clarivid ffmpeg path) -i in.mp4 -vf dnn_sr=model=game_x2 out.mp4'

setup: ## Debian packages, .venv, the library, FFmpeg; a second run has nothing to do
	@tools/setup.sh

demo: setup ## Double a real clip; compare with Lanczos in out/demo/
	@$(BIN)/python -m clarivid.demo

test: setup ## All tests that need no GPU (ARGS="-k name" goes to pytest)
	@tools/setup.sh browser || echo 'test: without a browser the tests of our HTML pages are skipped (or fail, where CI=true)'
	@tools/setup.sh series || echo 'test: the filters are not tested on a series of FFmpeg that is missing (or fail, where CI=true)'
	@tools/setup.sh stock || echo 'test: without a drop-in for the ffmpeg that is installed its tests are skipped (or fail, where CI=true)'
	@tools/setup.sh programs || echo 'test: without mpv no program of others is tested with the filters (or fails, where CI=true)'
	@ctest --test-dir $(BUILD) --output-on-failure
	@$(BIN)/python -m pytest -m 'not gpu' $(ARGS)

docs: ## The documentation as a site, from docs/ and docstrings; out/site/
	@tools/setup.sh debian venv packages native
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "out/site/index.html"

wheel: ## The Python package as a wheel for Linux; out/dist/ (docs/packaging.md)
	@tools/setup.sh debian venv packages native
	@$(BIN)/python tools/wheel.py

deb: setup ## Debian packages, with a drop-in for this machine's ffmpeg; out/dist/ (docs/deploy.md)
	@tools/setup.sh stock
	@made=$$($(BIN)/clarivid ffmpeg dropin --with-build-deps); $(BIN)/python tools/deb.py --dropin "$${made%/bin/*}"

rehearse: setup ## Install, upgrade and purge them in a Debian of their own, build the image; as root
	@tools/setup.sh stock rehearsal
	@$(BIN)/clarivid ffmpeg dropin --with-build-deps >/dev/null
	@$(BIN)/python tools/rehearse.py $(ARGS)

examples: setup ## Make people and a tower vanish, double a film and compare; out/examples/
	@$(BIN)/python examples/remove_pedestrian.py
	@$(BIN)/python examples/remove_moving_camera.py
	@$(BIN)/python examples/chain.py

bench-inpaint: setup ## mesh_inpaint against truth and rivals, then speed; out/bench-inpaint/
	@$(BIN)/clarivid bench inpaint

bench: setup ## Measure speed and memory; prints tables
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

gpu-pack: setup ## Collect what gpu-check needs on a machine without a network; out/gpu-pack/
	@tools/gpu_pack.sh

gpu-check: ## On a GPU machine: build, tests, sanitizer, benchmarks; out/gpu/ (docs/cuda.md)
	@tools/gpu_check.sh

lint: lint-format lint-python lint-tidy ## Formats, types and static checks; warnings are errors

lint-format:
	@$(C_SOURCES) | xargs -0 -r clang-format-14 --dry-run -Werror
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); else echo 'lint: shellcheck is not installed; skipped'; fi

lint-python:
	@tools/setup.sh debian venv packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint packaging/Dockerfile

lint-tidy:
	@tools/setup.sh debian venv packages native
	@$(BIN)/python tools/tidy.py $(BUILD) "$$($(BIN)/python -c 'from clarivid.paths import cache_dir; print(cache_dir())')"

format: ## Rewrite the sources in the house's format
	@tools/setup.sh debian venv packages
	@$(C_SOURCES) | xargs -0 -r clang-format-14 -i
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

clean: ## Remove .venv and out/; the cache stays (`clarivid doctor` says where it is)
	rm -rf .venv out .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
