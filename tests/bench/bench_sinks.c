/*
 * What it costs to bring records out, by the kind of sink: microseconds of CPU a record in all threads of this process, from
 * the push to the last byte handed to the kernel (formatting included), and records a second. Receivers read and drop, in
 * processes of their own. Nothing is lost: a burst waits until the one before is out.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "records/record_writer.h"
#include "typical_decision.h"

#define RECORDS 200000
#define BURST 2048 /* half a ring */
#define PATH_SIZE 96

static char directory[] = "/tmp/bench-sinks-XXXXXX";

static uint64_t clock_ns(clockid_t clock)
{
        struct timespec now;

        clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
        perror(what);
        exit(1);
}

static const char *path_of(const char *name)
{
        static char paths[8][PATH_SIZE];
        static unsigned next;
        char *path = paths[next++ % 8];

        snprintf(path, PATH_SIZE, "%s/%s", directory, name);
        return path;
}

/* A socket that listens, or takes datagrams, on a port of loopback that the kernel chooses. */
static int loopback_socket(int type, uint16_t *ret_port)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof(address);
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        if (fd == -1 || bind(fd, (struct sockaddr *)&address, length) == -1 ||
            getsockname(fd, (struct sockaddr *)&address, &length) == -1)
                die("socket");
        if (type == SOCK_STREAM && listen(fd, 1) == -1)
                die("listen");
        *ret_port = ntohs(address.sin_port);
        return fd;
}

static int unix_socket(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        if (fd == -1 || bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1)
                die("socket");
        return fd;
}

static void run_command(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run_command(const char *format, ...)
{
        char command[512];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(command, sizeof(command), format, arguments);
        va_end(arguments);
        if (system(command) != 0)
                die(command);
}

static SSL_CTX *server_context(void)
{
        SSL_CTX *context = SSL_CTX_new(TLS_server_method());

        run_command(
                "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench "
                "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem 2>/dev/null",
                directory);
        if (context == NULL ||
            SSL_CTX_use_certificate_file(context, path_of("certificate.pem"), SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, path_of("key.pem"), SSL_FILETYPE_PEM) != 1)
                die("certificate");
        return context;
}

static void read_all(int fd, SSL_CTX *context)
{
        static char buffer[1 << 20];

        if (context == NULL) {
                while (recv(fd, buffer, sizeof(buffer), 0) > 0)
                        ;
                return;
        }
        SSL *ssl = SSL_new(context);
        if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1)
                die("handshake");
        while (SSL_read(ssl, buffer, sizeof(buffer)) > 0)
                ;
        SSL_free(ssl);
}

/* Reads and drops what comes to a socket, connection by connection. */
static pid_t start_reader(int fd, bool is_stream, SSL_CTX *context)
{
        pid_t pid = fork();

        if (pid == -1)
                die("fork");
        if (pid == 0)
                prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (pid == 0) {
                int from = is_stream ? accept(fd, NULL, NULL) : fd;
                read_all(from, context);
                if (is_stream)
                        close(from);
        }
        close(fd);
        return pid;
}

/* Until nothing waits in queue or spool, or all that was pushed before the last burst is written. */
static void wait_for_output(const struct record_writer *writer, uint64_t written, bool to_the_end)
{
        for (;;) {
                struct record_writer_sink figures = record_writer_sink(writer, 0);
                if (figures.written + figures.lost >= written && (!to_the_end || figures.spooled_bytes == 0))
                        return;
                (void)poll(NULL, 0, 1);
        }
}

static void measure(const char *name, struct config_sink *sink)
{
        const struct decision decision = typical_decision();
        struct config config = { .sinks = sink, .sink_count = 1, .connect_timeout_ms = 10000 };
        struct record_writer *writer;
        uint64_t pushed = 0;
        char error[256];

        sink->takes_deny = sink->takes_allow = sink->allow_at_end = true;
        sink->queue = 65536;
        sink->spool_max = 1u << 30;
        if (record_writer_new(&config, 1, error, sizeof(error), &writer) < 0) {
                fprintf(stderr, "%s\n", error);
                exit(1);
        }
        uint64_t cpu_before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        uint64_t before = clock_ns(CLOCK_MONOTONIC);
        while (pushed < RECORDS) {
                for (unsigned i = 0; i < BURST; i++)
                        record_writer_push(writer, 0, &decision);
                wait_for_output(writer, pushed, false);
                pushed += BURST;
        }
        wait_for_output(writer, pushed, true);
        uint64_t spent = clock_ns(CLOCK_MONOTONIC) - before;
        uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
        printf("%-22s %6.2f us of CPU a record  %7.0f records/s  %llu lost\n", name,
               (double)cpu / (double)pushed / 1000, (double)pushed * 1e9 / (double)spent,
               (unsigned long long)record_writer_lost(writer));
        fflush(stdout);
        record_writer_free(writer);
}

static struct config_sink syslog_sink(enum config_transport transport, const char *address)
{
        struct config_sink sink = {
                .kind = CONFIG_SINK_SYSLOG, .format = CONFIG_FORMAT_SYSLOG, .transport = transport, .facility = 16
        };

        sink.server.text = strdup(address);
        if (transport != CONFIG_TRANSPORT_UNIX && net_endpoint_parse(address, 0, &sink.server.endpoint) < 0)
                die(address);
        return sink;
}

static void measure_file(void)
{
        struct config_sink sink = { .kind = CONFIG_SINK_FILE,
                                    .format = CONFIG_FORMAT_JSON,
                                    .path.text = strdup(path_of("records")) };

        measure("file", &sink);
        free(sink.path.text);
}

/* pid: of the receiver, which ends with it. */
static void measure_syslog(const char *name, enum config_transport transport, const char *address, const char *spool,
                           pid_t pid)
{
        struct config_sink sink = syslog_sink(transport, address);

        sink.spool.text = spool != NULL ? strdup(path_of(spool)) : NULL;
        if (transport == CONFIG_TRANSPORT_TLS)
                sink.ca_file.text = strdup(path_of("certificate.pem"));
        measure(name, &sink);
        free(sink.ca_file.text);
        free(sink.spool.text);
        free(sink.server.text);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static void measure_network(const char *name, enum config_transport transport, const char *spool)
{
        char address[32];
        uint16_t port;
        SSL_CTX *context = transport == CONFIG_TRANSPORT_TLS ? server_context() : NULL;
        int fd = loopback_socket(transport == CONFIG_TRANSPORT_UDP ? SOCK_DGRAM : SOCK_STREAM, &port);

        snprintf(address, sizeof(address), "127.0.0.1:%u", port);
        measure_syslog(name, transport, address, spool, start_reader(fd, transport != CONFIG_TRANSPORT_UDP, context));
        SSL_CTX_free(context);
}

int main(void)
{
        if (mkdtemp(directory) == NULL)
                die(directory);
        measure_file();
        measure_syslog("socket of this machine", CONFIG_TRANSPORT_UNIX, path_of("socket"), NULL,
                       start_reader(unix_socket(path_of("socket")), false, NULL));
        measure_network("UDP", CONFIG_TRANSPORT_UDP, NULL);
        measure_network("TCP, spool in memory", CONFIG_TRANSPORT_TCP, NULL);
        measure_network("TCP, spool on disk", CONFIG_TRANSPORT_TCP, "tcp-spool");
        measure_network("TLS, spool on disk", CONFIG_TRANSPORT_TLS, "tls-spool");
        run_command("rm -r %s", directory);
        return 0;
}
