#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/err.h>

#include "inspect/quic_packet.h"
#include "quic_fixture.h"

#define SAMPLE_ID "\x83\x94\xc8\xf0\x3e\x51\x57\x08"

/* RFC 9001 A.1 and A.2, RFC 9369 A.1 and A.2. */
struct sample {
        uint32_t version;
        const char *path; /* of the protected packet, whose number is at 18 and takes 4 bytes */
        const char *header;
        const char *mask;
        struct quic_builder_keys keys;
};

static const struct sample samples[] = {
        { QUIC_VERSION_1,
          DIRECTORY "rfc9001-client.hex",
          "\xc3\x00\x00\x00\x01\x08" SAMPLE_ID "\x00\x00\x44\x9e\x00\x00\x00\x02",
          "\x43\x7b\x9a\xec\x36",
          { "\xc0\x0c\xf1\x51\xca\x5b\xe0\x75\xed\x0e\xbf\xb5\xc8\x03\x23\xc4"
            "\x2d\x6b\x7d\xb6\x78\x81\x28\x9a\xf4\x00\x8f\x1f\x6c\x35\x7a\xea",
            "\x1f\x36\x96\x13\xdd\x76\xd5\x46\x77\x30\xef\xcb\xe3\xb1\xa2\x2d",
            "\xfa\x04\x4b\x2f\x42\xa3\xfd\x3b\x46\xfb\x25\x5c",
            "\x9f\x50\x44\x9e\x04\xa0\xe8\x10\x28\x3a\x1e\x99\x33\xad\xed\xd2" } },
        { QUIC_VERSION_2,
          DIRECTORY "rfc9369-client.hex",
          "\xd3\x6b\x33\x43\xcf\x08" SAMPLE_ID "\x00\x00\x44\x9e\x00\x00\x00\x02",
          "\x94\xa0\xc9\x5e\x80",
          { "\x14\xec\x9d\x6e\xb9\xfd\x7a\xf8\x3b\xf5\xa6\x68\xbc\x17\xa7\xe2"
            "\x83\x76\x6a\xad\xe7\xec\xd0\x89\x1f\x70\xf9\xff\x7f\x4b\xf4\x7b",
            "\x8b\x1a\x0b\xc1\x21\x28\x42\x90\xa2\x9e\x09\x71\xb5\xcd\x04\x5d",
            "\x91\xf7\x3e\x23\x51\xd8\xfa\x91\x66\x0e\x90\x9f",
            "\x45\xb9\x5e\x15\x23\x5d\x6f\x45\xa6\xb1\x9c\xbc\xb0\x29\x4b\xa9" } },
};

static struct quic_recipe recipe_of(const struct sample *sample)
{
        struct quic_recipe recipe = quic_recipe_good;

        recipe.version = sample->version == QUIC_VERSION_1 ? 1 : 2;
        return recipe;
}

/* The builder that other tests rely on is right. */
static void the_builder_derives_what_the_rfcs_say(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
                const struct quic_recipe recipe = recipe_of(&samples[i]);
                struct quic_builder_keys derived;

                quic_builder_derive(&recipe, &derived);
                assert_memory_equal(&derived, &samples[i].keys, sizeof(derived));
        }
}

/* Opens the sample's packet under a header, a number and the last byte of its tag; leaves the payload in datagram. */
static int open_sample(const struct sample *sample, const char *header, uint64_t number, uint8_t tag_change)
{
        hello_read(sample->path, &datagram);
        datagram.bytes[datagram.length - 1] ^= tag_change;
        assert_int_equal(quic_keys_derive(keys, sample->version, SAMPLE_ID, 8), 0);
        return quic_keys_open(keys, number, (const uint8_t *)header, 22,
                              guarded_copy(&guarded, datagram.bytes + 22, datagram.length - 22), datagram.length - 22);
}

static void the_packets_of_the_rfcs_are_unmasked_and_opened(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
                uint8_t mask[QUIC_KEYS_MASK_SIZE];

                hello_read(samples[i].path, &datagram);
                assert_int_equal(quic_keys_derive(keys, samples[i].version, SAMPLE_ID, 8), 0);
                assert_int_equal(quic_keys_mask(keys, datagram.bytes + 22, mask), 0);
                assert_memory_equal(mask, samples[i].mask, sizeof(mask));
                assert_int_equal(open_sample(&samples[i], samples[i].header, 2, 0), 0);
                const uint8_t *payload = guarded.end - (datagram.length - 22);
                assert_memory_equal(payload, "\x06\x00\x40\xf1\x01\x00\x00\xed\x03\x03", 10);
                for (size_t at = 245; at < 1162; at++)
                        assert_int_equal(payload[at], 0);
        }
}

