/*
 * The daemon's own log: lines on standard error with the priority prefix that journald reads (sd-daemon(3)).
 * Decision records do not go here (records/). Layers 1 to 3 return errors; layers 4 to 7 log them, once.
 * Untrusted text is passed only as struct fqdn text or a formatted address, quoted '%s'. Safe from any thread.
 */
#pragma once

#include "base/compiler.h"

void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
