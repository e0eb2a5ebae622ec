#include "kernel/table_objects.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/netlink.h"

#define ATTEMPTS 8

const char *table_object_kind_name(enum table_object_kind kind)
{
        switch (kind) {
        case TABLE_OBJECT_CHAIN:
                return "chain";
        case TABLE_OBJECT_SET:
                return "set";
        case TABLE_OBJECT_MAP:
                return "map";
        }
        return "?";
}

void table_objects_clear(struct table_objects *objects)
{
        free(objects->items);
        *objects = (struct table_objects){ 0 };
}

static int add(struct table_objects *objects, enum table_object_kind kind, const char *name)
{
        if (objects->count == TABLE_OBJECTS_MAX)
                return -E2BIG;
        if ((objects->count & (objects->count - 1)) == 0) { /* full: room for as many again */
                size_t capacity = objects->count == 0 ? 1 : objects->count * 2;
                struct table_object *items = reallocarray(objects->items, capacity, sizeof(*items));
                if (items == NULL)
                        return -ENOMEM;
                objects->items = items;
        }
        objects->items[objects->count].kind = kind;
        snprintf(objects->items[objects->count++].name, TABLE_OBJECT_NAME_SIZE, "%s", name);
        return 0;
}

/* A dump of chains or sets that is being read, and which attributes these have. */
struct reading {
        struct table_objects *objects;
        const char *table;
        uint16_t table_attribute;
        uint16_t name_attribute;
        uint16_t flags_attribute;
        bool is_of_chains;
};

/* What an object's message says; texts are borrowed from it. */
struct description {
        const struct reading *reading;
        const char *table; /* NULL: not told, as the next */
        const char *name;
        uint32_t flags;
};

static int on_attribute(const struct nlattr *attribute, void *context)
{
        struct description *description = context;
        const struct reading *reading = description->reading;
        uint16_t type = mnl_attr_get_type(attribute);

        if (type == reading->table_attribute && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
                description->table = mnl_attr_get_str(attribute);
        else if (type == reading->name_attribute && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
                description->name = mnl_attr_get_str(attribute);
        else if (type == reading->flags_attribute && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
                description->flags = ntohl(mnl_attr_get_u32(attribute));
        return MNL_CB_OK;
}

static int on_object(const struct nlmsghdr *header, void *context)
{
        const struct reading *reading = context;
        struct description description = { .reading = reading };
        enum table_object_kind kind = TABLE_OBJECT_CHAIN;

        (void)mnl_attr_parse(header, sizeof(struct nfgenmsg), on_attribute, &description);
        if (description.table == NULL || description.name == NULL || strcmp(description.table, reading->table) != 0 ||
            (description.flags & (reading->is_of_chains ? NFT_CHAIN_BINDING : NFT_SET_ANONYMOUS)) != 0)
                return MNL_CB_OK;
        if (!reading->is_of_chains)
                kind = (description.flags & (NFT_SET_MAP | NFT_SET_OBJECT)) != 0 ? TABLE_OBJECT_MAP : TABLE_OBJECT_SET;
        int r = add(reading->objects, kind, description.name);
        if (r < 0) {
                errno = -r;
                return MNL_CB_ERROR;
        }
        return MNL_CB_OK;
}

static int read_kind(struct reading *reading, uint16_t message_type)
{
        char bytes[64] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = mnl_nlmsg_put_header(bytes);
        struct nfgenmsg *message;

        header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | message_type);
        header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
        message->nfgen_family = NFPROTO_INET;
        message->version = NFNETLINK_V0;
        return netlink_request(NETLINK_NETFILTER, header, on_object, reading);
}

static int read_all(const char *table, struct table_objects *objects)
{
        struct reading chains = { .objects = objects,
                                  .table = table,
                                  .table_attribute = NFTA_CHAIN_TABLE,
                                  .name_attribute = NFTA_CHAIN_NAME,
                                  .flags_attribute = NFTA_CHAIN_FLAGS,
                                  .is_of_chains = true };
        struct reading sets = { .objects = objects,
                                .table = table,
                                .table_attribute = NFTA_SET_TABLE,
                                .name_attribute = NFTA_SET_NAME,
                                .flags_attribute = NFTA_SET_FLAGS };
        int r = read_kind(&chains, NFT_MSG_GETCHAIN);

        return r < 0 ? r : read_kind(&sets, NFT_MSG_GETSET);
}

int table_objects_read(const char *table, struct table_objects *ret)
{
        *ret = (struct table_objects){ 0 };
        for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
                int r = read_all(table, ret);
                if (r == 0)
                        return 0;
                table_objects_clear(ret);
                if (r != -EINTR)
                        return r;
        }
        return -EBUSY;
}
