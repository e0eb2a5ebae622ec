#include "net/dns_client.h"

#define CARES_NO_DEPRECATED /* what replaces these calls came with c-ares 1.28; Debian 12 has 1.18, Ubuntu 24.04 1.27 */
#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "inspect/dns_answer.h"

/*
 * Ids and source ports against forged answers: c-ares 1.18 sends the id that ares_send is given (ours, from the kernel's
 * random numbers), later ones draw their own. It keeps one UDP socket for each server as long as a question is in flight,
 * which under load is for ever, and knows no limit of questions per socket before 1.20. So a channel is replaced after
 * this many questions: the next one has new sockets, hence new random ports, with any version.
 */
#define CHANNEL_MAX_QUESTIONS 64
#define MAX_CHANNELS 256 /* when so many old ones wait for their answers, the newest just goes on; 75 KB each */

#define TRIES 2 /* of each server; c-ares doubles the waiting time for the second */
#define MIN_TRY_MS 100
#define EDNS_SIZE 1232 /* fits every path without fragments, DNS flag day 2020 */

struct zone;

/* A socket of c-ares in the event loop. */
struct server_socket {
        LIST_ENTRY(server_socket) link;
        struct event *event; /* owned */
        evutil_socket_t fd;
};

struct channel {
        TAILQ_ENTRY(channel) link; /* in client.channels */
        struct dns_client *client;
        struct zone *zone; /* whose newest channel it is; NULL: retired, freed after its last answer */
        ares_channel ares; /* owned */
        LIST_HEAD(, server_socket) watches;
        struct event timer;
        size_t asked_count;
        size_t running_count;
};

struct zone {
        struct fqdn name;             /* empty: the default servers */
        struct net_endpoint *servers; /* owned */
        size_t server_count;
        struct channel *channel; /* the newest; NULL: to be opened by the next question */
};

struct question {
        TAILQ_ENTRY(question) link; /* in client.answered */
        struct dns_client *client;
        struct channel *channel; /* until it is answered */
        dns_client_fn on_answer; /* this or on_message */
        dns_client_message_fn on_message;
        void *context;
        struct fqdn name;
        uint16_t type;
        enum dns_client_status status; /* from here on: when it is answered */
        size_t length;
        uint8_t *message; /* owned; NULL: none */
};

