#include "base/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Written once under pthread_once, read-only afterwards. */
static uint64_t process_key[2];
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void fill_random(void *buffer, size_t size)
{
        if (getrandom(buffer, size, 0) != (ssize_t)size)
                abort(); /* Cannot happen for 256 bytes or fewer once the pool is seeded (getrandom(2)). */
}

static void draw_key(void)
{
        fill_random(process_key, sizeof(process_key));
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
        return value << bits | value >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
        v[0] += v[1];
        v[1] = rotate_left(v[1], 13) ^ v[0];
        v[0] = rotate_left(v[0], 32);
        v[2] += v[3];
        v[3] = rotate_left(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate_left(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate_left(v[1], 17) ^ v[2];
        v[2] = rotate_left(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
}

uint64_t hash_bytes(const void *bytes, size_t length)
{
        (void)pthread_once(&key_once, draw_key); /* Fails only for an invalid control block. */
        return hash_bytes_keyed(process_key, bytes, length);
}

uint64_t hash_bytes_keyed(const uint64_t key[2], const void *bytes, size_t length)
{
        const unsigned char *input = bytes;
        uint64_t word = 0;

        uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
                          key[1] ^ 0x7465646279746573 };
        size_t rest = length % 8;
        for (const unsigned char *end = input + length - rest; input < end; input += 8) {
                memcpy(&word, input, 8);
                absorb(v, word);
        }
        word = 0;
        memcpy(&word, input, rest);
        absorb(v, word | (uint64_t)length << 56);
        v[2] ^= 0xff;
        sip_round(v);
        sip_round(v);
        sip_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_random(void)
{
        uint64_t value;

        fill_random(&value, sizeof(value));
        return value;
}
