#include "policy/rule_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text_builder.h"
#include "policy/large_block.h"
#include "policy/name_set.h"
#include "policy/prefix_set.h"
#include "policy/text_table.h"

#define NO_RECORD UINT32_MAX

/* One rule; those of one name or prefix are a chain in the order they were added. */
struct record {
        uint32_t next;
        uint32_t line;
        uint16_t origin;
        uint16_t service;
};

/* A protocol with its ports, shared by all rules that have the same. */
struct service {
        enum policy_protocol protocol;
        struct port_set ports;
};

struct rule_set {
        struct name_set *names;      /* numbers are first records */
        struct prefix_set *prefixes; /* likewise */
        struct service_tags *tags;   /* borrowed; NULL: none */
        uint32_t *first_by_tag;      /* first records; NO_RECORD: no rule for the tag */
        size_t tag_count;
        struct text_table *services_by_text;
        struct service *services;
        size_t service_count;
        size_t service_size;
        struct rule_origin *origins;
        size_t origin_count;
        size_t origin_size;
        struct record *records;
        size_t record_count;
        size_t record_size;
        unsigned protocols; /* bits of those that occur */
        bool keep_duplicates;
};

struct rule_set *rule_set_new(void)
{
        struct rule_set *set = calloc(1, sizeof(*set));

        if (set == NULL)
                return NULL;
        set->names = name_set_new();
        set->prefixes = prefix_set_new();
        set->services_by_text = text_table_new();
        if (set->names == NULL || set->prefixes == NULL || set->services_by_text == NULL) {
                rule_set_free(set);
                return NULL;
        }
        return set;
}

void rule_set_free(struct rule_set *set)
{
        if (set == NULL)
                return;
        name_set_free(set->names);
        prefix_set_free(set->prefixes);
        text_table_free(set->services_by_text);
        free(set->first_by_tag);
        free(set->services);
        free(set->origins);
        free(set->records);
        free(set);
}

void rule_set_keep_duplicates(struct rule_set *set)
{
        set->keep_duplicates = true;
}

void rule_set_use_tags(struct rule_set *set, struct service_tags *tags)
{
        set->tags = tags;
}

/* Makes room for one more item; *array is unchanged on failure. */
static int reserve(void **array, size_t count, size_t *size, size_t item_size)
{
        size_t new_size = *size < 16 ? 16 : *size + *size / 2;

        if (count < *size)
                return 0;
        void *grown = reallocarray(*array, new_size, item_size);
        if (grown == NULL)
                return -ENOMEM;
        *array = grown;
        *size = new_size;
        return 0;
}

int rule_set_add_origin(struct rule_set *set, const struct rule_origin *origin, uint16_t *ret)
{
        void *origins = set->origins;

        if (set->origin_count == RULE_SET_MAX_ORIGINS)
                return -E2BIG;
        int r = reserve(&origins, set->origin_count, &set->origin_size, sizeof(*set->origins));
        if (r < 0)
                return r;
        set->origins = origins;
        *ret = (uint16_t)set->origin_count;
        set->origins[set->origin_count++] = *origin;
        return 0;
}

static int append_service(struct rule_set *set, const struct rule_filled *rule)
{
        void *services = set->services;

        if (set->service_count == RULE_SET_MAX_SERVICES)
                return -E2BIG;
        int r = reserve(&services, set->service_count, &set->service_size, sizeof(*set->services));
        if (r < 0)
                return r;
        set->services = services;
        set->services[set->service_count++] = (struct service){ .protocol = rule->protocol, .ports = rule->ports };
        set->protocols |= 1u << rule->protocol;
        return 0;
}

/* Finds or adds the pair of protocol and ports, by its text. */
static int intern_service(struct rule_set *set, const struct rule_filled *rule, uint16_t *ret)
{
        char text[1 + PORT_SET_TEXT_SIZE];
        uint32_t entry;

        text[0] = (char)('0' + (int)rule->protocol);
        size_t length = 1 + port_set_format(&rule->ports, text + 1);
        entry = text_table_find(set->services_by_text, text, length);
        if (entry == TEXT_TABLE_NONE) {
                int r = append_service(set, rule);
                if (r == 0)
                        r = text_table_add(set->services_by_text, text, length, &entry);
                if (r < 0)
                        return r;
                text_table_set_number(set->services_by_text, entry, (uint32_t)set->service_count - 1);
        }
        *ret = (uint16_t)text_table_number(set->services_by_text, entry);
        return 0;
}

