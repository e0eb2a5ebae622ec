# aksegressd: build, tests, installation. `make help` lists the targets.
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
PREFIX ?= /usr
SYSCONFDIR ?= /etc
VERSION := 0.1.0

LIBRARIES := libevent_core libevent_pthreads libcares libsystemd libfyaml libnftables libmnl
CPPFLAGS += -Iinclude -D_GNU_SOURCE -DAKSEGRESSD_VERSION='"$(VERSION)"' -DAKSEGRESSD_DATADIR='"$(PREFIX)/share/aksegressd"' \
	-DAKSEGRESSD_SYSCONFDIR='"$(SYSCONFDIR)/aksegressd"'
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla \
	-Wformat=2 -Wundef -Wcast-qual -Wswitch-enum -Werror
HARDENING := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARNINGS) $(HARDENING) $(SANITIZE) -pthread $(shell pkg-config --cflags $(LIBRARIES))
ALL_LDFLAGS = $(LDFLAGS) $(SANITIZE) -pthread -pie -Wl,-z,relro,-z,now
LDLIBS += $(shell pkg-config --libs $(LIBRARIES))

SOURCES := $(filter-out daemon/process/main.c,$(wildcard daemon/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libaksegress.a
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
PROGRAMS := $(if $(wildcard daemon/process/main.c),$(BUILD)/aksegressd) $(if $(wildcard ctl/*.c),$(BUILD)/aksegressctl)

# `make V=1` prints the commands instead of their short form.
ifneq ($(V),1)
Q := @
say = @printf '  %-4s %s\n' $(1) $@
endif

.PHONY: all unit clean deps help
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
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(LIBRARY) $(ALL_LDFLAGS) $(LDLIBS) -lcmocka

# Every unit test program, one after the other; the first failure ends it.
unit: $(UNIT_TESTS)
	@set -e; for test in $(UNIT_TESTS); do $$test; done

clean:
	rm -rf build build-*

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
