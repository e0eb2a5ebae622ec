#include "inspect/dns_query.h"

#include <string.h>

#include "base/byte_cursor.h"
#include "inspect/dns_record.h"

/*
 *   id(2)  flags(2)  QDCOUNT(2)=1  ANCOUNT(2)=0  NSCOUNT(2)=0  ARCOUNT(2)=0..1
 *   question: name  type(2)  class(2)
 *   OPT (RFC 6891 6.1.2): root(1)=0  type(2)=41  payload size(2)  rcode(1)  version(1)  flags(2)  length(2)
 *                         then options: code(2)  data(2+0..)
 */
#define EDNS_VERSION_SHIFT 16

struct header {
        uint16_t id, flags, questions, answers, authorities, additional;
};

static bool read_header(struct byte_cursor *cursor, struct header *ret)
{
        return byte_cursor_u16(cursor, &ret->id) && byte_cursor_u16(cursor, &ret->flags) &&
               byte_cursor_u16(cursor, &ret->questions) && byte_cursor_u16(cursor, &ret->answers) &&
               byte_cursor_u16(cursor, &ret->authorities) && byte_cursor_u16(cursor, &ret->additional);
}

static void keep_header(const struct header *header, struct dns_query *query)
{
        query->id = header->id;
        query->opcode = (header->flags & DNS_FLAG_OPCODE) >> DNS_OPCODE_SHIFT;
        query->recursion_desired = (header->flags & DNS_FLAG_RECURSION_DESIRED) != 0;
        query->checking_disabled = (header->flags & DNS_FLAG_CHECKING_DISABLED) != 0;
        query->authentic_data = (header->flags & DNS_FLAG_AUTHENTIC_DATA) != 0;
}

static bool read_question(struct byte_cursor *cursor, struct dns_name *ret_name, struct dns_query *query)
{
        const uint8_t *start = cursor->next;

        if (!dns_name_read_plain(cursor, ret_name) || !byte_cursor_u16(cursor, &query->type) ||
            !byte_cursor_u16(cursor, &query->class))
                return false;
        query->question_length = (size_t)(cursor->next - start);
        memcpy(query->question, start, query->question_length);
        return true;
}

static bool options_are_framed(struct byte_cursor options)
{
        uint16_t code, length;

        while (options.left > 0)
                if (!byte_cursor_u16(&options, &code) || !byte_cursor_u16(&options, &length) ||
                    !byte_cursor_skip(&options, length))
                        return false;
        return true;
}

static enum dns_query_result read_opt(struct byte_cursor *cursor, struct dns_query *query)
{
        struct dns_record record;

        if (!dns_record_read(cursor, &record) || record.type != DNS_TYPE_OPT || record.owner.next[0] != 0 ||
            !options_are_framed(record.data))
                return DNS_QUERY_BAD;
        query->has_edns = true;
        query->dnssec_ok = (record.ttl & DNS_EDNS_FLAG_DNSSEC_OK) != 0;
        query->edns_size = record.class < DNS_MESSAGE_MIN_UDP_SIZE ? DNS_MESSAGE_MIN_UDP_SIZE : record.class;
        return (uint8_t)(record.ttl >> EDNS_VERSION_SHIFT) == 0 ? DNS_QUERY_OK : DNS_QUERY_BAD_VERSION;
}

/* TC: the client itself says that something is missing. Other bits that mean nothing in a query are ignored. */
static bool header_is_plausible(const struct header *header)
{
        return (header->flags & DNS_FLAG_TRUNCATED) == 0 && header->questions == 1 && header->answers == 0 &&
               header->authorities == 0 && header->additional <= 1;
}

enum dns_query_result dns_query_parse(const void *message, size_t length, struct dns_query *ret)
{
        struct byte_cursor cursor = byte_cursor_from(message, length);
        enum dns_query_result result = DNS_QUERY_OK;
        struct header header;
        struct dns_name name;

        memset(ret, 0, sizeof(*ret));
        if (!read_header(&cursor, &header) || (header.flags & DNS_FLAG_RESPONSE) != 0)
                return DNS_QUERY_NOT_A_QUERY;
        keep_header(&header, ret);
        if (ret->opcode != 0)
                return DNS_QUERY_NOT_IMPLEMENTED;
        if (!header_is_plausible(&header) || !read_question(&cursor, &name, ret))
                return DNS_QUERY_BAD;
        if (header.additional > 0)
                result = read_opt(&cursor, ret);
        if (result != DNS_QUERY_OK)
                return result;
        if (cursor.left > 0)
                return DNS_QUERY_BAD;
        return dns_name_to_fqdn(&name, &ret->name) == 0 ? DNS_QUERY_OK : DNS_QUERY_BAD_NAME;
}
