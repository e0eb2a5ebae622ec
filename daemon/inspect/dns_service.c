#include "inspect/dns_service.h"

#include <stdint.h>
#include <string.h>

#include "inspect/dns_name.h"

/*
 * RFC 9460 2.2:  priority(2)  target name, uncompressed  then parameters, keys strictly ascending: key(2)  value(2+0..)
 */
enum service_key { /* RFC 9460 14.3.2 */
                   SERVICE_KEY_MANDATORY = 0,
                   SERVICE_KEY_ALPN = 1,
                   SERVICE_KEY_NO_DEFAULT_ALPN = 2,
                   SERVICE_KEY_PORT = 3,
                   SERVICE_KEY_IPV4_HINT = 4,
                   SERVICE_KEY_ECH = 5,
                   SERVICE_KEY_IPV6_HINT = 6,
};

#define PRIORITY_ALIAS 0

struct writer {
        struct byte_builder *builder;
        dns_address_fn permits;
        void *context;
        struct byte_cursor mandatory; /* keys not met yet, ascending like the parameters */
        bool has_alpn;
        bool changed;
        bool unusable;
};

/* RFC 9460 8: at least one key, strictly ascending, not itself. */
static bool check_mandatory(struct writer *writer, struct byte_cursor value)
{
        uint16_t key, last = SERVICE_KEY_MANDATORY;

        writer->mandatory = value;
        if (value.left == 0)
                return false;
        while (value.left > 0) {
                if (!byte_cursor_u16(&value, &key) || key <= last)
                        return false;
                last = key;
        }
        return true;
}

/* RFC 9460 7.1.1: at least one protocol, none of them empty. */
static bool check_alpn(struct writer *writer, struct byte_cursor value)
{
        uint8_t length;

        writer->has_alpn = true;
        if (value.left == 0)
                return false;
        while (value.left > 0)
                if (!byte_cursor_u8(&value, &length) || length == 0 || !byte_cursor_skip(&value, length))
                        return false;
        return true;
}

static bool check_value(struct writer *writer, uint16_t key, struct byte_cursor value)
{
        switch (key) {
        case SERVICE_KEY_MANDATORY:
                return check_mandatory(writer, value);
        case SERVICE_KEY_ALPN:
                return check_alpn(writer, value);
        case SERVICE_KEY_NO_DEFAULT_ALPN:
                return value.left == 0 && writer->has_alpn;
        case SERVICE_KEY_PORT:
                return value.left == 2;
        case SERVICE_KEY_IPV4_HINT:
                return value.left > 0 && value.left % 4 == 0;
        case SERVICE_KEY_IPV6_HINT:
                return value.left > 0 && value.left % 16 == 0;
        default:
                return true;
        }
}

static void write_parameter(struct writer *writer, uint16_t key, struct byte_cursor value)
{
        byte_builder_u16(writer->builder, key);
        byte_builder_u16(writer->builder, (uint16_t)value.left);
        byte_builder_bytes(writer->builder, value.next, value.left);
}

/* Returns whether an address is left. */
static bool write_hint(struct writer *writer, uint16_t key, struct byte_cursor value)
{
        size_t start = writer->builder->length, size = key == SERVICE_KEY_IPV4_HINT ? 4 : 16, kept = 0;
        struct net_address address = { .family = key == SERVICE_KEY_IPV4_HINT ? AF_INET : AF_INET6 };
        struct byte_cursor bytes;

        byte_builder_u16(writer->builder, key);
        byte_builder_u16(writer->builder, 0);
        while (byte_cursor_take(&value, size, &bytes)) {
                memcpy(address.bytes, bytes.next, size);
                if (writer->permits != NULL && !writer->permits(&address, writer->context)) {
                        writer->changed = true;
                        continue;
                }
                byte_builder_bytes(writer->builder, bytes.next, size);
                kept += size;
        }
        if (writer->builder->full)
                return true;
        byte_builder_set_u16(writer->builder, start + 2, (uint16_t)kept);
        if (kept == 0)
                byte_builder_cut(writer->builder, start);
        return kept > 0;
}

/* Whether the next key of the mandatory list is this one; it counts as met then. */
static bool take_mandatory(struct writer *writer, uint16_t key)
{
        struct byte_cursor ahead = writer->mandatory;
        uint16_t listed;

        if (!byte_cursor_u16(&ahead, &listed) || listed != key)
                return false;
        writer->mandatory = ahead;
        return true;
}

static bool take_parameter(struct writer *writer, uint16_t key, struct byte_cursor value)
{
        bool kept = key != SERVICE_KEY_ECH;

        if (!check_value(writer, key, value))
                return false;
        if (key == SERVICE_KEY_IPV4_HINT || key == SERVICE_KEY_IPV6_HINT)
                kept = write_hint(writer, key, value);
        else if (kept)
                write_parameter(writer, key, value);
        writer->changed = writer->changed || !kept;
        if (take_mandatory(writer, key) && !kept)
                writer->unusable = true;
        return true;
}

static bool take_parameters(struct writer *writer, struct byte_cursor parameters)
{
        struct byte_cursor value;
        uint16_t key, length;
        int last = -1;

        for (; parameters.left > 0; last = key)
                if (!byte_cursor_u16(&parameters, &key) || key <= last || !byte_cursor_u16(&parameters, &length) ||
                    !byte_cursor_take(&parameters, length, &value) || !take_parameter(writer, key, value))
                        return false;
        return writer->mandatory.left == 0;
}

enum dns_service_result dns_service_write(struct byte_cursor data, dns_address_fn permits, void *context,
                                          struct byte_builder *builder)
{
        struct writer writer = { .builder = builder, .permits = permits, .context = context };
        struct dns_name target;
        uint16_t priority;

        if (!byte_cursor_u16(&data, &priority) || !dns_name_read_plain(&data, &target))
                return DNS_SERVICE_BAD;
        byte_builder_u16(builder, priority);
        byte_builder_bytes(builder, target.bytes, target.length);
        /* An alias has none, and nobody reads those it has (RFC 9460 2.4.2). */
        if (priority == PRIORITY_ALIAS)
                return data.left > 0 ? DNS_SERVICE_CHANGED : DNS_SERVICE_OK;
        if (!take_parameters(&writer, data))
                return DNS_SERVICE_BAD;
        if (writer.unusable)
                return DNS_SERVICE_UNUSABLE;
        return writer.changed ? DNS_SERVICE_CHANGED : DNS_SERVICE_OK;
}
