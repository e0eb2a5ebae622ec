/*
 * Keyed hash for tables whose keys a client can choose (SipHash-1-3, Aumasson and Bernstein): without the key
 * nobody can make collisions. The key is drawn from the kernel once a process.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t length);

/* The same with a key of the caller's: for known answers. */
uint64_t hash_bytes_keyed(const uint64_t key[2], const void *bytes, size_t length);

/* Random bits for what must not be guessed (ids, shuffles). Never fails: the kernel's pool is ready after boot. */
uint64_t hash_random(void);