/*
 * Adds record to the end of the chain whose first record is *first, unless the chain has its service already and
 * duplicates are not kept.
 */
static int append_record(struct rule_set *set, uint32_t *first, struct record record)
{
        uint32_t *link = first;
        void *records = set->records;

        if (set->record_count >= NO_RECORD)
                return -EOVERFLOW;
        int r = reserve(&records, set->record_count, &set->record_size, sizeof(*set->records));
        if (r < 0)
                return r;
        set->records = records;
        while (*link != NO_RECORD) {
                if (set->records[*link].service == record.service && !set->keep_duplicates)
                        return 0;
                link = &set->records[*link].next;
        }
        *link = (uint32_t)set->record_count;
        set->records[set->record_count++] = record;
        return 0;
}

static int add_name(struct rule_set *set, const struct destination *destination, struct record record)
{
        uint32_t entry, first;
        int r = name_set_add(set->names, destination->text, destination->length, &entry);

        if (r < 0)
                return r;
        first = name_set_number(set->names, entry);
        r = append_record(set, &first, record);
        name_set_set_number(set->names, entry, first);
        return r;
}

static int add_prefix(struct rule_set *set, const struct net_prefix *prefix, struct record record)
{
        uint32_t entry, first;
        int r = prefix_set_add(set->prefixes, prefix, &entry);

        if (r < 0)
                return r;
        first = prefix_set_number(set->prefixes, entry);
        r = append_record(set, &first, record);
        prefix_set_set_number(set->prefixes, entry, first);
        return r;
}

static int reserve_tag(struct rule_set *set, uint32_t tag)
{
        uint32_t *first_by_tag;

        if (tag < set->tag_count)
                return 0;
        first_by_tag = reallocarray(set->first_by_tag, (size_t)tag + 1, sizeof(*first_by_tag));
        if (first_by_tag == NULL)
                return -ENOMEM;
        set->first_by_tag = first_by_tag;
        while (set->tag_count <= tag)
                first_by_tag[set->tag_count++] = NO_RECORD;
        return 0;
}

static int add_tag(struct rule_set *set, const struct destination *destination, struct record record)
{
        uint32_t tag;
        int r = set->tags == NULL ? -ENOENT : service_tags_use(set->tags, destination->text, destination->length, &tag);

        if (r == 0)
                r = reserve_tag(set, tag);
        return r < 0 ? r : append_record(set, &set->first_by_tag[tag], record);
}

int rule_set_add(struct rule_set *set, const struct rule_filled *rule, uint16_t origin, unsigned line)
{
        struct record record = { .next = NO_RECORD, .line = line, .origin = origin };
        int r = intern_service(set, rule, &record.service);

        switch (rule->destination.kind) {
        case DESTINATION_NAME:
                return r < 0 ? r : add_name(set, &rule->destination, record);
        case DESTINATION_PREFIXES:
                for (size_t i = 0; i < rule->destination.prefix_count && r == 0; i++)
                        r = add_prefix(set, &rule->destination.prefixes[i], record);
                return r;
        case DESTINATION_TAG:
                return r < 0 ? r : add_tag(set, &rule->destination, record);
        }
        return -EINVAL;
}

static bool record_fits(const struct rule_set *set, uint32_t record, const struct rule_query *query)
{
        const struct service *service = &set->services[set->records[record].service];

        return (query->protocols >> service->protocol & 1) != 0 &&
               (query->port == 0 || port_set_contains(&service->ports, query->port));
}

/* Calls back for the fitting records of a chain; false: the callback wants no more. */
static bool each_in_chain(const struct rule_query *query, uint32_t first, struct rule_match *match,
                          rule_set_match_fn on_match, void *context)
{
        for (uint32_t i = first; i != NO_RECORD; i = match->set->records[i].next) {
                match->record = i;
                if (record_fits(match->set, i, query) && !on_match(match, context))
                        return false;
        }
        return true;
}

static bool each_name_match(const struct rule_set *set, const struct rule_query *query, rule_set_match_fn on_match,
                            void *context)
{
        struct name_set_hit hits[NAME_SET_MAX_HITS];
        size_t count = name_set_find(set->names, query->name, hits);

        for (size_t i = 0; i < count; i++) {
                struct rule_match match = { .set = set, .entry = hits[i].entry, .specificity = hits[i].specificity };
                if (!each_in_chain(query, name_set_number(set->names, hits[i].entry), &match, on_match, context))
                        return false;
        }
        return true;
}

