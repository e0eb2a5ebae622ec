#include "traffic/name_refresher.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/dns_client.h"

#define FAMILIES 2
#define SPREAD_MS 2 /* between the first questions for two new names */

/* One name, alive while it is wanted or a question for it is in flight (a question cannot be taken back). */
struct refreshed_name {
        LIST_ENTRY(refreshed_name) link; /* in refresher.all */
        struct name_refresher *refresher;
        struct fqdn name;
        struct event timer;
        bool wanted;
        bool asked;         /* for the first time, or about to be */
        bool failed_before; /* said in the log */
        unsigned in_flight;
        bool failed;                  /* in this round */
        uint32_t next_s;              /* the least TTL of this round */
        size_t known_count[FAMILIES]; /* of the last answer that there was */
        struct net_address known[FAMILIES][DNS_CLIENT_MAX_ADDRESSES];
};

struct name_refresher {
        struct event_base *base;           /* borrowed */
        struct learned_addresses *learned; /* borrowed */
        struct dns_client *client;         /* owned */
        LIST_HEAD(, refreshed_name) all;   /* owned; with those that only wait for an answer */
        struct refreshed_name **names;     /* the wanted ones, sorted */
        size_t count;
        struct event commit; /* what several answers brought is one batch */
};

static const int families[FAMILIES] = { AF_INET, AF_INET6 };

static void schedule(struct refreshed_name *name, uint64_t delay_ms)
{
        struct timeval delay = clock_timeval(delay_ms);

        (void)evtimer_add(&name->timer, &delay);
}

/* It logs. What was refused is not in the kernel until its name is answered again, so that must be soon. */
static void on_commit(evutil_socket_t fd, short what, void *context)
{
        struct name_refresher *refresher = context;

        (void)fd;
        (void)what;
        if (learned_addresses_commit(refresher->learned) == 0)
                return;
        for (size_t i = 0; i < refresher->count; i++) {
                struct refreshed_name *name = refresher->names[i];
                name->next_s = NAME_REFRESHER_MIN_S;
                if (name->in_flight == 0 && name->known_count[0] + name->known_count[1] > 0)
                        schedule(name, NAME_REFRESHER_MIN_S * 1000);
        }
}

static void learn(struct refreshed_name *name, size_t family, uint32_t ttl_s)
{
        struct name_refresher *refresher = name->refresher;

        if (learned_addresses_add(refresher->learned, NULL, &name->name, name->known[family], name->known_count[family],
                                  ttl_s) < 0)
                name->failed = true;
        event_active(&refresher->commit, EV_TIMEOUT, 0);
}

/* Every question of a round is answered. */
static void finish_round(struct refreshed_name *name)
{
        uint32_t next_s = name->failed || name->next_s < NAME_REFRESHER_MIN_S ? NAME_REFRESHER_MIN_S : name->next_s;

        if (name->failed && !name->failed_before)
                log_warning("'%s', of a network rule, cannot be resolved: what is known of it stays, asking again",
                            name->name.text);
        if (!name->failed && name->failed_before)
                log_info("'%s' is resolved again", name->name.text);
        name->failed_before = name->failed;
        schedule(name, (uint64_t)(next_s < NAME_REFRESHER_MAX_S ? next_s : NAME_REFRESHER_MAX_S) * 1000);
}

static void take_answer(struct refreshed_name *name, size_t family, const struct dns_client_answer *answer)
{
        switch (answer->status) {
        case DNS_CLIENT_OK:
                name->known_count[family] = answer->address_count;
                memcpy(name->known[family], answer->addresses, answer->address_count * sizeof(*answer->addresses));
                learn(name, family, answer->ttl_s);
                break;
        case DNS_CLIENT_NOT_FOUND:
                name->known_count[family] = 0;
                break;
        case DNS_CLIENT_FAILED:
        case DNS_CLIENT_TIMED_OUT:
                name->failed = true;
                learn(name, family, NAME_REFRESHER_MIN_S);
                return;
        }
        name->next_s = answer->ttl_s < name->next_s ? answer->ttl_s : name->next_s;
}

static void name_free(struct refreshed_name *name)
{
        (void)evtimer_del(&name->timer);
        LIST_REMOVE(name, link);
        free(name);
}

static void on_answer(struct refreshed_name *name, size_t family, const struct dns_client_answer *answer)
{
        name->in_flight--;
        if (!name->wanted) {
                if (name->in_flight == 0)
                        name_free(name);
                return;
        }
        take_answer(name, family, answer);
        if (name->in_flight == 0)
                finish_round(name);
}

static void on_ipv4(const struct dns_client_answer *answer, void *context)
{
        on_answer(context, 0, answer);
}

static void on_ipv6(const struct dns_client_answer *answer, void *context)
{
        on_answer(context, 1, answer);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
        static const dns_client_fn on_family[FAMILIES] = { on_ipv4, on_ipv6 };
        struct refreshed_name *name = context;

        (void)fd;
        (void)what;
        name->failed = false;
        name->next_s = NAME_REFRESHER_MAX_S;
        for (size_t i = 0; i < FAMILIES; i++) {
                if (dns_client_ask(name->refresher->client, &name->name, families[i], on_family[i], name) == 0)
                        name->in_flight++;
                else
                        name->failed = true;
        }
        if (name->in_flight == 0)
                finish_round(name);
}

