/*
 * Input: pieces, each a byte (lowest bit: whose, the rest: how many bytes follow, less one) and its bytes, as client and
 * server send them in turn. What passes must not depend on how the bytes were cut, and no handshake record of the client
 * may pass before the server has answered, nor a second hello with another name at all.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "inspect/client_hello.h"
#include "inspect/handshake_watch.h"

#define MAX_CLIENT 20000
#define NAME "a.example"

struct session {
        struct handshake_watch watch;
        struct fqdn name;
        uint8_t client[MAX_CLIENT];
        size_t client_length;
        size_t passed;
        size_t needed; /* after those passed, unless the server says something */
        bool refused;
        enum reason reason;
};

static void feed_client(struct session *session)
{
        size_t pass;

        do {
                size_t length = session->client_length - session->passed;
                if (length < session->needed)
                        return;
                uint8_t *exact = malloc(length + 1);
                CHECK(exact != NULL);
                memcpy(exact + 1, session->client + session->passed, length);
                session->refused =
                        handshake_watch_client_bytes(&session->watch, &session->name, exact + 1, length, &pass,
                                                     &session->needed, &session->reason) == HANDSHAKE_WATCH_REFUSE;
                free(exact);
                if (session->refused)
                        return;
                CHECK(pass <= length);
                CHECK(session->watch.phase != HANDSHAKE_WATCH_DONE || pass == length);
                CHECK(session->needed > length - pass);
                session->passed += pass;
        } while (pass > 0);
}

/* The records passed while the server had not answered: none of them is a handshake record. */
static void check_nothing_slipped(const struct session *session)
{
        for (size_t at = 0; at < session->passed;) {
                CHECK(session->client[at] != 22);
                CHECK(session->client_length - at >= 5);
                at += 5 + ((size_t)session->client[at + 3] << 8 | session->client[at + 4]);
        }
}

static void run(const uint8_t *data, size_t size, size_t piece, struct session *session)
{
        handshake_watch_start(&session->watch);
        CHECK(fqdn_from_text(NAME, &session->name) == 0);
        session->client_length = session->passed = session->needed = 0;
        session->refused = false;
        for (size_t at = 0; at + 1 < size && !session->refused;) {
                size_t length = 1 + (size_t)(data[at] >> 1);
                bool server = (data[at++] & 1) != 0;

                length = length < size - at ? length : size - at;
                if (!server && length > MAX_CLIENT - session->client_length)
                        return;
                for (size_t done = 0; done < length && !session->refused; done += piece) {
                        size_t count = length - done < piece ? length - done : piece;
                        if (server) {
                                handshake_watch_server_bytes(&session->watch, data + at + done, count);
                                session->needed = 0;
                        } else {
                                memcpy(session->client + session->client_length, data + at + done, count);
                                session->client_length += count;
                        }
                        feed_client(session);
                }
                if (session->watch.phase == HANDSHAKE_WATCH_SERVER_UNKNOWN)
                        check_nothing_slipped(session);
                at += length;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct session whole, pieces;

        run(data, size, SIZE_MAX / 2, &whole);
        run(data, size, 1, &pieces);
        /* Who waits as told may notice damage later than who asked at another length, but passes nothing of it. */
        if (whole.refused != pieces.refused) {
                const struct session *waiting = whole.refused ? &pieces : &whole;
                CHECK(waiting->client_length - waiting->passed < waiting->needed);
                return 0;
        }
        if (whole.refused) {
                CHECK(whole.reason == pieces.reason);
                return 0;
        }
        CHECK(whole.watch.phase == pieces.watch.phase);
        CHECK(whole.passed == pieces.passed);
        return 0;
}
