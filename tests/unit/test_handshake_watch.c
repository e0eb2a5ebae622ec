#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guarded.h"
#include "hello_builder.h"
#include "inspect/handshake_watch.h"

#define DIRECTORY "tests/data/hellos/"

static struct guarded guarded;
static struct hello_bytes answer, second, work, message, extensions;
static struct fqdn first_name;

/* A retried handshake as openssl did it: the server's HelloRetryRequest, then change_cipher_spec and the second hello. */
static int load(void **state)
{
        (void)state;
        guarded_open(&guarded, HELLO_MAX_BYTES);
        hello_read(DIRECTORY "retry-2-server.hex", &answer);
        hello_read(DIRECTORY "retry-3-client.hex", &second);
        return fqdn_from_text("mcr.microsoft.com", &first_name);
}

static int unload(void **state)
{
        (void)state;
        guarded_close(&guarded);
        return 0;
}

static enum handshake_watch_status judge_for(struct handshake_watch *watch, const struct fqdn *name, const void *bytes,
                                             size_t length, size_t *ret_pass, size_t *ret_needed,
                                             enum reason *ret_reason)
{
        return handshake_watch_client_bytes(watch, name, guarded_copy(&guarded, bytes, length), length, ret_pass,
                                            ret_needed, ret_reason);
}

/* How many of the client's bytes pass; SIZE_MAX when they are refused. */
static size_t passed(struct handshake_watch *watch, const void *bytes, size_t length)
{
        size_t pass, needed;
        enum reason reason;

        if (judge_for(watch, &first_name, bytes, length, &pass, &needed, &reason) == HANDSHAKE_WATCH_REFUSE)
                return SIZE_MAX;
        return pass;
}

static void server_says(struct handshake_watch *watch, const void *bytes, size_t length)
{
        handshake_watch_server_bytes(watch, guarded_copy(&guarded, bytes, length), length);
}

static void start_after_retry_request(struct handshake_watch *watch)
{
        handshake_watch_start(watch);
        server_says(watch, answer.bytes, answer.length);
        assert_int_equal(watch->phase, HANDSHAKE_WATCH_SECOND_HELLO);
}

static void assert_refused(struct handshake_watch *watch, const struct hello_bytes *bytes, enum reason expected)
{
        enum reason reason = REASON_COMPLETED;
        size_t pass, needed;

        assert_int_equal(judge_for(watch, &first_name, bytes->bytes, bytes->length, &pass, &needed, &reason),
                         HANDSHAKE_WATCH_REFUSE);
        assert_int_equal(reason, expected);
}

/* A second hello with this name (NULL: none), behind nothing. */
static void build_second_hello(const char *name, size_t record_size)
{
        extensions.length = message.length = work.length = 0;
        if (name != NULL)
                hello_put_server_name(&extensions, 0, name, strlen(name));
        hello_put_message(&message, &hello_fixed_good, &extensions);
        hello_put_records(&work, &message, record_size);
}

static void a_retry_request_is_seen_however_it_is_cut(void **state)
{
        struct handshake_watch watch;

        (void)state;
        for (size_t cut = 0; cut <= answer.length; cut++) {
                handshake_watch_start(&watch);
                server_says(&watch, answer.bytes, cut);
                assert_int_equal(watch.phase, cut < 43 ? HANDSHAKE_WATCH_SERVER_UNKNOWN : HANDSHAKE_WATCH_SECOND_HELLO);
                server_says(&watch, answer.bytes + cut, answer.length - cut);
                assert_int_equal(watch.phase, HANDSHAKE_WATCH_SECOND_HELLO);
        }
        handshake_watch_start(&watch);
        for (size_t i = 0; i < answer.length; i++)
                server_says(&watch, answer.bytes + i, 1);
        assert_int_equal(watch.phase, HANDSHAKE_WATCH_SECOND_HELLO);
}

static void a_retry_request_is_seen_in_records_of_any_size(void **state)
{
        struct handshake_watch watch;

        (void)state;
        message.length = 0;
        hello_put(&message, answer.bytes + 5, 88);
        for (size_t size = 1; size <= 88; size++) {
                work.length = 0;
                hello_put_records(&work, &message, size);
                handshake_watch_start(&watch);
                server_says(&watch, work.bytes, work.length);
                assert_int_equal(watch.phase, HANDSHAKE_WATCH_SECOND_HELLO);
        }
}

