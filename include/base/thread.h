/* Threads of our own: signals are the main thread's business, so none of them takes any. */
#pragma once

#include <pthread.h>

#include "base/compiler.h"

/*
 * Starts a thread with every signal blocked. name, at most 15 bytes, is only for top and gdb. Returns 0, or -errno with
 * *ret untouched.
 */
MUST_CHECK int thread_start(const char *name, void *(*run)(void *argument), void *argument, pthread_t *ret);
