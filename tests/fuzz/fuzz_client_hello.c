/*
 * Compares client_hello_parse with OpenSSL's server on the same bytes. What we accept, OpenSSL must be able to take apart,
 * and both must see the same name; what OpenSSL takes for a whole hello, we must not wait for.
 *
 * Input: bytes as a client sends them; or, when the first byte is no record type, a message without records, which is put
 * into records of that many bytes.
 */
#include "fuzz.h"

#include <openssl/ssl.h>

#include "../unit/hello_builder.h"
#include "inspect/client_hello.h"

#define FUZZ_MAX_BYTES 70000

/* What OpenSSL said. */
struct oracle {
        bool taken_apart; /* records, message and extensions are framed well */
        bool name_known;  /* every extension it knows was read */
        char *name;       /* NULL: none */
};

static int on_client_hello(SSL *ssl, int *alert, void *context)
{
        struct oracle *oracle = SSL_get_app_data(ssl);

        (void)alert;
        (void)context;
        oracle->taken_apart = true;
        return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_server_name(SSL *ssl, int *alert, void *context)
{
        struct oracle *oracle = SSL_get_app_data(ssl);
        const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

        (void)alert;
        (void)context;
        oracle->name_known = true;
        oracle->name = name != NULL ? strdup(name) : NULL;
        return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_context(void)
{
        SSL_CTX *context = SSL_CTX_new(TLS_server_method());

        CHECK(context != NULL);
        /* Old versions too: it is the framing that counts. It has no certificate, so it ends after the extensions. */
        SSL_CTX_set_security_level(context, 0);
        CHECK(SSL_CTX_set_min_proto_version(context, 0) == 1);
        SSL_CTX_set_client_hello_cb(context, on_client_hello, NULL);
        SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
        return context;
}

static void ask_openssl(const uint8_t *bytes, size_t length, struct oracle *ret)
{
        static SSL_CTX *context;
        BIO *in = BIO_new_mem_buf(bytes, (int)length), *out = BIO_new(BIO_s_mem());

        if (context == NULL)
                context = make_context();
        SSL *ssl = SSL_new(context);
        CHECK(ssl != NULL && in != NULL && out != NULL);
        BIO_set_mem_eof_return(in, -1);
        SSL_set_bio(ssl, in, out);
        SSL_set_app_data(ssl, ret);
        (void)SSL_accept(ssl);
        SSL_free(ssl);
}

/*
 * OpenSSL refuses well framed hellos with two extensions that it knows but expects elsewhere: use_srtp (DTLS only) and its
 * own cryptopro_bug (servers only). message is one that we accept, so its lengths hold.
 */
static bool has_misplaced_extension(const struct hello_bytes *message)
{
        const uint8_t *bytes = message->bytes;
        size_t at = 4 + 2 + 32;

        at += 1 + (size_t)bytes[at];
        at += 2 + ((size_t)bytes[at] << 8 | bytes[at + 1]);
        at += 1 + (size_t)bytes[at];
        for (at += 2; at + 4 <= message->length; at += 4 + ((size_t)bytes[at + 2] << 8 | bytes[at + 3])) {
                unsigned type = (unsigned)bytes[at] << 8 | bytes[at + 1];
                if (type == 14 || type == 0xfde8)
                        return true;
        }
        return false;
}

static void check_name(const struct client_hello *hello, const struct oracle *oracle)
{
        struct fqdn name = { 0 };

        if (!oracle->name_known)
                return;
        if (oracle->name != NULL)
                CHECK(fqdn_from_text(oracle->name, &name) == 0);
        CHECK(fqdn_equal(&name, &hello->server_name));
}

/* The same message in other records is the same hello. */
static void check_other_records(const struct hello_bytes *message, const struct client_hello *hello, size_t record_size)
{
        static struct hello_bytes again;
        struct client_hello second;
        size_t needed;

        if (message->length + (message->length / record_size + 1) * 5 > CLIENT_HELLO_MAX_BYTES)
                return;
        again.length = 0;
        hello_put_records(&again, message, record_size);
        CHECK(client_hello_parse(again.bytes, again.length, &second, &needed) == CLIENT_HELLO_OK);
        CHECK(second.length == again.length && second.ech == hello->ech);
        CHECK(fqdn_equal(&second.server_name, &hello->server_name) && strcmp(second.alpn, hello->alpn) == 0);
        CHECK(client_hello_parse(again.bytes, again.length - 1, &second, &needed) == CLIENT_HELLO_NEED_MORE);
        CHECK(needed == again.length);
}

/* And so it is without any. */
static void check_bare_message(const struct hello_bytes *message, const struct client_hello *hello)
{
        struct client_hello bare;
        size_t needed;

        CHECK(client_hello_parse_message(message->bytes, message->length, &bare, &needed) == CLIENT_HELLO_OK);
        CHECK(bare.length == message->length && bare.ech == hello->ech);
        CHECK(fqdn_equal(&bare.server_name, &hello->server_name) && strcmp(bare.alpn, hello->alpn) == 0);
}

static void build_input(const uint8_t *data, size_t size, struct hello_bytes *ret)
{
        static struct hello_bytes message;

        ret->length = message.length = 0;
        if (size == 0 || (data[0] >= 20 && data[0] <= 23)) {
                hello_put(ret, data, size);
                return;
        }
        hello_put(&message, data + 1, size - 1);
        hello_put_records(ret, &message, (size_t)data[0] + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct hello_bytes input, message;
        struct client_hello hello;
        struct oracle oracle = { 0 };
        size_t needed = 0;

        if (size > FUZZ_MAX_BYTES)
                return 0;
        build_input(data, size, &input);
        /* An exact copy, so that the sanitizer sees a byte read too far. */
        uint8_t *exact = malloc(input.length + 1);
        CHECK(exact != NULL);
        memcpy(exact + 1, input.bytes, input.length);
        enum client_hello_status status = client_hello_parse(exact + 1, input.length, &hello, &needed);
        ask_openssl(exact + 1, input.length, &oracle);
        if (status == CLIENT_HELLO_OK) {
                CHECK(hello.length <= input.length);
                CHECK(hello_take_message(input.bytes, hello.length, &message) != 0);
                CHECK(oracle.taken_apart || has_misplaced_extension(&message));
                check_name(&hello, &oracle);
                check_other_records(&message, &hello, 1 + size % 61);
                check_bare_message(&message, &hello);
        } else if (status == CLIENT_HELLO_NEED_MORE) {
                CHECK(needed > input.length && needed <= CLIENT_HELLO_MAX_BYTES);
                CHECK(!oracle.taken_apart);
        }
        free(oracle.name);
        free(exact);
        return 0;
}
