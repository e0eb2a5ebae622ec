#include "traffic/dns_listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traffic/dns_request.h"
#include "traffic/dns_stream.h"
#include "traffic/dns_udp.h"
#include "traffic/listener.h"

struct dns_listener {
        struct dns_requests *requests;
        struct dns_udp *udp;
        struct dns_streams *streams;
        struct listener *accepting; /* NULL: draining */
};

static int open_services(struct dns_listener *listener, struct traffic *traffic, struct learned_school *school,
                         const struct config *config)
{
        int r = dns_requests_new(traffic, school, config, &listener->requests);

        return r < 0 ? r : dns_streams_new(listener->requests, &listener->streams);
}

static int open_sockets(struct dns_listener *listener, struct traffic *traffic, const struct net_endpoint *endpoint,
                        char *error, size_t error_size)
{
        int r = dns_udp_new(listener->requests, endpoint, error, error_size, &listener->udp);

        if (r < 0)
                return r;
        return listener_new_handing_on(traffic, DECISION_LISTENER_DNS, endpoint, dns_stream_start, listener->streams,
                                       error, error_size, &listener->accepting);
}

int dns_listener_new(struct traffic *traffic, struct learned_school *school, const struct config *config, char *error,
                     size_t error_size, struct dns_listener **ret)
{
        struct dns_listener *listener = calloc(1, sizeof(*listener));
        int r = -ENOMEM;

        if (listener != NULL)
                r = open_services(listener, traffic, school, config);
        if (r < 0)
                snprintf(error, error_size, "listen.dns: %s", strerror(-r));
        else
                r = open_sockets(listener, traffic, &config->dns.endpoint, error, error_size);
        if (r < 0) {
                dns_listener_free(listener);
                return r;
        }
        *ret = listener;
        return 0;
}

int dns_listener_reconfigure(struct dns_listener *listener, const struct config *config)
{
        return dns_lookups_reconfigure(listener->requests->lookups, config);
}

void dns_listener_drain(struct dns_listener *listener)
{
        listener_free(listener->accepting);
        listener->accepting = NULL;
        dns_udp_drain(listener->udp);
        dns_streams_drain(listener->streams);
}

bool dns_listener_is_idle(const struct dns_listener *listener)
{
        return listener == NULL || (dns_udp_is_idle(listener->udp) && dns_streams_count(listener->streams) == 0);
}

void dns_listener_close_all(struct dns_listener *listener, enum reason reason)
{
        if (listener == NULL)
                return;
        dns_udp_end_queries(listener->udp, reason);
        dns_streams_close(listener->streams, reason);
}

void dns_listener_free(struct dns_listener *listener)
{
        if (listener == NULL)
                return;
        listener_free(listener->accepting);
        dns_udp_free(listener->udp);
        dns_streams_free(listener->streams);
        dns_requests_free(listener->requests);
        free(listener);
}
