#include "records/syslog_tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_SIZE 256

struct syslog_tls {
        SSL_CTX *context;
        SSL *session;
        char expected[FQDN_MAX_LENGTH + 1]; /* whom the certificate must be for; for messages */
};

/* The oldest error in OpenSSL's queue, which says best what happened; empties the queue. */
static const char *take_reason(char reason[REASON_SIZE])
{
        unsigned long code = ERR_get_error();
        const char *text =
                code != 0 && ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

        snprintf(reason, REASON_SIZE, "%s", text != NULL ? text : "unknown error");
        ERR_clear_error();
        return reason;
}

static int complain_of_file(const char *key, const char *path, char *error, size_t error_size)
{
        char reason[REASON_SIZE];

        snprintf(error, error_size, "%s %s: %s", key, path, take_reason(reason));
        return -EINVAL;
}

/* Never on a terminal: a key with a passphrase is an error, and not a daemon that waits. */
static int refuse_passphrase(char *buffer, int size, int writing, void *context)
{
        (void)buffer;
        (void)size;
        (void)writing;
        (void)context;
        return -1;
}

static int load_own_certificate(SSL_CTX *context, const struct syslog_target *target, char *error, size_t error_size)
{
        if (SSL_CTX_use_certificate_chain_file(context, target->cert_file) != 1)
                return complain_of_file("cert_file", target->cert_file, error, error_size);
        if (SSL_CTX_use_PrivateKey_file(context, target->key_file, SSL_FILETYPE_PEM) != 1)
                return complain_of_file("key_file", target->key_file, error, error_size);
        return 0;
}

static int load_files(SSL_CTX *context, const struct syslog_target *target, char *error, size_t error_size)
{
        SSL_CTX_set_default_passwd_cb(context, refuse_passphrase);
        if (target->ca_file != NULL && SSL_CTX_load_verify_file(context, target->ca_file) != 1)
                return complain_of_file("ca_file", target->ca_file, error, error_size);
        if (target->ca_file == NULL && SSL_CTX_set_default_verify_paths(context) != 1)
                return complain_of_file("ca_file", "(the system's)", error, error_size);
        return target->cert_file != NULL ? load_own_certificate(context, target, error, error_size) : 0;
}

static SSL_CTX *new_context(void)
{
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());

        if (context == NULL)
                return NULL;
        SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        return context;
}

/* RFC 6125: the name that was configured, never one that DNS gave; SNI says the same name, addresses have none (RFC 6066 3). */
static int expect_name(struct syslog_tls *tls, const struct syslog_target *target)
{
        const char *name = target->server_name != NULL ? target->server_name : target->server.name.text;
        bool is_address = target->server_name == NULL && target->server.name.length == 0;

        if (is_address) {
                net_address_format(&target->server.endpoint.address, tls->expected);
                return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->session), tls->expected) == 1 ? 0 : -ENOMEM;
        }
        snprintf(tls->expected, sizeof(tls->expected), "%s", name);
        SSL_set_hostflags(tls->session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (SSL_set1_host(tls->session, tls->expected) != 1)
                return -ENOMEM;
        return SSL_set_tlsext_host_name(tls->session, tls->expected) == 1 ? 0 : -ENOMEM;
}

static int begin(struct syslog_tls *tls, const struct syslog_target *target, char *error, size_t error_size)
{
        ERR_clear_error();
        tls->context = new_context();
        if (tls->context == NULL)
                return -ENOMEM;
        int r = load_files(tls->context, target, error, error_size);
        if (r < 0)
                return r;
        tls->session = SSL_new(tls->context);
        if (tls->session == NULL)
                return -ENOMEM;
        SSL_set_connect_state(tls->session);
        return expect_name(tls, target);
}

int syslog_tls_open(const struct syslog_target *target, char *error, size_t error_size, struct syslog_tls **ret)
{
        struct syslog_tls *tls = calloc(1, sizeof(*tls));

        snprintf(error, error_size, "%s", strerror(ENOMEM));
        if (tls == NULL)
                return -ENOMEM;
        int r = begin(tls, target, error, error_size);
        if (r < 0) {
                syslog_tls_close(tls);
                return r;
        }
        *ret = tls;
        return 0;
}

int syslog_tls_attach(struct syslog_tls *tls, int fd)
{
        return SSL_set_fd(tls->session, fd) == 1 ? 0 : -ENOMEM;
}

void syslog_tls_close(struct syslog_tls *tls)
{
        if (tls == NULL)
                return;
        SSL_free(tls->session);
        SSL_CTX_free(tls->context);
        free(tls);
}

/* What went wrong, in words that say what to change. */
static void describe(const struct syslog_tls *tls, int failure, int system_error, char *error, size_t error_size)
{
        long verdict = SSL_get_verify_result(tls->session);
        char reason[REASON_SIZE];

        if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
                snprintf(error, error_size, "the server's certificate is not for '%s'", tls->expected);
        else if (verdict != X509_V_OK)
                snprintf(error, error_size, "the server's certificate is not trusted: %s",
                         X509_verify_cert_error_string(verdict));
        else if (failure == SSL_ERROR_SYSCALL)
                snprintf(error, error_size, "%s",
                         system_error != 0 ? strerror(system_error) : "the server closed the connection");
        else
                snprintf(error, error_size, "TLS: %s", take_reason(reason));
        ERR_clear_error();
}

/* After a call that returned r, which is not a success. */
static int judge(const struct syslog_tls *tls, int r, int system_error, short *ret_events, char *error,
                 size_t error_size)
{
        int failure = SSL_get_error(tls->session, r);

        if (failure == SSL_ERROR_WANT_READ || failure == SSL_ERROR_WANT_WRITE) {
                *ret_events = failure == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
                return -EAGAIN;
        }
        describe(tls, failure, system_error, error, error_size);
        return -EPROTO;
}

int syslog_tls_handshake(struct syslog_tls *tls, short *ret_events, char *error, size_t error_size)
{
        ERR_clear_error();
        errno = 0;
        int r = SSL_do_handshake(tls->session);
        int system_error = errno;

        return r == 1 ? 0 : judge(tls, r, system_error, ret_events, error, error_size);
}

int syslog_tls_write(struct syslog_tls *tls, const void *bytes, size_t length, short *ret_events, char *error,
                     size_t error_size)
{
        ERR_clear_error();
        errno = 0;
        int r = SSL_write(tls->session, bytes, length < INT_MAX ? (int)length : INT_MAX);
        int system_error = errno;

        return r > 0 ? r : judge(tls, r, system_error, ret_events, error, error_size);
}

int syslog_tls_read(struct syslog_tls *tls, short *ret_events, char *error, size_t error_size)
{
        char dropped[4096];

        ERR_clear_error();
        errno = 0;
        int r = SSL_read(tls->session, dropped, sizeof(dropped));
        int system_error = errno;
        if (r > 0) {
                *ret_events = POLLIN;
                return -EAGAIN;
        }
        if (SSL_get_error(tls->session, r) == SSL_ERROR_ZERO_RETURN)
                return 0;
        return judge(tls, r, system_error, ret_events, error, error_size);
}

void syslog_tls_finish(struct syslog_tls *tls)
{
        ERR_clear_error();
        (void)SSL_shutdown(tls->session);
        ERR_clear_error();
}
