# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
#
# The front door: on a fresh Debian 12 with git and make, "make run" and "make test"
# do everything, the Debian packages included.  The building itself is Meson's.

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test fuzz-diff bench check lint build install clean setup-build setup-run setup-test

help:
	@echo 'make run      build, then measure redis and an echo server on the kernel and on afunix'
	@echo 'make test     build, run every test; the last line counts them'
	@echo 'make fuzz-diff N=100000 SEED=1   random sequences of calls on the kernel and on afunix, compared'
	@echo 'make check    what CI runs: every test, lint included'
	@echo 'make lint     the rules of the house alone'
	@echo 'make bench    build, then measure for longer'
	@echo 'make build    build; leaves the command at $(BUILD)/afunix'
	@echo 'make install  install under $$DESTDIR$$PREFIX ($(DESTDIR)$(PREFIX))'
	@echo 'make clean    remove $(BUILD)/'

setup-build setup-run setup-test:
	@sh tools/setup.sh $(@:setup-%=%)

# Ninja configures anew by itself when a meson.build changes.
$(BUILD)/build.ninja:
	meson setup --prefix '$(PREFIX)' '$(BUILD)'

build: setup-build
	@$(MAKE) --no-print-directory '$(BUILD)/build.ninja'
	ninja -C '$(BUILD)'
	@[ -e '$(BUILD)/afunix' ] || [ ! -e '$(BUILD)/src/cli/afunix' ] || ln -sf src/cli/afunix '$(BUILD)/afunix'

run: setup-run build
	@python3 -B bench/demo/demo.py --afunix '$(BUILD)/afunix' --build '$(BUILD)'

bench: setup-run build
	@python3 -B bench/demo/demo.py --afunix '$(BUILD)/afunix' --build '$(BUILD)' --rounds 7 --limit 600

test: setup-test build
	@python3 -B tools/test.py '$(BUILD)'

check: test

N    ?= 20000
SEED ?= 1
fuzz-diff: setup-test build
	@python3 -B tests/diff/diff.py --run '$(BUILD)/tests/diff/diff-run' --afunix '$(BUILD)/afunix' \
		--count '$(N)' --seed '$(SEED)' $(DIFF)

lint: setup-test build
	@python3 -B tools/test.py '$(BUILD)' --suite lint

install: build
	meson configure '$(BUILD)' -Dprefix='$(PREFIX)'
	DESTDIR='$(DESTDIR)' meson install -C '$(BUILD)'

clean:
	rm -rf '$(BUILD)'
