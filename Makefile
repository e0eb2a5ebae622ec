# aksegressd: build, tests, demonstration, installation. `make help` lists the targets.
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
PREFIX ?= /usr
SYSCONFDIR ?= /etc
SYSTEMDDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
SYSCTLDIR ?= $(PREFIX)/lib/sysctl.d
MODULESDIR ?= $(PREFIX)/lib/modules-load.d
DOCDIR ?= $(PREFIX)/share/doc/aksegressd
MANDIR ?= $(PREFIX)/share/man
VERSION := 0.1.0
PYTHON := /usr/bin/python3
FUZZ_SECONDS ?= 10
JOBS := $(shell nproc)

LIBRARIES := libevent_core libevent_pthreads libcares libsystemd libfyaml libnftables libmnl libnftnl libnetfilter_log libnetfilter_conntrack libssl libcrypto jansson
CPPFLAGS += -Iinclude -D_GNU_SOURCE -DAKSEGRESSD_VERSION='"$(VERSION)"' -DAKSEGRESSD_DATADIR='"$(PREFIX)/share/aksegressd"' \
	-DAKSEGRESSD_SYSCONFDIR='"$(SYSCONFDIR)/aksegressd"'
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla \
	-Wformat=2 -Wundef -Wcast-qual -Wswitch-enum -Werror
# The sanitizers check more than _FORTIFY_SOURCE does, and do not see through it (Ubuntu's gcc sets it by itself).
HARDENING := -fstack-protector-strong -fPIE -U_FORTIFY_SOURCE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARNINGS) $(HARDENING) $(SANITIZE) -pthread $(shell pkg-config --cflags $(LIBRARIES))
ALL_LDFLAGS = $(LDFLAGS) $(SANITIZE) -pthread -pie -Wl,-z,relro,-z,now
LDLIBS += $(shell pkg-config --libs $(LIBRARIES))
TEST_LDLIBS := -lcmocka

ADDRESS_SANITIZER := -fsanitize=address,undefined -fno-sanitize-recover=all
THREAD_SANITIZER := -fsanitize=thread
FUZZ_SANITIZER := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined

