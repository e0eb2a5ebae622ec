#include "inspect/dns_response.h"

#include <assert.h>
#include <string.h>

#include "base/byte_builder.h"
#include "base/byte_cursor.h"
#include "inspect/dns_record.h"

#define OPT_SIZE 11 /* RFC 6891 6.1.2, without options */
#define OPT_LENGTH_SIZE 2
#define EDE_OPTION_CODE 15  /* RFC 8914 2 */
#define EDE_FIXED_SIZE 6    /* option code, option length, info code */
#define RCODE_UPPER_SHIFT 4 /* RFC 6891 6.1.3: what the header has no room for */
#define EXTENDED_RCODE_SHIFT 24

struct writer {
        const struct dns_query *query;
        const struct dns_response *response;
        struct byte_builder bytes;
};

static bool takes_record(const struct dns_query *query, uint16_t type)
{
        bool is_dnssec = type == DNS_TYPE_RRSIG || type == DNS_TYPE_NSEC || type == DNS_TYPE_NSEC3;

        return !is_dnssec || query->dnssec_ok || query->type == type || query->type == DNS_TYPE_ANY;
}

static uint32_t aged_ttl_s(const struct dns_response *response, uint32_t ttl_s)
{
        uint32_t left_s = ttl_s > response->age_s ? ttl_s - response->age_s : 0;

        return left_s < response->min_ttl_s ? response->min_ttl_s : left_s;
}

static void write_record(struct writer *writer, const struct dns_record *record)
{
        byte_builder_bytes(&writer->bytes, record->owner.next, record->owner.left);
        byte_builder_u16(&writer->bytes, record->type);
        byte_builder_u16(&writer->bytes, record->class);
        byte_builder_u32(&writer->bytes, aged_ttl_s(writer->response, record->ttl));
        byte_builder_u16(&writer->bytes, (uint16_t)record->data.left);
        byte_builder_bytes(&writer->bytes, record->data.next, record->data.left);
}

/* Returns how many were written; stops, full, at the first that does not fit. */
static uint16_t write_section(struct writer *writer, struct byte_cursor *body, unsigned count)
{
        struct dns_record record;
        uint16_t written = 0;

        for (unsigned i = 0; i < count && !writer->bytes.full; i++) {
                bool whole = dns_record_read(body, &record);
                assert(whole); /* dns_answer_parse made it */
                if (!takes_record(writer->query, record.type))
                        continue;
                size_t start = writer->bytes.length;
                write_record(writer, &record);
                if (writer->bytes.full)
                        writer->bytes.length = start;
                else
                        written++;
        }
        return written;
}

/* Bytes of text that go into room, without a part of a character of UTF-8 at their end. */
static size_t text_length(const char *text, size_t room)
{
        size_t length = strnlen(text, room);

        while (length > 0 && length == room && ((uint8_t)text[length] & 0xc0) == 0x80)
                length = --room;
        return length;
}

static void write_ede(struct writer *writer, size_t room)
{
        const char *text = writer->response->ede_text;
        size_t length = text != NULL ? text_length(text, room - EDE_FIXED_SIZE) : 0;

        byte_builder_u16(&writer->bytes, EDE_OPTION_CODE);
        byte_builder_u16(&writer->bytes, (uint16_t)(2 + length));
        byte_builder_u16(&writer->bytes, (uint16_t)writer->response->ede);
        byte_builder_bytes(&writer->bytes, text, length);
}

static void write_opt(struct writer *writer)
{
        uint32_t upper_rcode = (uint32_t)writer->response->rcode >> RCODE_UPPER_SHIFT;

        byte_builder_u8(&writer->bytes, 0); /* the root's name */
        byte_builder_u16(&writer->bytes, DNS_TYPE_OPT);
        byte_builder_u16(&writer->bytes, DNS_MESSAGE_OUR_UDP_SIZE);
        byte_builder_u32(&writer->bytes, upper_rcode << EXTENDED_RCODE_SHIFT |
                                                 (writer->query->dnssec_ok ? DNS_EDNS_FLAG_DNSSEC_OK : 0));
        byte_builder_u16(&writer->bytes, 0);
        size_t options = writer->bytes.length, room = writer->bytes.size - options;
        if (writer->response->has_ede && room >= EDE_FIXED_SIZE)
                write_ede(writer, room);
        byte_builder_set_u16(&writer->bytes, options - OPT_LENGTH_SIZE, (uint16_t)(writer->bytes.length - options));
}

static uint16_t flags_of(const struct dns_query *query, const struct dns_response *response, bool truncated)
{
        bool authentic =
                response->answer != NULL && response->answer->authentic && (query->dnssec_ok || query->authentic_data);

        return (uint16_t)(DNS_FLAG_RESPONSE | query->opcode << DNS_OPCODE_SHIFT | DNS_FLAG_RECURSION_AVAILABLE |
                          (truncated ? DNS_FLAG_TRUNCATED : 0) | (authentic ? DNS_FLAG_AUTHENTIC_DATA : 0) |
                          (query->recursion_desired ? DNS_FLAG_RECURSION_DESIRED : 0) |
                          (query->checking_disabled ? DNS_FLAG_CHECKING_DISABLED : 0) |
                          (response->rcode & DNS_FLAG_RCODE));
}

/* Zeros for what is known only at the end. */
static void write_head(struct writer *writer)
{
        byte_builder_u16(&writer->bytes, writer->query->id);
        byte_builder_u32(&writer->bytes, writer->query->question_length > 0); /* flags, QDCOUNT */
        byte_builder_u32(&writer->bytes, 0);                                  /* ANCOUNT, NSCOUNT */
        byte_builder_u16(&writer->bytes, writer->query->has_edns);            /* ARCOUNT */
        byte_builder_bytes(&writer->bytes, writer->query->question, writer->query->question_length);
}

static bool write_records(struct writer *writer)
{
        const struct dns_answer *answer = writer->response->answer;
        struct byte_cursor body = byte_cursor_from(answer->body, answer->body_length);

        byte_builder_set_u16(&writer->bytes, 6, write_section(writer, &body, answer->answer_count));
        byte_builder_set_u16(&writer->bytes, 8, write_section(writer, &body, answer->authority_count));
        return !writer->bytes.full;
}

size_t dns_response_write(const struct dns_query *query, const struct dns_response *response, uint8_t *buffer,
                          size_t size)
{
        size_t maximum = size < response->max_size ? size : response->max_size,
               reserved = query->has_edns ? OPT_SIZE : 0;
        struct writer writer = { .query = query, .response = response };
        bool truncated = false;

        assert(query->has_edns || response->rcode <= DNS_FLAG_RCODE);
        if (maximum > DNS_MESSAGE_MAX_SIZE)
                maximum = DNS_MESSAGE_MAX_SIZE;
        if (maximum < DNS_MESSAGE_HEADER_SIZE + query->question_length + reserved)
                return 0;
        writer.bytes = byte_builder_on(buffer, maximum - reserved);
        write_head(&writer);
        if (response->answer != NULL)
                truncated = !write_records(&writer);
        writer.bytes.full = false;
        writer.bytes.size = maximum;
        if (query->has_edns)
                write_opt(&writer);
        byte_builder_set_u16(&writer.bytes, 2, flags_of(query, response, truncated));
        return writer.bytes.length;
}
