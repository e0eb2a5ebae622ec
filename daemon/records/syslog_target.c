#include "records/syslog_target.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/resolver.h"

static int copy_text(const char *text, char **ret)
{
        *ret = text != NULL ? strdup(text) : NULL;
        return text != NULL && *ret == NULL ? -ENOMEM : 0;
}

static int copy_servers(const struct net_endpoint *servers, size_t count, struct net_endpoint **ret)
{
        *ret = calloc(count + 1, sizeof(**ret));
        if (*ret == NULL)
                return -ENOMEM;
        if (count > 0)
                memcpy(*ret, servers, count * sizeof(**ret));
        return 0;
}

static int copy_zones(const struct config *config, struct config *copy)
{
        copy->forward_zones = calloc(config->forward_zone_count + 1, sizeof(*copy->forward_zones));
        if (copy->forward_zones == NULL)
                return -ENOMEM;
        for (; copy->forward_zone_count < config->forward_zone_count; copy->forward_zone_count++) {
                const struct config_forward_zone *zone = &config->forward_zones[copy->forward_zone_count];
                struct config_forward_zone *to = &copy->forward_zones[copy->forward_zone_count];

                *to = *zone;
                if (copy_servers(zone->servers, zone->server_count, &to->servers) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int copy_dns(const struct config *config, struct config *copy)
{
        copy->resolve_timeout_ms = config->resolve_timeout_ms;
        copy->dns_server_count = config->dns_server_count;
        if (copy_servers(config->dns_servers, config->dns_server_count, &copy->dns_servers) < 0)
                return -ENOMEM;
        return copy_zones(config, copy);
}

static char *name_of(const struct config_sink *sink)
{
        static const char *const schemes[] = {
                [CONFIG_TRANSPORT_TLS] = "tls",
                [CONFIG_TRANSPORT_TCP] = "tcp",
                [CONFIG_TRANSPORT_UDP] = "udp",
                [CONFIG_TRANSPORT_UNIX] = "unix",
        };
        const struct config_server *server = &sink->server;
        char endpoint[NET_ENDPOINT_TEXT_SIZE];
        const char *scheme = schemes[sink->transport];
        char *name;
        int length;

        if (sink->transport == CONFIG_TRANSPORT_UNIX)
                length = asprintf(&name, "%s://%s", scheme, server->text);
        else if (server->name.length > 0)
                length = asprintf(&name, "%s://%s:%u", scheme, server->name.text, server->endpoint.port);
        else
                length = asprintf(&name, "%s://%s", scheme, net_endpoint_format(&server->endpoint, endpoint));
        return length != -1 ? name : NULL;
}

static int fill(struct syslog_target *target, const struct config *config, const struct config_sink *sink)
{
        target->transport = sink->transport;
        target->server = sink->server;
        target->server.text = NULL;
        target->connect_timeout_ms = config->connect_timeout_ms;
        target->name = name_of(sink);
        if (target->name == NULL || copy_text(sink->server.text, &target->server.text) < 0 ||
            copy_text(sink->ca_file.text, &target->ca_file) < 0 ||
            copy_text(sink->cert_file.text, &target->cert_file) < 0 ||
            copy_text(sink->key_file.text, &target->key_file) < 0 ||
            copy_text(sink->server_name.text, &target->server_name) < 0)
                return -ENOMEM;
        return copy_dns(config, &target->dns);
}

int syslog_target_new(const struct config *config, const struct config_sink *sink, struct syslog_target **ret)
{
        struct syslog_target *target = calloc(1, sizeof(*target));

        if (target == NULL)
                return -ENOMEM;
        atomic_init(&target->references, 1);
        if (fill(target, config, sink) < 0) {
                syslog_target_unref(target);
                return -ENOMEM;
        }
        *ret = target;
        return 0;
}

struct syslog_target *syslog_target_ref(struct syslog_target *target)
{
        if (target != NULL)
                atomic_fetch_add(&target->references, 1);
        return target;
}

void syslog_target_unref(struct syslog_target *target)
{
        if (target == NULL || atomic_fetch_sub(&target->references, 1) > 1)
                return;
        for (size_t i = 0; i < target->dns.forward_zone_count; i++)
                free(target->dns.forward_zones[i].servers);
        free(target->dns.forward_zones);
        free(target->dns.dns_servers);
        free(target->server_name);
        free(target->key_file);
        free(target->cert_file);
        free(target->ca_file);
        free(target->server.text);
        free(target->name);
        free(target);
}

static bool same_text(const char *a, const char *b)
{
        return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool syslog_target_equals(const struct syslog_target *a, const struct syslog_target *b)
{
        return same_text(a->name, b->name) && same_text(a->ca_file, b->ca_file) &&
               same_text(a->cert_file, b->cert_file) && same_text(a->key_file, b->key_file) &&
               same_text(a->server_name, b->server_name);
}

/* A look-up in progress, on an event loop of its own. */
struct look_up {
        struct event_base *base;
        struct io_wait *wait;
        struct resolver *resolver;
        struct event *woken;
        uint16_t port;
        struct net_endpoint *addresses;
        size_t count;
        bool answered;
        enum resolver_status status;
};

static void on_answer(const struct resolver_answer *answer, void *context)
{
        struct look_up *look_up = context;

        look_up->answered = true;
        look_up->status = answer->status;
        for (size_t i = 0; i < answer->address_count && look_up->count < SYSLOG_TARGET_MAX_ADDRESSES; i++)
                look_up->addresses[look_up->count++] =
                        (struct net_endpoint){ .address = answer->addresses[i], .port = look_up->port };
        event_base_loopbreak(look_up->base);
}

/* New settings end the look-up; a stop ends it when its time is over. */
static void on_woken(evutil_socket_t fd, short what, void *context)
{
        struct look_up *look_up = context;
        uint64_t stop_ms = atomic_load(&look_up->wait->stop_ms);
        uint64_t now_ms = clock_monotonic_ms();

        (void)fd;
        (void)what;
        wakeup_clear(&look_up->wait->wakeup);
        if (atomic_load(&look_up->wait->changed) || now_ms >= stop_ms) {
                event_base_loopbreak(look_up->base);
        } else if (stop_ms != UINT64_MAX) {
                struct timeval rest = clock_timeval(stop_ms - now_ms);
                event_base_loopexit(look_up->base, &rest);
        }
}

static int start_look_up(struct look_up *look_up, const struct syslog_target *target)
{
        struct resolver_query *query;
        int r;

        look_up->base = event_base_new();
        if (look_up->base == NULL)
                return -ENOMEM;
        look_up->woken = event_new(look_up->base, look_up->wait->wakeup.fd, EV_READ | EV_PERSIST, on_woken, look_up);
        if (look_up->woken == NULL || event_add(look_up->woken, NULL) == -1)
                return -ENOMEM;
        r = resolver_new(look_up->base, &target->dns, &look_up->resolver);
        return r < 0 ? r
                     : resolver_lookup(look_up->resolver, &target->server.name, true, true, on_answer, look_up, &query);
}

static void end_look_up(struct look_up *look_up)
{
        resolver_free(look_up->resolver);
        if (look_up->woken != NULL)
                event_free(look_up->woken);
        if (look_up->base != NULL)
                event_base_free(look_up->base);
}

static int judge_look_up(const struct look_up *look_up, char *error, size_t error_size)
{
        if (!look_up->answered)
                return atomic_load(&look_up->wait->changed) ? -ECANCELED : -ETIMEDOUT;
        if (look_up->count > 0)
                return 0;
        snprintf(error, error_size, "%s",
                 look_up->status == RESOLVER_NOT_FOUND ? "DNS says that the name has no address"
                                                       : "no DNS server of resolver.servers gave a usable answer");
        return -EADDRNOTAVAIL;
}

int syslog_target_look_up(const struct syslog_target *target, struct io_wait *wait,
                          struct net_endpoint addresses[SYSLOG_TARGET_MAX_ADDRESSES], size_t *ret_count, char *error,
                          size_t error_size)
{
        struct look_up look_up = { .wait = wait, .port = target->server.endpoint.port, .addresses = addresses };

        if (target->server.name.length == 0) {
                addresses[0] = target->server.endpoint;
                *ret_count = 1;
                return 0;
        }
        int r = start_look_up(&look_up, target);
        if (r == 0) {
                event_base_dispatch(look_up.base);
                r = judge_look_up(&look_up, error, error_size);
        }
        end_look_up(&look_up);
        if (r == 0)
                *ret_count = look_up.count;
        return r;
}