static void any_other_answer_ends_the_watch(void **state)
{
        struct handshake_watch watch;

        (void)state;
        /* Each byte of the random makes it another ServerHello; each of the headers makes it none. */
        for (size_t i = 0; i < 43; i++) {
                bool harmless = i == 2 || i == 4 || (i >= 6 && i < 11); /* minor versions, lengths that still fit */
                work.length = 0;
                hello_put(&work, answer.bytes, answer.length);
                work.bytes[i] ^= 0x80;
                handshake_watch_start(&watch);
                server_says(&watch, work.bytes, work.length);
                assert_int_equal(watch.phase, harmless ? HANDSHAKE_WATCH_SECOND_HELLO : HANDSHAKE_WATCH_DONE);
        }
        handshake_watch_start(&watch);
        server_says(&watch, "\x15\3\3\0\2\2\x70", 7);
        assert_int_equal(watch.phase, HANDSHAKE_WATCH_DONE);
        handshake_watch_start(&watch);
        server_says(&watch, "HTTP/1.1 400 Bad Request\r\n", 26);
        assert_int_equal(watch.phase, HANDSHAKE_WATCH_DONE);
}

static void early_data_passes_and_a_handshake_record_waits_until_the_server_answers(void **state)
{
        struct handshake_watch watch;
        size_t pass, needed;
        enum reason reason;

        (void)state;
        hello_read(DIRECTORY "openssl-early-data.hex", &work);
        size_t hello = 0x1a6, early = work.length - hello;
        handshake_watch_start(&watch);
        assert_int_equal(passed(&watch, work.bytes + hello, early), early);

        hello_put_record(&work, 22, "abc", 3);
        handshake_watch_start(&watch);
        assert_int_equal(judge_for(&watch, &first_name, work.bytes + hello, early + 8, &pass, &needed, &reason),
                         HANDSHAKE_WATCH_PASS);
        assert_int_equal(pass, early);
        assert_true(needed == SIZE_MAX);
        assert_int_equal(passed(&watch, work.bytes + hello + early, 8), 0);
        server_says(&watch, "\x15\3\3\0\2\2\x70", 7);
        assert_int_equal(passed(&watch, work.bytes + hello + early, 8), 8);
}

static void the_second_hello_may_name_the_same_server(void **state)
{
        struct handshake_watch watch;

        (void)state;
        start_after_retry_request(&watch);
        assert_int_equal(passed(&watch, second.bytes, second.length), second.length);
        assert_int_equal(watch.phase, HANDSHAKE_WATCH_DONE);
}

static void after_the_second_hello_everything_passes(void **state)
{
        struct handshake_watch watch;

        (void)state;
        start_after_retry_request(&watch);
        work.length = 0;
        hello_put(&work, second.bytes, second.length);
        hello_put_filler(&work, 1000);
        assert_int_equal(passed(&watch, work.bytes, work.length), work.length);
        assert_int_equal(passed(&watch, "anything", 8), 8);
}

static void a_second_hello_cut_anywhere_passes_as_a_whole(void **state)
{
        struct handshake_watch watch;

        (void)state;
        for (size_t cut = 0; cut < second.length; cut++) {
                start_after_retry_request(&watch);
                size_t first = passed(&watch, second.bytes, cut);
                assert_int_equal(first, cut < 5 ? 0 : cut < 6 ? cut : 6); /* the change_cipher_spec record goes first */
                assert_int_equal(passed(&watch, second.bytes + first, second.length - first), second.length - first);
                assert_int_equal(watch.phase, HANDSHAKE_WATCH_DONE);
        }
}

static void needed_is_kept_to_byte_by_byte(void **state)
{
        struct handshake_watch watch;
        size_t sent = 0, calls = 0, in_hand = 1, pass, needed;
        enum reason reason;

        (void)state;
        start_after_retry_request(&watch);
        while (sent < second.length) {
                assert_true(sent + in_hand <= second.length);
                assert_int_equal(judge_for(&watch, &first_name, second.bytes + sent, in_hand, &pass, &needed, &reason),
                                 HANDSHAKE_WATCH_PASS);
                assert_true(needed > in_hand - pass);
                sent += pass;
                in_hand = needed;
                calls++;
        }
        assert_int_equal(watch.phase, HANDSHAKE_WATCH_DONE);
        assert_in_range(calls, 1, 8);
}

static void a_second_hello_in_records_of_any_size_is_judged(void **state)
{
        struct handshake_watch watch;

        (void)state;
        for (size_t size = 1; size < 200; size++) {
                build_second_hello("MCR.microsoft.com", size);
                start_after_retry_request(&watch);
                assert_int_equal(passed(&watch, work.bytes, work.length), work.length);
                build_second_hello("evil.example", size);
                start_after_retry_request(&watch);
                assert_refused(&watch, &work, REASON_SERVER_NAME_CHANGED);
        }
}

static void another_name_or_none_is_refused(void **state)
{
        struct handshake_watch watch;
        struct fqdn none = { 0 };
        size_t pass, needed;
        enum reason reason;

        (void)state;
        start_after_retry_request(&watch);
        build_second_hello(NULL, 16384);
        assert_refused(&watch, &work, REASON_SERVER_NAME_CHANGED);

        start_after_retry_request(&watch);
        assert_int_equal(judge_for(&watch, &none, work.bytes, work.length, &pass, &needed, &reason),
                         HANDSHAKE_WATCH_PASS);
        assert_int_equal(pass, work.length);
        start_after_retry_request(&watch);
        assert_int_equal(judge_for(&watch, &none, second.bytes, second.length, &pass, &needed, &reason),
                         HANDSHAKE_WATCH_REFUSE);
        assert_int_equal(reason, REASON_SERVER_NAME_CHANGED);
}

