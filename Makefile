# cnnc: `make deps demo` trains LeNet-5, `make deps test` runs the tests, `make help` lists the rest.

CC ?= cc
BUILD ?= build
CFLAGS ?= -O2 -g
# Debian's own: python3-torch belongs to it, and another python3 may come first in PATH.
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
WARNINGS = -Wall -Wextra -Wpedantic
VERSION = 0.1.0
STANDARD = -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE

# With `deps` among the goals everything else waits for it, under -j as well.
AFTER_DEPS = $(filter deps,$(MAKECMDGOALS))

compiler_sources = $(filter-out compiler/lex.c compiler/parse.c,\
    $(wildcard compiler/*.c compiler/ops/*.c compiler/passes/*.c))
compiler_objects = $(compiler_sources:%.c=$(BUILD)/%.o) \
    $(BUILD)/compiler/parse.o $(BUILD)/compiler/lex.o $(BUILD)/runtime_text.o
library_objects = $(filter-out $(BUILD)/compiler/main.o,$(compiler_objects))
runtime_files = $(sort $(wildcard runtime/*.c runtime/*.h))
# skeleton.c is a whole program: it includes the others.
runtime_objects = $(patsubst %.c,$(BUILD)/%.o,$(filter-out runtime/skeleton.c,$(wildcard runtime/*.c)))
unit_programs = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
own_sources = $(wildcard compiler/*.[ch] compiler/*/*.[ch] runtime/*.[ch] tests/unit/*.[ch] tests/examples/*.c)

.DELETE_ON_ERROR:
.SECONDARY:
all: $(BUILD)/cnnc ## the compiler, build/cnnc

$(BUILD)/cnnc: $(compiler_objects)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm

# Changes only when the compiler or its options do, and then everything is built anew.
$(BUILD)/flags: FORCE | $(AFTER_DEPS)
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(VERSION)' | cmp -s - $@ || echo '$(CC) $(CFLAGS) $(VERSION)' > $@

$(BUILD)/compiler/parse.c $(BUILD)/compiler/parse.h &: compiler/parse.y | $(AFTER_DEPS)
	@mkdir -p $(@D)
	bison -Werror=conflicts-sr,conflicts-rr -Wno-other --header=$(BUILD)/compiler/parse.h \
	    -o $(BUILD)/compiler/parse.c $<

$(BUILD)/compiler/lex.c $(BUILD)/compiler/lex.h &: compiler/lex.l $(BUILD)/compiler/parse.h | $(AFTER_DEPS)
	@mkdir -p $(@D)
	flex --header-file=$(BUILD)/compiler/lex.h -o $(BUILD)/compiler/lex.c $<

# The runtime's sources, embedded so that an installed cnnc needs no other file.
$(BUILD)/embed: compiler/embed/embed.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(STANDARD) $(WARNINGS) $(CFLAGS) $(LDFLAGS) -o $@ $<
$(BUILD)/runtime_text.c: $(BUILD)/embed $(runtime_files)
	$(BUILD)/embed $(runtime_files) > $@

$(BUILD)/%.o: $(BUILD)/%.c $(BUILD)/flags
	$(CC) $(STANDARD) $(CFLAGS) -Icompiler -I$(BUILD)/compiler -MMD -MP -c -o $@ $<
$(BUILD)/compiler/%.o: compiler/%.c $(BUILD)/flags | $(BUILD)/compiler/parse.h $(BUILD)/compiler/lex.h
	@mkdir -p $(@D)
	$(CC) $(STANDARD) $(WARNINGS) $(CFLAGS) -DCNNC_VERSION='"$(VERSION)"' -Icompiler \
	    -I$(BUILD)/compiler -MMD -MP -c -o $@ $<
$(BUILD)/runtime/%.o: runtime/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(STANDARD) $(WARNINGS) $(CFLAGS) -Iruntime -MMD -MP -c -o $@ $<

# Unit tests: those of the runtime are linked with its pieces, the others with the compiler's.
unit-tests: $(unit_programs)
$(filter $(BUILD)/tests/unit/test_runtime_%,$(unit_programs)): $(BUILD)/%: %.c $(runtime_objects) $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(STANDARD) $(WARNINGS) $(CFLAGS) $(LDFLAGS) -Iruntime -MMD -MP -o $@ $< \
	    $(runtime_objects) -lcmocka -lz -lm
$(filter-out $(BUILD)/tests/unit/test_runtime_%,$(unit_programs)): $(BUILD)/%: %.c $(library_objects) $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(STANDARD) $(WARNINGS) $(CFLAGS) $(LDFLAGS) -Icompiler -Iruntime -I$(BUILD)/compiler \
	    -MMD -MP -o $@ $< $(library_objects) -lcmocka -lm

# What Debian has to give. PyTorch and NumPy compute with OpenBLAS where it is installed. llvm-N-tools
# (lit and FileCheck) has no name without a number.
packages = gcc libc6-dev make flex bison clang clang-format clang-tidy cppcheck llvm libomp-dev \
    libcmocka-dev zlib1g-dev python3 python3-numpy python3-torch libopenblas0-openmp \
    dataset-fashion-mnist graphviz mandoc qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
clang_packages = version=$$(clang -dumpversion | cut -d. -f1); \
    echo llvm-$$version-tools libclang-rt-$$version-dev

deps: ## install what is missing (Debian packages; sudo unless root)
	@set -e; install_missing() { \
	    missing=; \
	    for package in "$$@"; do \
	        case $$(dpkg-query -W -f '$${Status}' $$package 2>/dev/null) in \
	            *' installed') ;; \
	            *) missing="$$missing $$package" ;; \
	        esac; \
	    done; \
	    [ -n "$$missing" ] || return 0; \
	    echo "installing$$missing"; \
	    as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
	    $$as_root apt-get update -q; \
	    $$as_root env DEBIAN_FRONTEND=noninteractive \
	        apt-get install -q -y --no-install-recommends $$missing; \
	}; \
	install_missing $(packages); \
	install_missing $$($(clang_packages))

demo: all ## train LeNet-5 on Fashion-MNIST and print its accuracy on the test images
	@mkdir -p $(BUILD)/demo
	@rm -rf $(BUILD)/demo/run
	$(BUILD)/cnnc --report examples/lenet5.cnn
	$(BUILD)/cnnc -o $(BUILD)/demo/lenet5.c examples/lenet5.cnn
	$(CC) -O3 -march=native -fopenmp $(BUILD)/demo/lenet5.c -o $(BUILD)/demo/lenet5 -lm
	$(BUILD)/demo/lenet5 train --out $(BUILD)/demo/run

test: all ## every test; ends with `N passed, N failed`
	$(PYTHON) tests/run --build $(BUILD)

test-torch: all ## only the comparison with PyTorch
	$(PYTHON) tests/run --build $(BUILD) torch

bench: all ## how fast the emitted programs are on this machine
	$(PYTHON) bench/run.py --build $(BUILD)

check: $(BUILD)/compiler/parse.h $(BUILD)/compiler/lex.h ## formatting, clang-tidy, cppcheck
	clang-format --dry-run -Werror $(own_sources)
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --suppressions-list=.cppcheck \
	    --enable=warning,performance,portability -Icompiler -Iruntime compiler runtime
	clang-tidy --quiet $(compiler_sources) -- $(STANDARD) -Icompiler -I$(BUILD)/compiler \
	    -DCNNC_VERSION='"$(VERSION)"'
	clang-tidy --quiet $(wildcard runtime/*.c) -- $(STANDARD) -Iruntime

check-long: check ## check, the tests with more random inputs, and every example at -O3
	$(PYTHON) tests/run --build $(BUILD) --long

format: ## format every source file
	clang-format -i $(own_sources)

install: all ## to $(DESTDIR)$(PREFIX)
	install -D -m 755 $(BUILD)/cnnc $(DESTDIR)$(PREFIX)/bin/cnnc
	install -D -m 644 docs/cnnc.1 $(DESTDIR)$(PREFIX)/share/man/man1/cnnc.1
	install -d $(DESTDIR)$(PREFIX)/share/cnnc/examples
	install -m 644 examples/*.cnn examples/README.md $(DESTDIR)$(PREFIX)/share/cnnc/examples

uninstall: ## take away what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/cnnc $(DESTDIR)$(PREFIX)/share/man/man1/cnnc.1
	rm -rf $(DESTDIR)$(PREFIX)/share/cnnc

clean: ## remove the build directory
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	    while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

-include $(wildcard $(BUILD)/*.d $(BUILD)/compiler/*.d $(BUILD)/compiler/*/*.d $(BUILD)/runtime/*.d \
    $(BUILD)/tests/unit/*.d)
FORCE:
.PHONY: FORCE all unit-tests deps demo test test-torch bench check check-long format install \
    uninstall clean help
