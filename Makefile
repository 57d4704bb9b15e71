PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check check-native wheels results install clean

demo: install  ## the main job on a real corpus: teacher, distilled data, students, scores, one page
	$(BIN)/seqdistill run recipes/demo.toml

test: install  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: install  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

check-native: install  ## the compiled engine: layout of its code, no warnings, and its tests under sanitizers
	$(BIN)/clang-format --dry-run --Werror src/seqdistill/native/cpp/*.h src/seqdistill/native/cpp/*.cpp src/seqdistill/native/cpp/tests/*.cpp
	$(BIN)/python -m seqdistill.native.build --strict --out build/strict
	$(BIN)/python -m tests.native.sanitized

wheels: install  ## wheels of every system, compiled here by zig
	for system in linux-x86_64 linux-aarch64 macos-arm64; do \
	  SEQDISTILL_TARGET=$$system $(BIN)/python -m build --wheel --outdir dist . || exit 1; done

results: install  ## redraw the tables and plots of README and docs from results/*.json
	$(BIN)/python -m evidence.tables

install: .venv/installed

# torch comes first and pinned: a plain dependency would take the registry's newest build, several gigabytes of it.
.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist runs