static bool each_prefix_match(const struct rule_set *set, const struct rule_query *query, rule_set_match_fn on_match,
                              void *context)
{
        uint32_t entries[PREFIX_SET_MAX_HITS];
        size_t count = prefix_set_find(set->prefixes, query->address, entries);

        for (size_t i = 0; i < count; i++) {
                struct rule_match match = { .set = set, .entry = entries[i], .kind = RULE_MATCH_PREFIX };
                match.specificity = prefix_set_prefix(set->prefixes, entries[i]).length;
                if (!each_in_chain(query, prefix_set_number(set->prefixes, entries[i]), &match, on_match, context))
                        return false;
        }
        return true;
}

/* What on_tag must know. */
struct tag_search {
        const struct rule_set *set;
        const struct rule_query *query;
        rule_set_match_fn on_match;
        void *context;
};

static bool on_tag(uint32_t tag, unsigned prefix_length, void *context)
{
        const struct tag_search *search = context;
        struct rule_match match = {
                .set = search->set, .entry = tag, .kind = RULE_MATCH_TAG, .specificity = prefix_length
        };

        if (tag >= search->set->tag_count)
                return true;
        return each_in_chain(search->query, search->set->first_by_tag[tag], &match, search->on_match, search->context);
}

static bool each_tag_match(const struct rule_set *set, const struct rule_query *query, rule_set_match_fn on_match,
                           void *context)
{
        struct tag_search search = { set, query, on_match, context };

        return set->tag_count == 0 || service_tags_each(set->tags, query->address, on_tag, &search);
}

void rule_set_each_match(const struct rule_set *set, const struct rule_query *query, rule_set_match_fn on_match,
                         void *context)
{
        if ((set->protocols & query->protocols) == 0)
                return;
        if (query->name != NULL && query->name->length > 0 && !each_name_match(set, query, on_match, context))
                return;
        if (query->address == NULL || query->address->family == AF_UNSPEC)
                return;
        if (each_prefix_match(set, query, on_match, context))
                (void)each_tag_match(set, query, on_match, context); /* Nothing comes after it. */
}

static bool keep_first(const struct rule_match *match, void *context)
{
        struct rule_match *first = context;

        *first = *match;
        return false;
}

/* A name says more about what a client wants than its address does, and a prefix more than a list of them. */
static bool is_better(const struct rule_match *found, const struct rule_match *best)
{
        if (best->set == NULL)
                return true;
        if (found->kind != best->kind)
                return found->kind < best->kind;
        return found->specificity > best->specificity;
}

bool rule_set_match(const struct rule_set *set, const struct rule_query *query, struct rule_match *match)
{
        struct rule_match found = { 0 };

        rule_set_each_match(set, query, keep_first, &found);
        if (found.set == NULL || !is_better(&found, match))
                return false;
        *match = found;
        return true;
}

static bool each_name(const struct rule_set *set, const struct rule_query *query, rule_set_match_fn on_rule,
                      void *context)
{
        for (uint32_t entry = name_set_first(set->names); entry != NAME_SET_NONE;
             entry = name_set_next(set->names, entry)) {
                struct rule_match match = { .set = set, .entry = entry, .kind = RULE_MATCH_NAME };
                if (!each_in_chain(query, name_set_number(set->names, entry), &match, on_rule, context))
                        return false;
        }
        return true;
}

static bool each_prefix(const struct rule_set *set, const struct rule_query *query, rule_set_match_fn on_rule,
                        void *context)
{
        for (uint32_t entry = prefix_set_first(set->prefixes); entry != PREFIX_SET_NONE;
             entry = prefix_set_next(set->prefixes, entry)) {
                struct rule_match match = { .set = set, .entry = entry, .kind = RULE_MATCH_PREFIX };
                if (!each_in_chain(query, prefix_set_number(set->prefixes, entry), &match, on_rule, context))
                        return false;
        }
        return true;
}

void rule_set_each(const struct rule_set *set, unsigned protocols, rule_set_match_fn on_rule, void *context)
{
        const struct rule_query query = { .protocols = protocols };

        if ((set->protocols & protocols) == 0 || !each_name(set, &query, on_rule, context) ||
            !each_prefix(set, &query, on_rule, context))
                return;
        for (uint32_t tag = 0; tag < set->tag_count; tag++) {
                struct rule_match match = { .set = set, .entry = tag, .kind = RULE_MATCH_TAG };
                if (!each_in_chain(&query, set->first_by_tag[tag], &match, on_rule, context))
                        return;
        }
}

