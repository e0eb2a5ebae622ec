#include "inspect/dns_sections.h"

#include <string.h>

#include "base/byte_cursor.h"

#define EXTENDED_RCODE_SHIFT 24 /* RFC 6891 6.1.3: in OPT's TTL, the bits above the header's four */
#define HEADER_RCODE_BITS 4

static bool is_failure(unsigned rcode)
{
        return rcode != DNS_RCODE_NO_ERROR && rcode != DNS_RCODE_NAME_ERROR;
}

static bool read_question(struct byte_cursor *cursor, const struct dns_name *name, uint16_t type)
{
        struct dns_name echoed_name;
        uint16_t echoed_type, class;

        return dns_name_read_plain(cursor, &echoed_name) && dns_name_equal(name, &echoed_name) &&
               byte_cursor_u16(cursor, &echoed_type) && echoed_type == type && byte_cursor_u16(cursor, &class) &&
               class == DNS_CLASS_IN;
}

/* Most owners are a pointer to the question, whose hash is known. */
static bool hash_owner(const struct dns_sections *sections, const struct dns_record *record, uint32_t question_hash,
                       uint32_t *ret)
{
        static const uint8_t question_pointer[] = { DNS_NAME_POINTER_BITS, DNS_MESSAGE_HEADER_SIZE };
        struct byte_cursor cursor = record->owner;
        struct dns_name owner;

        if (cursor.left == sizeof(question_pointer) &&
            memcmp(cursor.next, question_pointer, sizeof(question_pointer)) == 0) {
                *ret = question_hash;
                return true;
        }
        if (!dns_name_read(sections->message, &cursor, &owner))
                return false;
        *ret = dns_name_hash(&owner);
        return true;
}

static bool read_records(struct dns_sections *sections, struct byte_cursor *cursor, const struct dns_name *question,
                         size_t answers, size_t authorities)
{
        uint32_t question_hash = dns_name_hash(question);

        if (answers + authorities > DNS_ANSWER_MAX_RECORDS)
                return false;
        sections->answer_count = answers;
        sections->record_count = answers + authorities;
        for (size_t i = 0; i < sections->record_count; i++) {
                struct dns_record *record = &sections->records[i];
                if (!dns_record_read(cursor, record))
                        return false;
                if (i < answers && !hash_owner(sections, record, question_hash, &sections->owner_hashes[i]))
                        return false;
        }
        return true;
}

/* Nothing of it is kept, but OPT has the upper bits of the rcode. */
static bool read_additional(struct dns_sections *sections, struct byte_cursor *cursor, size_t count)
{
        struct dns_record record;

        for (size_t i = 0; i < count; i++) {
                if (!dns_record_read(cursor, &record))
                        return false;
                if (record.type == DNS_TYPE_OPT)
                        sections->rcode |= record.ttl >> EXTENDED_RCODE_SHIFT << HEADER_RCODE_BITS;
        }
        return cursor->left == 0;
}

/* A failure may come without question, from a server that could not read it; what else is in it is not looked at. */
enum dns_answer_result dns_sections_read(const void *message, size_t length, const struct dns_name *name, uint16_t type,
                                         struct dns_sections *ret)
{
        struct byte_cursor cursor = byte_cursor_from(message, length);
        uint16_t id, questions, answers, authorities, additional;

        ret->message = message;
        if (!byte_cursor_u16(&cursor, &id) || !byte_cursor_u16(&cursor, &ret->flags) ||
            !byte_cursor_u16(&cursor, &questions) || !byte_cursor_u16(&cursor, &answers) ||
            !byte_cursor_u16(&cursor, &authorities) || !byte_cursor_u16(&cursor, &additional) ||
            (ret->flags & DNS_FLAG_RESPONSE) == 0 || (ret->flags & DNS_FLAG_OPCODE) != 0)
                return DNS_ANSWER_BAD;
        ret->rcode = ret->flags & DNS_FLAG_RCODE;
        if (questions == 0 && is_failure(ret->rcode))
                return DNS_ANSWER_FAILED;
        if (questions != 1 || !read_question(&cursor, name, type))
                return DNS_ANSWER_BAD;
        if ((ret->flags & DNS_FLAG_TRUNCATED) != 0)
                return DNS_ANSWER_TRUNCATED;
        if (is_failure(ret->rcode))
                return DNS_ANSWER_FAILED;
        if (!read_records(ret, &cursor, name, answers, authorities) || !read_additional(ret, &cursor, additional))
                return DNS_ANSWER_BAD;
        return is_failure(ret->rcode) ? DNS_ANSWER_FAILED : DNS_ANSWER_OK;
}

bool dns_sections_is_of(const struct dns_sections *sections, size_t index, const struct dns_name *name, uint32_t hash)
{
        const struct dns_record *record = &sections->records[index];

        return sections->owner_hashes[index] == hash && record->class == DNS_CLASS_IN &&
               dns_record_is_of(sections->message, record, name);
}
