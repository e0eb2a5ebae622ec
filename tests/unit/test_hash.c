#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "guarded.h"

/* Python 3.11 hashes bytes with SipHash-1-3, and with PYTHONHASHSEED=0 under the key 0: hash(bytes(range(length))). */
static const struct {
        size_t length;
        uint64_t hash;
} known[] = {
        { 1, 0x68a914128e01e473 },  { 2, 0x010bac45c41e3669 },  { 7, 0x2f098ab0c751325a },  { 8, 0xead411e67ebe2eea },
        { 9, 0x75927f9d95124362 },  { 15, 0xf30eb725bb91c9ea }, { 16, 0x8972188433a5c5b7 }, { 17, 0x4883c49a2c009c1d },
        { 63, 0x385d3e39e5f37359 }, { 64, 0x75e05fd5bbc870c6 },
};

static void known_answers_are_given(void **state)
{
        static const uint64_t key[2] = { 0, 0 };
        struct guarded guarded;
        uint8_t bytes[64];

        (void)state;
        guarded_open(&guarded, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)i;
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                assert_true(hash_bytes_keyed(key, guarded_copy(&guarded, bytes, known[i].length), known[i].length) ==
                            known[i].hash);
        guarded_close(&guarded);
}

static void each_half_of_the_key_and_each_byte_matter(void **state)
{
        static const uint64_t keys[][2] = { { 0, 0 }, { 1, 0 }, { 0, 1 } };
        static const char *const texts[] = { "", "a", "b", "aa" };
        uint64_t seen[ARRAY_SIZE(keys) * ARRAY_SIZE(texts)];
        size_t count = 0;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                for (size_t j = 0; j < ARRAY_SIZE(texts); j++)
                        seen[count++] = hash_bytes_keyed(keys[i], texts[j], strlen(texts[j]));
        for (size_t i = 0; i < count; i++)
                for (size_t j = 0; j < i; j++)
                        assert_true(seen[i] != seen[j]);
}

static void the_process_has_one_key_and_it_is_not_zero(void **state)
{
        static const uint64_t zero[2] = { 0, 0 };

        (void)state;
        assert_true(hash_bytes("name", 4) == hash_bytes("name", 4));
        assert_true(hash_bytes("name", 4) != hash_bytes_keyed(zero, "name", 4)); /* once in 2^64 runs */
}

static void random_bits_differ(void **state)
{
        (void)state;
        assert_true(hash_random() != hash_random());
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(known_answers_are_given),
                cmocka_unit_test(each_half_of_the_key_and_each_byte_matter),
                cmocka_unit_test(the_process_has_one_key_and_it_is_not_zero),
                cmocka_unit_test(random_bits_differ),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