bool rule_set_match_below(const struct rule_set *set, const struct rule_query *query, struct rule_match *match)
{
        uint32_t entry = name_set_find_below(set->names, query->name);
        struct rule_match found = { .set = set, .entry = entry };

        if (entry == NAME_SET_NONE)
                return false;
        return !each_in_chain(query, name_set_number(set->names, entry), &found, keep_first, match);
}

static const struct record *record_of(const struct rule_match *match)
{
        return &match->set->records[match->record];
}

struct rule_origin rule_match_origin(const struct rule_match *match)
{
        return match->set->origins[record_of(match)->origin];
}

unsigned rule_match_line(const struct rule_match *match)
{
        return record_of(match)->line;
}

enum policy_protocol rule_match_protocol(const struct rule_match *match)
{
        return match->set->services[record_of(match)->service].protocol;
}

const struct port_set *rule_match_ports(const struct rule_match *match)
{
        return &match->set->services[record_of(match)->service].ports;
}

size_t rule_match_pattern(const struct rule_match *match, char pattern[FQDN_MAX_LENGTH + 1])
{
        return name_set_pattern(match->set->names, match->entry, pattern);
}

void rule_match_each_prefix(const struct rule_match *match, rule_match_prefix_fn on_prefix, void *context)
{
        struct net_prefix prefix;
        const struct net_prefix *prefixes;
        size_t count;

        switch (match->kind) {
        case RULE_MATCH_NAME:
                return;
        case RULE_MATCH_PREFIX:
                prefix = prefix_set_prefix(match->set->prefixes, match->entry);
                on_prefix(&prefix, context);
                return;
        case RULE_MATCH_TAG:
                prefixes = service_tags_prefixes(match->set->tags, match->entry, &count);
                for (size_t i = 0; i < count; i++)
                        on_prefix(&prefixes[i], context);
                return;
        }
}

static void put_prefix(const struct net_prefix *prefix, struct text_builder *builder)
{
        char text[NET_PREFIX_TEXT_SIZE];

        text_builder_byte(builder, '[');
        text_builder_text(builder, net_prefix_format(prefix, text));
        text_builder_byte(builder, ']');
}

static void put_destination(const struct rule_match *match, struct text_builder *builder)
{
        char text[FQDN_MAX_LENGTH + 1];
        struct net_prefix prefix;

        switch (match->kind) {
        case RULE_MATCH_NAME:
                text_builder_bytes(builder, text, name_set_pattern(match->set->names, match->entry, text));
                break;
        case RULE_MATCH_PREFIX:
                prefix = prefix_set_prefix(match->set->prefixes, match->entry);
                put_prefix(&prefix, builder);
                break;
        case RULE_MATCH_TAG:
                text_builder_text(builder, "tag:");
                text_builder_text(builder, service_tags_name(match->set->tags, match->entry));
                break;
        }
}

void rule_match_format(const struct rule_match *match, char *buffer, size_t size)
{
        struct text_builder builder = text_builder_cutting_on(buffer, size - 1);
        char ports[PORT_SET_TEXT_SIZE];
        size_t ports_length = port_set_format(rule_match_ports(match), ports);

        text_builder_text(&builder, policy_protocol_name(rule_match_protocol(match)));
        text_builder_byte(&builder, ' ');
        put_destination(match, &builder);
        text_builder_byte(&builder, ':');
        text_builder_bytes(&builder, ports, ports_length);
        *builder.next = '\0';
}

void rule_set_note_application_ports(const struct rule_set *set, uint8_t ports[8192])
{
        for (size_t i = 0; i < set->service_count; i++) {
                const struct service *service = &set->services[i];
                if (service->protocol != POLICY_PROTOCOL_HTTPS && service->protocol != POLICY_PROTOCOL_HTTP)
                        continue;
                for (size_t j = 0; j < service->ports.count; j++)
                        for (unsigned port = service->ports.ranges[j].first; port <= service->ports.ranges[j].last;
                             port++)
                                ports[port / 8] |= (uint8_t)(1u << port % 8);
        }
}

size_t rule_set_count(const struct rule_set *set)
{
        return set->record_count;
}

void rule_set_trim(struct rule_set *set)
{
        name_set_trim(set->names);
        if (set->record_count == 0)
                return;
        struct record *records = large_block_new(set->record_count * sizeof(*records));
        if (records == NULL)
                return;
        memcpy(records, set->records, set->record_count * sizeof(*records));
        free(set->records);
        set->records = records;
        set->record_size = set->record_count;
}