SOURCES := $(filter-out daemon/process/main.c,$(wildcard daemon/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libaksegress.a
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/tests/bench/%,$(wildcard tests/bench/bench_*.c))
LOADS := $(addprefix $(BUILD)/tests/bench/,load_tunnels origin_tunnels)
SYSTEM_PROGRAMS := $(patsubst tests/system/%.c,$(BUILD)/tests/system/%,$(wildcard tests/system/*.c))
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
PROGRAMS := $(if $(wildcard daemon/process/main.c),$(BUILD)/aksegressd) $(if $(wildcard ctl/*.c),$(BUILD)/aksegressctl)

# `make V=1` prints the commands instead of their short form.
ifneq ($(V),1)
Q := @
say = @printf '  %-4s %s\n' $(1) $@
endif

.PHONY: all unit clean deps help demo check check-long lint system fuzz fuzz-programs asan tsan bench bench-programs system-programs install uninstall
all: $(LIBRARY) $(PROGRAMS)

$(LIBRARY): $(OBJECTS)
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/aksegressd: $(BUILD)/daemon/process/main.o $(LIBRARY)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/aksegressctl: $(patsubst %.c,$(BUILD)/%.o,$(wildcard ctl/*.c)) $(LIBRARY)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit/%: tests/unit/%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(LIBRARY) $(ALL_LDFLAGS) $(LDLIBS) $(TEST_LDLIBS)

$(BUILD)/tests/%: tests/%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(LIBRARY) $(ALL_LDFLAGS) $(LDLIBS)

$(LOADS): $(BUILD)/tests/bench/%: tests/bench/%.c tests/bench/tunnels.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS)

$(BUILD)/tests/fuzz/%: tests/fuzz/%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -fsanitize=fuzzer -MMD -MP -o $@ $< $(LIBRARY) $(ALL_LDFLAGS) $(LDLIBS) -lssl -lcrypto

# deps: what is missing of the distribution's packages, for building, the demonstration and the tests.
deps:
	@bash tests/deps.sh

# demo: a hub-and-spoke network in namespaces with real servers; KEEP=1 leaves it standing.
demo: deps
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@KEEP=$(KEEP) BUILD=$(BUILD) $(PYTHON) tests/system/demo.py

# check: everything that proves the program; the last line counts.
check: deps
	@$(PYTHON) tests/check.py

# check-long: check, then unit and system tests with TSan, soak, repeated kills, ten minutes of each fuzz target.
check-long: deps
	@$(PYTHON) tests/check.py long

# unit: every unit test program, one after the other; the first failure ends it.
unit: $(UNIT_TESTS)
	@set -e; for test in $(UNIT_TESTS); do $$test; done

# system: the daemon in the lab, by real clients.  make system TESTS='test_snat.py -k spill'
system: all system-programs
	@BUILD=$(BUILD) $(PYTHON) -B -m pytest -p no:cacheprovider -q --rootdir tests/system $(addprefix tests/system/,$(TESTS))

# lint: layers, owners of libraries, documents, format, cppcheck, shellcheck, lengths.
lint:
	@$(PYTHON) -B tests/lint/lint.py

# fuzz: FUZZ_SECONDS (10) of each fuzz target with clang, ASan and UBSan.
fuzz:
	@$(MAKE) --no-print-directory -s -j$(JOBS) CC=clang BUILD=build-fuzz SANITIZE='$(FUZZ_SANITIZER)' fuzz-programs
	@FUZZ_SECONDS=$(FUZZ_SECONDS) bash tests/fuzz.sh build-fuzz

fuzz-programs: $(FUZZ_TARGETS)

system-programs: $(SYSTEM_PROGRAMS)

# asan, tsan: unit and system tests with ASan+UBSan, with TSan, which make a reload several times as long.
asan:
	@$(MAKE) --no-print-directory -s -j$(JOBS) BUILD=build-asan SANITIZE='$(ADDRESS_SANITIZER)' all unit
	@RELOADS=300 $(MAKE) --no-print-directory BUILD=build-asan SANITIZE='$(ADDRESS_SANITIZER)' system

tsan:
	@$(MAKE) --no-print-directory -s -j$(JOBS) BUILD=build-tsan SANITIZE='$(THREAD_SANITIZER)' all unit
	@RELOADS=300 $(MAKE) --no-print-directory BUILD=build-tsan SANITIZE='$(THREAD_SANITIZER)' system

# bench: what lookups cost, and the daemon beside other proxies (tests/bench/README.md).  make bench PARTS='rate memory'
bench:
	@bash tests/deps.sh bench
	@$(MAKE) --no-print-directory -s -j$(JOBS) all bench-programs
	@set -e; [ -n '$(PARTS)' ] || { for bench in $(BENCHES); do $$bench; done; BUILD=$(BUILD) $(PYTHON) -B tests/bench/bench_forwarding.py; }
	@BUILD=$(BUILD) $(PYTHON) -B tests/bench/bench_system.py $(PARTS)

bench-programs: $(BENCHES) $(LOADS)

# install, uninstall: DESTDIR, PREFIX and SYSCONFDIR are honoured; a configuration that is there is left alone.
install: all
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/sbin $(BUILD)/aksegressd
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/aksegressctl
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/aksegressd/allowlists allowlists/*.allow allowlists/README.md
	install -d -m 755 $(DESTDIR)$(SYSCONFDIR)/aksegressd $(DESTDIR)$(SYSCONFDIR)/aksegressd/allowlists
	[ -e $(DESTDIR)$(SYSCONFDIR)/aksegressd/aksegressd.yaml ] || \
		install -m 644 conf/aksegressd.yaml $(DESTDIR)$(SYSCONFDIR)/aksegressd/aksegressd.yaml
	install -D -m 644 -t $(DESTDIR)$(SYSTEMDDIR) $(wildcard systemd/*.service systemd/*.socket)
	install -D -m 644 systemd/aksegressd.sysusers $(DESTDIR)$(SYSUSERSDIR)/aksegressd.conf
	install -D -m 644 systemd/aksegressd.tmpfiles $(DESTDIR)$(TMPFILESDIR)/aksegressd.conf
	install -D -m 644 -t $(DESTDIR)$(SYSCTLDIR) conf/sysctl.d/60-aksegressd.conf
	install -D -m 644 -t $(DESTDIR)$(MODULESDIR) conf/modules-load.d/aksegressd.conf
	install -D -m 644 -t $(DESTDIR)$(SYSCONFDIR)/logrotate.d conf/logrotate.d/aksegressd
	install -D -m 644 -t $(DESTDIR)$(DOCDIR) conf/aksegressd.yaml conf/aksegressd-minimal.yaml
	install -D -m 644 -t $(DESTDIR)$(DOCDIR)/rsyslog conf/rsyslog/*
	for page in $(wildcard docs/*.[1-8]); do \
		install -D -m 644 -t $(DESTDIR)$(MANDIR)/man$${page##*.} $$page; \
	done

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/aksegressd $(DESTDIR)$(PREFIX)/bin/aksegressctl $(DESTDIR)$(SYSUSERSDIR)/aksegressd.conf
	rm -f $(patsubst systemd/%,$(DESTDIR)$(SYSTEMDDIR)/%,$(wildcard systemd/*.service systemd/*.socket))
	rm -f $(foreach page,$(wildcard docs/*.[1-8]),$(DESTDIR)$(MANDIR)/man$(lastword $(subst ., ,$(page)))/$(notdir $(page)))
	rm -f $(DESTDIR)$(TMPFILESDIR)/aksegressd.conf $(DESTDIR)$(SYSCTLDIR)/60-aksegressd.conf
	rm -f $(DESTDIR)$(MODULESDIR)/aksegressd.conf $(DESTDIR)$(SYSCONFDIR)/logrotate.d/aksegressd
	rm -rf $(DESTDIR)$(PREFIX)/share/aksegressd $(DESTDIR)$(DOCDIR)
	@echo "left: $(DESTDIR)$(SYSCONFDIR)/aksegressd"

clean:
	rm -rf build build-*

help:
	@echo "make (or make all)   library and programs into $(BUILD)/; CC=clang, BUILD=DIR, SANITIZE=…, V=1"
	@sed -n '1d; s/^# \([a-z-]*\(, [a-z-]*\)*\): \(.*\)/make \1: \3/p' Makefile

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
