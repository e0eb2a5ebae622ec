/* What the daemon tells systemd (sd_notify(3)); without systemd every call does nothing. */
#pragma once

#include <stdint.h>

#include "base/compiler.h"

void service_manager_ready(const char *status);
void service_manager_reloading(void);
void service_manager_stopping(const char *status);
void service_manager_alive(void);

/* Half the watchdog interval in ms, at least 1,000; 0: no watchdog is asked for. */
uint64_t service_manager_watchdog_ms(void);