static void another_number_header_or_tag_opens_nothing(void **state)
{
        char header[22];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
                memcpy(header, samples[i].header, sizeof(header));
                assert_int_equal(open_sample(&samples[i], header, 3, 0), -EBADMSG);
                assert_int_equal(open_sample(&samples[i], header, 2 | (uint64_t)1 << 62, 0), -EBADMSG);
                assert_int_equal(open_sample(&samples[i], header, 2, 1), -EBADMSG);
                header[0] ^= 4;
                assert_int_equal(open_sample(&samples[i], header, 2, 0), -EBADMSG);
                header[0] ^= 4;
                /* A failure leaves nothing behind that would spoil the next packet. */
                assert_int_equal(open_sample(&samples[i], header, 2, 0), 0);
        }
        assert_int_equal(ERR_peek_error(), 0);
}

static void keys_are_those_of_the_connection_asked_for_last(void **state)
{
        uint8_t mask[QUIC_KEYS_MASK_SIZE];

        (void)state;
        hello_read(samples[0].path, &datagram);
        const uint8_t *sample = datagram.bytes + 22;
        /* Each differs from the one before in one thing. */
        assert_int_equal(quic_keys_derive(keys, QUIC_VERSION_1, SAMPLE_ID, 8), 0);
        assert_int_equal(quic_keys_derive(keys, QUIC_VERSION_2, SAMPLE_ID, 8), 0);
        assert_int_equal(quic_keys_mask(keys, sample, mask), 0);
        assert_memory_not_equal(mask, samples[0].mask, sizeof(mask));
        assert_int_equal(quic_keys_derive(keys, QUIC_VERSION_1, SAMPLE_ID, 8), 0);
        assert_int_equal(quic_keys_derive(keys, QUIC_VERSION_1, SAMPLE_ID, 7), 0);
        assert_int_equal(quic_keys_mask(keys, sample, mask), 0);
        assert_memory_not_equal(mask, samples[0].mask, sizeof(mask));
        assert_int_equal(quic_keys_derive(keys, QUIC_VERSION_1, "\x83\x94\xc8\xf0\x3e\x51\x57\x09", 8), 0);
        assert_int_equal(quic_keys_mask(keys, sample, mask), 0);
        assert_memory_not_equal(mask, samples[0].mask, sizeof(mask));
        assert_int_equal(quic_keys_derive(keys, QUIC_VERSION_1, SAMPLE_ID, 8), 0);
        assert_int_equal(quic_keys_derive(keys, QUIC_VERSION_1, SAMPLE_ID, 8), 0);
        assert_int_equal(quic_keys_mask(keys, sample, mask), 0);
        assert_memory_equal(mask, samples[0].mask, sizeof(mask));
}

static void identifiers_of_every_length_derive_what_openssl_derives(void **state)
{
        static const uint8_t identifier[QUIC_MAX_CONNECTION_ID] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 };

        (void)state;
        for (size_t i = 0; i < 2 * (sizeof(identifier) + 1); i++) {
                struct quic_recipe recipe = quic_recipe_good;
                struct quic_builder_keys expected;
                uint8_t mask[QUIC_KEYS_MASK_SIZE], expected_mask[16], sample[16] = { (uint8_t)i };

                recipe.version = 1 + i % 2;
                recipe.destination_id = identifier;
                recipe.destination_id_length = i / 2;
                quic_builder_derive(&recipe, &expected);
                quic_builder_mask(&expected, sample, expected_mask);
                assert_int_equal(quic_keys_derive(keys, recipe.version == 1 ? QUIC_VERSION_1 : QUIC_VERSION_2,
                                                  identifier, i / 2),
                                 0);
                assert_int_equal(quic_keys_mask(keys, sample, mask), 0);
                assert_memory_equal(mask, expected_mask, sizeof(mask));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_builder_derives_what_the_rfcs_say),
                cmocka_unit_test(the_packets_of_the_rfcs_are_unmasked_and_opened),
                cmocka_unit_test(another_number_header_or_tag_opens_nothing),
                cmocka_unit_test(keys_are_those_of_the_connection_asked_for_last),
                cmocka_unit_test(identifiers_of_every_length_derive_what_openssl_derives),
        };

        return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