static void a_broken_second_hello_is_refused_with_its_reason(void **state)
{
        struct handshake_watch watch;

        (void)state;
        start_after_retry_request(&watch);
        build_second_hello("10.0.0.1", 16384);
        assert_refused(&watch, &work, REASON_BAD_SERVER_NAME);
        start_after_retry_request(&watch);
        build_second_hello("mcr.microsoft.com", 16384);
        work.bytes[5] = 4;
        assert_refused(&watch, &work, REASON_BAD_CLIENT_HELLO);
        start_after_retry_request(&watch);
        work.length = 0;
        hello_put(&work, "\x16\3\3\x40\0\1\xff\xff\xff", 9);
        assert_refused(&watch, &work, REASON_CLIENT_HELLO_TOO_LARGE);
}

static void records_that_tls_does_not_know_are_refused(void **state)
{
        static const char *const wrong[] = { "\x18\3\3\0\1a", "\x13\3\3\0\1a", "GET / HTTP/1.1", "\x17\2\3\0\1a",
                                             "\x17\3\3\x7f\xff" };
        struct handshake_watch watch;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                work.length = 0;
                hello_put(&work, wrong[i], 6);
                handshake_watch_start(&watch);
                assert_refused(&watch, &work, REASON_BAD_CLIENT_HELLO);
                start_after_retry_request(&watch);
                assert_refused(&watch, &work, REASON_BAD_CLIENT_HELLO);
        }
}

/* The header of a record; its payload does not matter. */
static void build_header(unsigned type, unsigned length)
{
        work.length = 0;
        hello_put_number(&work, 1, type);
        hello_put_number(&work, 2, 0x0303);
        hello_put_number(&work, 2, length);
}

static void records_may_be_as_long_as_tls_allows(void **state)
{
        struct handshake_watch watch;

        (void)state;
        build_header(23, 16384 + 256);
        handshake_watch_start(&watch);
        assert_int_equal(passed(&watch, work.bytes, work.length), 5);
        build_header(23, 16384 + 257);
        handshake_watch_start(&watch);
        assert_refused(&watch, &work, REASON_BAD_CLIENT_HELLO);
        build_header(22, 16384);
        handshake_watch_start(&watch);
        server_says(&watch, work.bytes, work.length);
        assert_int_equal(watch.phase, HANDSHAKE_WATCH_SERVER_UNKNOWN);
        build_header(22, 16385);
        handshake_watch_start(&watch);
        server_says(&watch, work.bytes, work.length);
        assert_int_equal(watch.phase, HANDSHAKE_WATCH_DONE);
}

static void a_long_early_data_record_passes_in_pieces(void **state)
{
        struct handshake_watch watch;
        size_t sent = 0;

        (void)state;
        extensions.length = work.length = 0;
        hello_put_filler(&extensions, 16000);
        hello_put_record(&work, 23, extensions.bytes, extensions.length);
        hello_put_record(&work, 22, "abc", 3);
        handshake_watch_start(&watch);
        while (sent < 16005) {
                size_t count = work.length - sent < 700 ? work.length - sent : 700;
                size_t pass = passed(&watch, work.bytes + sent, count);
                assert_in_range(pass, 1, count);
                sent += pass;
        }
        assert_int_equal(sent, 16005);
        assert_int_equal(passed(&watch, work.bytes + sent, work.length - sent), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_retry_request_is_seen_however_it_is_cut),
                cmocka_unit_test(a_retry_request_is_seen_in_records_of_any_size),
                cmocka_unit_test(any_other_answer_ends_the_watch),
                cmocka_unit_test(early_data_passes_and_a_handshake_record_waits_until_the_server_answers),
                cmocka_unit_test(the_second_hello_may_name_the_same_server),
                cmocka_unit_test(after_the_second_hello_everything_passes),
                cmocka_unit_test(a_second_hello_cut_anywhere_passes_as_a_whole),
                cmocka_unit_test(needed_is_kept_to_byte_by_byte),
                cmocka_unit_test(a_second_hello_in_records_of_any_size_is_judged),
                cmocka_unit_test(another_name_or_none_is_refused),
                cmocka_unit_test(a_broken_second_hello_is_refused_with_its_reason),
                cmocka_unit_test(records_that_tls_does_not_know_are_refused),
                cmocka_unit_test(records_may_be_as_long_as_tls_allows),
                cmocka_unit_test(a_long_early_data_record_passes_in_pieces),
        };

        return cmocka_run_group_tests(tests, load, unload);
}
