#include "inspect/dns_record.h"

#include <stddef.h>

#include "inspect/dns_message.h"

/*
 * Data with names that may be compressed: fixed bytes, then character-strings, then names, then fixed bytes, then,
 * where the end is open, anything. RFC 3597 4 lists the types; their forms are of RFC 1035 3.3, 1183, 2163, 2230, 2535,
 * 2782, 2915, and 6672.
 */
struct layout {
        uint16_t type;
        uint8_t fixed_before;
        uint8_t strings;
        uint8_t names;
        uint8_t fixed_after;
        bool open_end;
};

static const struct layout layouts[] = {
        { .type = 2, .names = 1 },                                        /* NS */
        { .type = 3, .names = 1 },                                        /* MD */
        { .type = 4, .names = 1 },                                        /* MF */
        { .type = 5, .names = 1 },                                        /* CNAME */
        { .type = 6, .names = 2, .fixed_after = 20 },                     /* SOA */
        { .type = 7, .names = 1 },                                        /* MB */
        { .type = 8, .names = 1 },                                        /* MG */
        { .type = 9, .names = 1 },                                        /* MR */
        { .type = 12, .names = 1 },                                       /* PTR */
        { .type = 14, .names = 2 },                                       /* MINFO */
        { .type = 15, .fixed_before = 2, .names = 1 },                    /* MX */
        { .type = 17, .names = 2 },                                       /* RP */
        { .type = 18, .fixed_before = 2, .names = 1 },                    /* AFSDB */
        { .type = 21, .fixed_before = 2, .names = 1 },                    /* RT */
        { .type = 24, .fixed_before = 18, .names = 1, .open_end = true }, /* SIG */
        { .type = 26, .fixed_before = 2, .names = 2 },                    /* PX */
        { .type = 30, .names = 1, .open_end = true },                     /* NXT */
        { .type = 33, .fixed_before = 6, .names = 1 },                    /* SRV */
        { .type = 35, .fixed_before = 4, .strings = 3, .names = 1 },      /* NAPTR */
        { .type = 36, .fixed_before = 2, .names = 1 },                    /* KX */
        { .type = 39, .names = 1 },                                       /* DNAME */
};

#define LAST_LAYOUT_TYPE 39

static const struct layout *find_layout(uint16_t type)
{
        if (type > LAST_LAYOUT_TYPE)
                return NULL;
        for (size_t i = 0; i < ARRAY_SIZE(layouts); i++)
                if (layouts[i].type == type)
                        return &layouts[i];
        return NULL;
}

bool dns_record_read(struct byte_cursor *cursor, struct dns_record *ret)
{
        uint16_t length;

        ret->owner = *cursor;
        if (!dns_name_skip(cursor))
                return false;
        ret->owner.left -= cursor->left;
        return byte_cursor_u16(cursor, &ret->type) && byte_cursor_u16(cursor, &ret->class) &&
               byte_cursor_u32(cursor, &ret->ttl) && byte_cursor_u16(cursor, &length) &&
               byte_cursor_take(cursor, length, &ret->data);
}

uint32_t dns_record_ttl_s(const struct dns_record *record)
{
        if (record->ttl > INT32_MAX)
                return 0; /* RFC 2181 8 */
        return record->ttl < DNS_MESSAGE_MAX_TTL_S ? record->ttl : DNS_MESSAGE_MAX_TTL_S;
}

bool dns_record_is_of(const uint8_t *message, const struct dns_record *record, const struct dns_name *name)
{
        struct byte_cursor cursor = record->owner;
        struct dns_name owner;

        return dns_name_read(message, &cursor, &owner) && dns_name_equal(&owner, name);
}

bool dns_record_read_name(const uint8_t *message, const struct dns_record *record, struct dns_name *ret)
{
        struct byte_cursor cursor = record->data;

        return dns_name_read(message, &cursor, ret) && cursor.left == 0;
}

static bool copy(struct byte_cursor *cursor, size_t length, struct byte_builder *builder)
{
        struct byte_cursor taken;

        if (!byte_cursor_take(cursor, length, &taken))
                return false;
        byte_builder_bytes(builder, taken.next, taken.left);
        return true;
}

/* RFC 1035 3.3: a length and as many bytes. */
static bool copy_string(struct byte_cursor *cursor, struct byte_builder *builder)
{
        uint8_t length;
        struct byte_cursor peek = *cursor;

        return byte_cursor_u8(&peek, &length) && copy(cursor, (size_t)length + 1, builder);
}

static bool write_name(const uint8_t *message, struct byte_cursor *cursor, struct byte_builder *builder)
{
        struct dns_name name;

        if (!dns_name_read(message, cursor, &name))
                return false;
        byte_builder_bytes(builder, name.bytes, name.length);
        return true;
}

bool dns_record_write_data(const uint8_t *message, const struct dns_record *record, struct byte_builder *builder)
{
        const struct layout *layout = find_layout(record->type);
        struct byte_cursor cursor = record->data;

        if (layout == NULL)
                return copy(&cursor, cursor.left, builder);
        if (!copy(&cursor, layout->fixed_before, builder))
                return false;
        for (unsigned i = 0; i < layout->strings; i++)
                if (!copy_string(&cursor, builder))
                        return false;
        for (unsigned i = 0; i < layout->names; i++)
                if (!write_name(message, &cursor, builder))
                        return false;
        if (!copy(&cursor, layout->open_end ? cursor.left : layout->fixed_after, builder))
                return false;
        return cursor.left == 0;
}