struct dns_client {
        struct event_base *base; /* borrowed */
        struct zone *zones;      /* owned; the first is the default */
        size_t zone_count;
        unsigned timeout_ms;
        TAILQ_HEAD(, channel) channels; /* owned; retired ones too */
        TAILQ_HEAD(, question) answered;
        struct event deliver;
        size_t channel_count;
        size_t question_count;
        size_t asked_count;
        bool closing;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void initialise_library(void)
{
        (void)ares_library_init(ARES_LIB_INIT_ALL); /* Does nothing on Linux that could fail. */
}

static void channel_on_timer(evutil_socket_t fd, short what, void *context);

/* Asks c-ares when it wants to be called next. Linear in the questions in flight, which CHANNEL_MAX_QUESTIONS bounds. */
static void channel_set_timer(struct channel *channel)
{
        struct timeval timeout;

        if (ares_timeout(channel->ares, NULL, &timeout) == NULL)
                (void)evtimer_del(&channel->timer);
        else
                (void)evtimer_add(&channel->timer, &timeout);
}

static void channel_free(struct channel *channel)
{
        struct dns_client *client = channel->client;

        ares_destroy(channel->ares); /* Runs callbacks of questions in flight: only when the client is closing. */
        (void)evtimer_del(&channel->timer);
        while (!LIST_EMPTY(&channel->watches)) { /* c-ares has reported them all as closed; be sure. */
                struct server_socket *watch = LIST_FIRST(&channel->watches);
                LIST_REMOVE(watch, link);
                event_free(watch->event);
                free(watch);
        }
        if (channel->zone != NULL)
                channel->zone->channel = NULL;
        TAILQ_REMOVE(&client->channels, channel, link);
        client->channel_count--;
        free(channel);
}

/* Call where no c-ares function of the channel is on the stack. */
static void channel_free_if_done(struct channel *channel)
{
        if (channel->zone == NULL && channel->running_count == 0)
                channel_free(channel);
}

static void channel_process(struct channel *channel, ares_socket_t readable, ares_socket_t writable)
{
        ares_process_fd(channel->ares, readable, writable);
        channel_set_timer(channel);
        channel_free_if_done(channel);
}

static void channel_on_timer(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        channel_process(context, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void channel_on_socket(evutil_socket_t fd, short what, void *context)
{
        channel_process(context, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                        (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
}

static void remove_watch(struct channel *channel, ares_socket_t fd)
{
        struct server_socket *watch;

        LIST_FOREACH(watch, &channel->watches, link)
        if (watch->fd == fd) {
                LIST_REMOVE(watch, link);
                event_free(watch->event);
                free(watch);
                return;
        }
}

/* c-ares wants to know when the socket is ready, or is about to close it (neither). */
static void channel_on_socket_state(void *context, ares_socket_t fd, int readable, int writable)
{
        struct channel *channel = context;
        short what = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);
        struct server_socket *watch;

        remove_watch(channel, fd);
        if (!readable && !writable)
                return;
        watch = calloc(1, sizeof(*watch));
        if (watch == NULL)
                return; /* The question times out. */
        watch->fd = fd;
        watch->event = event_new(channel->client->base, fd, what, channel_on_socket, channel);
        if (watch->event == NULL || event_add(watch->event, NULL) == -1) {
                if (watch->event != NULL)
                        event_free(watch->event);
                free(watch);
                return;
        }
        LIST_INSERT_HEAD(&channel->watches, watch, link);
}

/* The time for the first try of each server, so that all tries, each round of twice the time, end within the timeout. */
static int try_timeout_ms(const struct dns_client *client, const struct zone *zone)
{
        unsigned shares = ((1u << TRIES) - 1) * (unsigned)zone->server_count;
        unsigned timeout_ms = client->timeout_ms / shares;

        return timeout_ms < MIN_TRY_MS ? MIN_TRY_MS : (int)timeout_ms;
}

/*
 * A bare channel. Everything is given, so that c-ares reads no files: neither resolv.conf (/dev/null stands in) nor the
 * hosts file ("b"), nor search domains. The one server is replaced at once.
 */
static int open_ares(struct channel *channel, const struct zone *zone)
{
        char lookups[] = "b";
        char resolvconf[] = "/dev/null";
        struct in_addr placeholder = { 0 };
        struct ares_options options = {
                .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
                .timeout = try_timeout_ms(channel->client, zone),
                .tries = TRIES,
                .ndots = 1,
                .servers = &placeholder,
                .nservers = 1,
                .lookups = lookups,
                .sock_state_cb = channel_on_socket_state,
                .sock_state_cb_data = channel,
                .ednspsz = EDNS_SIZE,
                .resolvconf_path = resolvconf,
        };
        int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS |
                   ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ |
                   ARES_OPT_NOROTATE | ARES_OPT_RESOLVCONF;
#ifdef ARES_OPT_QUERY_CACHE
        mask |= ARES_OPT_QUERY_CACHE; /* qcache_max_ttl 0: the cache is ours. */
#endif
        return ares_init_options(&channel->ares, &options, mask);
}

static int set_servers(struct channel *channel, const struct zone *zone)
{
        struct ares_addr_port_node *nodes = calloc(zone->server_count, sizeof(*nodes));
        int status;

        if (nodes == NULL)
                return ARES_ENOMEM;
        for (size_t i = 0; i < zone->server_count; i++) {
                const struct net_endpoint *server = &zone->servers[i];
                nodes[i].next = i + 1 < zone->server_count ? &nodes[i + 1] : NULL;
                nodes[i].family = server->address.family;
                nodes[i].udp_port = server->port;
                nodes[i].tcp_port = server->port;
                if (server->address.family == AF_INET)
                        memcpy(&nodes[i].addr.addr4, server->address.bytes, sizeof(nodes[i].addr.addr4));
                else
                        memcpy(&nodes[i].addr.addr6, server->address.bytes, sizeof(nodes[i].addr.addr6));
        }
        status = ares_set_servers_ports(channel->ares, nodes);
        free(nodes);
        return status;
}

/* A channel to the zone's servers, not yet the zone's. */
static int channel_new(struct dns_client *client, const struct zone *zone, struct channel **ret)
{
        struct channel *channel = calloc(1, sizeof(*channel));
        int status;

        if (channel == NULL)
                return -ENOMEM;
        channel->client = client;
        LIST_INIT(&channel->watches);
        (void)evtimer_assign(&channel->timer, client->base, channel_on_timer, channel);
        status = open_ares(channel, zone);
        if (status != ARES_SUCCESS) {
                free(channel);
                return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
        }
        TAILQ_INSERT_TAIL(&client->channels, channel, link);
        client->channel_count++;
        status = set_servers(channel, zone);
        if (status != ARES_SUCCESS) {
                channel_free(channel);
                return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
        }
        *ret = channel;
        return 0;
}

/* The zone needs a new channel for its next question; the old one ends with its last answer. */
static void zone_retire_channel(struct zone *zone)
{
        struct channel *channel = zone->channel;

        if (channel == NULL)
                return;
        zone->channel = NULL;
        channel->zone = NULL;
        channel_free_if_done(channel);
}

static int zone_open_channel(struct dns_client *client, struct zone *zone)
{
        int r = channel_new(client, zone, &zone->channel);

        if (r == 0)
                zone->channel->zone = zone;
        return r;
}

static int zone_init(struct zone *zone, const struct fqdn *name, const struct net_endpoint *servers, size_t count)
{
        if (count == 0)
                return -EINVAL;
        zone->servers = calloc(count, sizeof(*zone->servers));
        if (zone->servers == NULL)
                return -ENOMEM;
        memcpy(zone->servers, servers, count * sizeof(*servers));
        zone->server_count = count;
        zone->name = *name;
        return 0;
}

static void zones_free(struct zone *zones, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                zone_retire_channel(&zones[i]);
                free(zones[i].servers);
        }
        free(zones);
}

/* Fills zones and opens each one's channel, which shows whether c-ares takes the servers. */
static int zones_fill(struct dns_client *client, const struct config *config, struct zone *zones)
{
        static const struct fqdn root = { 0 };
        int r = zone_init(&zones[0], &root, config->dns_servers, config->dns_server_count);

        for (size_t i = 0; i < config->forward_zone_count && r == 0; i++) {
                const struct config_forward_zone *forward = &config->forward_zones[i];
                r = zone_init(&zones[1 + i], &forward->zone, forward->servers, forward->server_count);
        }
        for (size_t i = 0; i < 1 + config->forward_zone_count && r == 0; i++)
                r = zone_open_channel(client, &zones[i]);
        return r;
}

int dns_client_reconfigure(struct dns_client *client, const struct config *config)
{
        size_t count = 1 + config->forward_zone_count;
        unsigned old_timeout_ms = client->timeout_ms;
        struct zone *zones = calloc(count, sizeof(*zones));
        int r;

        if (zones == NULL)
                return -ENOMEM;
        client->timeout_ms = config->resolve_timeout_ms;
        r = zones_fill(client, config, zones);
        if (r < 0) {
                client->timeout_ms = old_timeout_ms;
                zones_free(zones, count);
                return r;
        }
        zones_free(client->zones, client->zone_count);
        client->zones = zones;
        client->zone_count = count;
        return 0;
}

/* What the servers say, unjudged: which of the addresses may be dialled is for those to say who asked. */
static void parse_message(const struct question *question, struct dns_client_answer *ret)
{
        struct dns_answer answer;

        ret->status = DNS_CLIENT_FAILED;
        if (dns_answer_parse(question->message, question->length, &question->name, question->type, NULL, NULL,
                             &answer) != DNS_ANSWER_OK)
                return;
        ret->status = answer.address_count > 0 ? DNS_CLIENT_OK : DNS_CLIENT_NOT_FOUND;
        ret->ttl_s = answer.ttl_s;
        ret->address_count = answer.address_count;
        if (ret->address_count > DNS_CLIENT_MAX_ADDRESSES)
                ret->address_count = DNS_CLIENT_MAX_ADDRESSES;
        memcpy(ret->addresses, answer.addresses, ret->address_count * sizeof(*ret->addresses));
}

static void deliver_answer(const struct question *question)
{
        struct dns_client_answer answer = { .status = question->status };

        if (question->status == DNS_CLIENT_OK)
                parse_message(question, &answer);
        question->on_answer(&answer, question->context);
}

static void deliver_message(const struct question *question)
{
        struct dns_client_message message = {
                .status = question->status,
                .bytes = question->message,
                .length = question->length,
        };

        question->on_message(&message, question->context);
}

static void question_free(struct question *question)
{
        free(question->message);
        free(question);
}

/* Outside c-ares, so that callbacks may ask again. */
static void on_deliver(evutil_socket_t fd, short what, void *context)
{
        struct dns_client *client = context;

        (void)fd;
        (void)what;
        while (!TAILQ_EMPTY(&client->answered)) {
                struct question *question = TAILQ_FIRST(&client->answered);
                TAILQ_REMOVE(&client->answered, question, link);
                client->question_count--;
                if (question->on_message != NULL)
                        deliver_message(question);
                else
                        deliver_answer(question);
                question_free(question);
        }
}

int dns_client_new(struct event_base *base, const struct config *config, struct dns_client **ret)
{
        struct dns_client *client = calloc(1, sizeof(*client));
        int r;

        (void)pthread_once(&library_once, initialise_library); /* Fails only for an invalid control block. */
        if (client == NULL)
                return -ENOMEM;
        client->base = base;
        TAILQ_INIT(&client->channels);
        TAILQ_INIT(&client->answered);
        (void)evtimer_assign(&client->deliver, base, on_deliver, client);
        r = dns_client_reconfigure(client, config);
        if (r < 0) {
                dns_client_free(client);
                return r;
        }
        *ret = client;
        return 0;
}

void dns_client_free(struct dns_client *client)
{
        if (client == NULL)
                return;
        client->closing = true; /* Callbacks that ares_destroy runs only put their questions on the answered list. */
        while (!TAILQ_EMPTY(&client->channels))
                channel_free(TAILQ_FIRST(&client->channels));
        while (!TAILQ_EMPTY(&client->answered)) {
                struct question *question = TAILQ_FIRST(&client->answered);
                TAILQ_REMOVE(&client->answered, question, link);
                question_free(question);
        }
        (void)event_del(&client->deliver);
        zones_free(client->zones, client->zone_count);
        free(client);
}

/* c-ares keeps the message only until its callback returns. */
static void keep_message(struct question *question, const unsigned char *message, int length)
{
        question->status = DNS_CLIENT_FAILED;
        question->message = malloc((size_t)length);
        if (question->message == NULL)
                return;
        memcpy(question->message, message, (size_t)length);
        question->length = (size_t)length;
        question->status = DNS_CLIENT_OK;
}

/* The end of a question on the network, or before it got there. May run inside ares_send or ares_destroy. */
static void question_on_message(void *context, int status, int timeouts, unsigned char *message, int length)
{
        struct question *question = context;
        struct dns_client *client = question->client;

        (void)timeouts;
        if (status == ARES_SUCCESS)
                keep_message(question, message, length);
        else if (status == ARES_ENOTFOUND) /* .onion names, RFC 7686 */
                question->status = DNS_CLIENT_NOT_FOUND;
        else
                question->status = status == ARES_ETIMEOUT ? DNS_CLIENT_TIMED_OUT : DNS_CLIENT_FAILED;
        if (question->channel != NULL)
                question->channel->running_count--;
        question->channel = NULL;
        TAILQ_INSERT_TAIL(&client->answered, question, link);
        if (!client->closing)
                event_active(&client->deliver, EV_TIMEOUT, 0);
}

static struct zone *find_zone(struct dns_client *client, const struct fqdn *name)
{
        struct zone *best = &client->zones[0];

        for (size_t i = 1; i < client->zone_count; i++)
                if (fqdn_is_within(name, &client->zones[i].name) && client->zones[i].name.length > best->name.length)
                        best = &client->zones[i];
        return best;
}

/* The zone's channel, a new one when it is worn. NULL: out of memory or descriptors. */
static struct channel *zone_channel(struct dns_client *client, struct zone *zone)
{
        if (zone->channel != NULL && zone->channel->asked_count >= CHANNEL_MAX_QUESTIONS &&
            client->channel_count < MAX_CHANNELS)
                zone_retire_channel(zone);
        if (zone->channel == NULL && zone_open_channel(client, zone) < 0)
                return NULL;
        return zone->channel;
}

/*
 * The flags that ares_create_query does not know, in what it wrote: CD in the header (RFC 4035 3.2.2), DO in the OPT record
 * (RFC 3225 3), with which the message ends:
 *
 *   +---+------+------+---------------+---------+---------+----------+
 *   | 0 | type | size | rcode version | DO, 0 … |    0    | length 0 |
 *   +---+------+------+---------------+---------+---------+----------+
 */
static void set_flags(unsigned char *message, int length, unsigned flags)
{
        if ((flags & DNS_CLIENT_CHECKING_DISABLED) != 0)
                message[3] |= 0x10;
        if ((flags & DNS_CLIENT_DNSSEC_OK) != 0)
                message[length - 4] |= 0x80;
}

/* Hands the question to c-ares, which may call question_on_message at once. */
static int send_question(struct question *question, struct channel *channel, const struct fqdn *name, unsigned flags)
{
        unsigned short id = (unsigned short)hash_random();
        unsigned char *message = NULL;
        int length = 0;
        int status = ares_create_query(name->text, ns_c_in, question->type, id, 1, &message, &length, EDNS_SIZE);

        if (status != ARES_SUCCESS)
                return status;
        set_flags(message, length, flags);
        question->channel = channel;
        channel->asked_count++;
        channel->running_count++;
        question->client->asked_count++;
        ares_send(channel->ares, message, length, question_on_message, question);
        ares_free_string(message);
        channel_set_timer(channel);
        return ARES_SUCCESS;
}

/* Asks what the question (a copy of it) says. Returns 0 or -ENOMEM. */
static int ask(const struct question *what, const struct fqdn *name, unsigned flags)
{
        struct dns_client *client = what->client;
        struct question *question = malloc(sizeof(*question));
        struct channel *channel = NULL;
        int status = ARES_EREFUSED;

        if (question == NULL)
                return -ENOMEM;
        *question = *what;
        question->name = *name;
        client->question_count++;
        if (client->question_count <= DNS_CLIENT_MAX_QUESTIONS)
                channel = zone_channel(client, find_zone(client, name));
        if (channel != NULL)
                status = send_question(question, channel, name, flags);
        if (status != ARES_SUCCESS)
                question_on_message(question, status, 0, NULL, 0);
        return 0;
}

int dns_client_ask(struct dns_client *client, const struct fqdn *name, int family, dns_client_fn on_answer,
                   void *context)
{
        struct question question = {
                .client = client,
                .on_answer = on_answer,
                .context = context,
                .type = family == AF_INET6 ? ns_t_aaaa : ns_t_a,
        };

        return ask(&question, name, 0);
}

int dns_client_ask_message(struct dns_client *client, const struct fqdn *name, uint16_t type, unsigned flags,
                           dns_client_message_fn on_message, void *context)
{
        struct question question = { .client = client, .on_message = on_message, .context = context, .type = type };

        return ask(&question, name, flags);
}

size_t dns_client_asked_count(const struct dns_client *client)
{
        return client->asked_count;
}