static struct refreshed_name *name_new(struct name_refresher *refresher, const struct fqdn *fqdn)
{
        struct refreshed_name *name = calloc(1, sizeof(*name));

        if (name == NULL)
                return NULL;
        name->refresher = refresher;
        name->name = *fqdn;
        name->wanted = true;
        (void)evtimer_assign(&name->timer, refresher->base, on_timer, name);
        LIST_INSERT_HEAD(&refresher->all, name, link);
        return name;
}

static void name_drop(struct refreshed_name *name)
{
        (void)evtimer_del(&name->timer);
        name->wanted = false;
        if (name->in_flight == 0)
                name_free(name);
}

static struct refreshed_name *find(const struct name_refresher *refresher, const char *text)
{
        size_t low = 0, high = refresher->count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(text, refresher->names[middle]->name.text);
                if (order == 0)
                        return refresher->names[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

/* Frees a list of names but none that is in use. */
static void discard_new(struct refreshed_name **names, size_t count)
{
        for (size_t i = 0; i < count; i++)
                if (!names[i]->asked)
                        name_free(names[i]);
        free(names);
}

int name_refresher_new(struct event_base *base, const struct config *config, struct learned_addresses *learned,
                       struct name_refresher **ret)
{
        struct name_refresher *refresher = calloc(1, sizeof(*refresher));

        if (refresher == NULL)
                return -ENOMEM;
        refresher->base = base;
        refresher->learned = learned;
        LIST_INIT(&refresher->all);
        (void)evtimer_assign(&refresher->commit, base, on_commit, refresher);
        int r = dns_client_new(base, config, &refresher->client);
        if (r < 0) {
                free(refresher);
                return r;
        }
        *ret = refresher;
        return 0;
}

void name_refresher_free(struct name_refresher *refresher)
{
        if (refresher == NULL)
                return;
        dns_client_free(refresher->client); /* Questions in flight end without a callback. */
        while (!LIST_EMPTY(&refresher->all))
                name_free(LIST_FIRST(&refresher->all));
        (void)evtimer_del(&refresher->commit);
        free(refresher->names);
        free(refresher);
}

/* Where an address was known before the first answer (an earlier daemon's), it counts as the last answer. */
static void on_known(const char *text, const struct net_address *address, void *context)
{
        struct name_refresher *refresher = context;
        struct refreshed_name *name = find(refresher, text);
        size_t family = address->family == AF_INET ? 0 : 1;

        if (name != NULL && !name->asked && name->known_count[family] < DNS_CLIENT_MAX_ADDRESSES)
                name->known[family][name->known_count[family]++] = *address;
}

/* The names as they are to be: those that are there already, and new ones. NULL: out of memory, nothing is changed. */
static struct refreshed_name **merge(struct name_refresher *refresher, const struct fqdn *names, size_t count)
{
        struct refreshed_name **merged = calloc(count + 1, sizeof(struct refreshed_name *)); /* never zero bytes */

        for (size_t i = 0; merged != NULL && i < count; i++) {
                merged[i] = find(refresher, names[i].text);
                if (merged[i] == NULL)
                        merged[i] = name_new(refresher, &names[i]);
                if (merged[i] == NULL) {
                        discard_new(merged, i);
                        return NULL;
                }
        }
        return merged;
}

/* Both lists are sorted. */
static void drop_unwanted(struct name_refresher *refresher, const struct fqdn *names, size_t count)
{
        size_t next = 0;

        for (size_t i = 0; i < refresher->count; i++) {
                while (next < count && strcmp(names[next].text, refresher->names[i]->name.text) < 0)
                        next++;
                if (next == count || !fqdn_equal(&names[next], &refresher->names[i]->name))
                        name_drop(refresher->names[i]);
        }
}

static void ask_for_new_names(struct name_refresher *refresher)
{
        uint64_t delay_ms = 0;

        learned_addresses_recall(refresher->learned, on_known, refresher);
        for (size_t i = 0; i < refresher->count; i++) {
                struct refreshed_name *name = refresher->names[i];
                if (name->asked)
                        continue;
                name->asked = true;
                schedule(name, delay_ms);
                delay_ms += SPREAD_MS;
        }
}

/* The new policy may permit more of the last answer, or another cluster may want it: neither waits for the next one. */
static void learn_again(struct name_refresher *refresher)
{
        for (size_t i = 0; i < refresher->count; i++)
                for (size_t family = 0; family < FAMILIES; family++)
                        if (refresher->names[i]->known_count[family] > 0)
                                learn(refresher->names[i], family, NAME_REFRESHER_MIN_S);
}

int name_refresher_set(struct name_refresher *refresher, const struct config *config, const struct fqdn *names,
                       size_t count)
{
        struct refreshed_name **merged = merge(refresher, names, count);

        if (merged == NULL)
                return -ENOMEM;
        int r = dns_client_reconfigure(refresher->client, config);
        if (r < 0) {
                discard_new(merged, count);
                return r;
        }
        drop_unwanted(refresher, names, count);
        free(refresher->names);
        refresher->names = merged;
        refresher->count = count;
        ask_for_new_names(refresher);
        learn_again(refresher);
        return 0;
}
