#include "inspect/dns_body.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "inspect/dns_message.h"
#include "inspect/dns_record.h"

#define POINTER_FLAG 0xc000u /* RFC 1035 4.1.4 */
#define MAX_POINTER 0x3fffu
#define POINTER_SIZE 2
#define TTL_OFFSET 4 /* behind type and class */
#define LENGTH_OFFSET 8

void dns_body_start(struct dns_body *body, const struct dns_name *question, uint8_t *buffer, size_t size)
{
        body->bytes = byte_builder_on(buffer, size);
        body->message_offset = DNS_MESSAGE_HEADER_SIZE + (size_t)question->length + 4; /* question type and class */
        body->least_ttl_s = UINT32_MAX;
        body->name_count = 0;
        body->chain_end = 0;
        body->record_count = 0;
        dns_body_add_name(body, question, DNS_MESSAGE_HEADER_SIZE, 0);
}

void dns_body_add_name(struct dns_body *body, const struct dns_name *name, size_t offset, uint16_t leads_by)
{
        assert(body->name_count < DNS_BODY_MAX_NAMES && offset <= MAX_POINTER);
        struct dns_body_name *known = &body->names[body->name_count++];
        known->name = *name;
        known->hash = dns_name_hash(name);
        known->offset = (uint16_t)offset;
        known->leads_by = leads_by;
}

void dns_body_begin_section(struct dns_body *body)
{
        body->record_count = 0;
}

static void write_pointer(struct dns_body *body, size_t offset)
{
        byte_builder_u16(&body->bytes, (uint16_t)(POINTER_FLAG | offset));
}

static void write_owner(struct dns_body *body, const struct dns_name *owner)
{
        const struct dns_body_name *candidates[] = { &body->names[0], &body->names[body->chain_end] };
        const struct dns_body_name *best = NULL;
        size_t best_suffix = POINTER_SIZE; /* nothing shorter is worth one */

        for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
                size_t suffix = dns_name_common_suffix(owner, &candidates[i]->name);
                if (suffix > best_suffix) {
                        best = candidates[i];
                        best_suffix = suffix;
                }
        }
        if (best == NULL) {
                byte_builder_bytes(&body->bytes, owner->bytes, owner->length);
                return;
        }
        byte_builder_bytes(&body->bytes, owner->bytes, owner->length - best_suffix);
        write_pointer(body, best->offset + best->name.length - best_suffix);
}

struct dns_body_record dns_body_begin_record(struct dns_body *body, const struct dns_body_name *known,
                                             const struct dns_name *owner, uint16_t type, uint32_t ttl_s)
{
        struct dns_body_record record = { .offset = body->bytes.length };

        if (known != NULL)
                write_pointer(body, known->offset);
        else
                write_owner(body, owner);
        record.fixed_offset = body->bytes.length;
        byte_builder_u16(&body->bytes, type);
        byte_builder_u16(&body->bytes, DNS_CLASS_IN);
        byte_builder_u32(&body->bytes, ttl_s);
        byte_builder_u16(&body->bytes, 0); /* the length, known at the end */
        if (ttl_s < body->least_ttl_s)
                body->least_ttl_s = ttl_s;
        return record;
}

/* Owner and type, length and data: all but the TTL. */
static bool records_equal(const uint8_t *bytes, const struct dns_body_record *a, const struct dns_body_record *b)
{
        size_t head = a->fixed_offset + TTL_OFFSET - a->offset, tail = a->end - a->fixed_offset - LENGTH_OFFSET;

        return a->hash == b->hash && a->end - a->offset == b->end - b->offset &&
               a->fixed_offset - a->offset == b->fixed_offset - b->offset &&
               memcmp(bytes + a->offset, bytes + b->offset, head) == 0 &&
               memcmp(bytes + a->fixed_offset + LENGTH_OFFSET, bytes + b->fixed_offset + LENGTH_OFFSET, tail) == 0;
}

static const struct dns_body_record *find_duplicate(const struct dns_body *body, const struct dns_body_record *record)
{
        for (size_t i = 0; i < body->record_count; i++)
                if (records_equal(body->bytes.start, record, &body->records[i]))
                        return &body->records[i];
        return NULL;
}

static uint32_t ttl_of(const struct dns_body *body, const struct dns_body_record *record)
{
        const uint8_t *bytes = body->bytes.start + record->fixed_offset + TTL_OFFSET;

        return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

bool dns_body_end_record(struct dns_body *body, struct dns_body_record *record)
{
        size_t data_offset = record->fixed_offset + DNS_RECORD_FIXED_SIZE;

        if (body->bytes.full)
                return false;
        byte_builder_set_u16(&body->bytes, data_offset - 2, (uint16_t)(body->bytes.length - data_offset));
        record->end = body->bytes.length;
        record->hash = (uint32_t)hash_bytes(body->bytes.start + data_offset, record->end - data_offset);
        const struct dns_body_record *first = find_duplicate(body, record);
        if (first == NULL) {
                assert(body->record_count < DNS_BODY_MAX_RECORDS);
                body->records[body->record_count++] = *record;
                return true;
        }
        uint32_t ttl_s = ttl_of(body, record);
        if (ttl_s < ttl_of(body, first))
                byte_builder_set_u32(&body->bytes, first->fixed_offset + TTL_OFFSET, ttl_s);
        byte_builder_cut(&body->bytes, record->offset);
        return true;
}

void dns_body_drop_record(struct dns_body *body, const struct dns_body_record *record)
{
        byte_builder_cut(&body->bytes, record->offset);
}
