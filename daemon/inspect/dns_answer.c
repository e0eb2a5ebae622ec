#include "inspect/dns_answer.h"

#include <string.h>

#include "base/byte_builder.h"
#include "base/byte_cursor.h"
#include "inspect/dns_body.h"
#include "inspect/dns_name.h"
#include "inspect/dns_record.h"
#include "inspect/dns_sections.h"
#include "inspect/dns_service.h"

#define SOA_MINIMUM_SIZE 4  /* RFC 1035 3.3.13: the last field */
#define QUESTION_END_SIZE 4 /* RFC 1035 4.1.2: type and class */

/* An answer being taken apart. Large; set up field by field. */
struct parse {
        uint16_t type;
        dns_address_fn permits;
        void *context;
        struct dns_sections in;
        struct dns_body body;
        struct dns_answer *answer;
        bool positive; /* the end of the chain has records of the type, even if none may be passed on */
        bool had_address;
        bool had_soa;
        bool changed;
};

/* What to do with a record. */
enum fate {
        FATE_KEEP = 0,
        FATE_LEAVE_OUT,
        FATE_BAD,
};

/* --- one record into the body --- */

/* False: there are too many. */
static bool keep_address(struct dns_answer *answer, const struct net_address *address)
{
        for (size_t i = 0; i < answer->address_count; i++)
                if (net_address_equal(address, &answer->addresses[i]))
                        return true;
        if (answer->address_count == DNS_ANSWER_MAX_ADDRESSES)
                return false;
        answer->addresses[answer->address_count++] = *address;
        return true;
}

static enum fate write_address(struct parse *parse, const struct dns_record *record)
{
        size_t size = record->type == DNS_TYPE_A ? 4 : 16;
        struct net_address address = { .family = record->type == DNS_TYPE_A ? AF_INET : AF_INET6 };

        if (record->data.left != size)
                return FATE_BAD;
        memcpy(address.bytes, record->data.next, size);
        parse->had_address = true;
        if (parse->permits != NULL && !parse->permits(&address, parse->context))
                return FATE_LEAVE_OUT;
        if (!keep_address(parse->answer, &address))
                return FATE_LEAVE_OUT;
        byte_builder_bytes(&parse->body.bytes, address.bytes, size);
        return FATE_KEEP;
}

static enum fate write_service(struct parse *parse, const struct dns_record *record)
{
        switch (dns_service_write(record->data, parse->permits, parse->context, &parse->body.bytes)) {
        case DNS_SERVICE_OK:
                return FATE_KEEP;
        case DNS_SERVICE_CHANGED:
                parse->changed = true;
                return FATE_KEEP;
        case DNS_SERVICE_UNUSABLE:
                return FATE_LEAVE_OUT;
        case DNS_SERVICE_BAD:
                return FATE_BAD;
        }
        return FATE_BAD;
}

static enum fate write_data(struct parse *parse, const struct dns_record *record)
{
        switch (record->type) {
        case DNS_TYPE_A:
        case DNS_TYPE_AAAA:
                return write_address(parse, record);
        case DNS_TYPE_SVCB:
        case DNS_TYPE_HTTPS:
                return write_service(parse, record);
        default:
                return dns_record_write_data(parse->in.message, record, &parse->body.bytes) ? FATE_KEEP : FATE_BAD;
        }
}

/* known: the owner; NULL: it is the record's own, whatever that is. False: malformed, or out of room. */
static bool write_record(struct parse *parse, const struct dns_body_name *known, const struct dns_record *record,
                         uint32_t ttl_s)
{
        struct byte_cursor cursor = record->owner;
        struct dns_name owner;

        if (known == NULL && !dns_name_read(parse->in.message, &cursor, &owner))
                return false;
        struct dns_body_record written = dns_body_begin_record(&parse->body, known, &owner, record->type, ttl_s);
        switch (write_data(parse, record)) {
        case FATE_KEEP:
                return dns_body_end_record(&parse->body, &written);
        case FATE_LEAVE_OUT:
                dns_body_drop_record(&parse->body, &written);
                parse->changed = true;
                return true;
        case FATE_BAD:
                return false;
        }
        return false;
}

/* --- the chain --- */

static bool is_of(const struct parse *parse, size_t index, const struct dns_body_name *name)
{
        return dns_sections_is_of(&parse->in, index, &name->name, name->hash);
}

static bool is_asked_for(const struct parse *parse, const struct dns_record *record)
{
        return record->type == parse->type || parse->type == DNS_TYPE_ANY;
}

static const struct dns_body_name *chain_end(const struct parse *parse)
{
        return &parse->body.names[parse->body.chain_end];
}

static bool chain_is_at_its_end(const struct parse *parse)
{
        for (size_t i = 0; i < parse->in.answer_count; i++)
                if (is_asked_for(parse, &parse->in.records[i]) && is_of(parse, i, chain_end(parse)))
                        return true;
        return parse->type == DNS_TYPE_ANY;
}

/* Where a chain goes on. */
struct step {
        bool found;
        uint32_t ttl_s;
        struct dns_name target;
};

/*
 * Two CNAMEs of one name that say different things are an error (RFC 2181 10.1); of equal ones the lesser TTL counts.
 */
static bool find_cname(const struct parse *parse, struct step *ret)
{
        struct dns_name target;

        ret->found = false;
        for (size_t i = 0; i < parse->in.answer_count; i++) {
                const struct dns_record *record = &parse->in.records[i];
                if (record->type != DNS_TYPE_CNAME || !is_of(parse, i, chain_end(parse)))
                        continue;
                if (!dns_record_read_name(parse->in.message, record, &target) ||
                    (ret->found && !dns_name_equal(&target, &ret->target)))
                        return false;
                if (!ret->found || dns_record_ttl_s(record) < ret->ttl_s)
                        ret->ttl_s = dns_record_ttl_s(record);
                if (!ret->found)
                        ret->target = target;
                ret->found = true;
        }
        return true;
}

/* RFC 6672 2.2: what stands before the owner stays, the owner becomes the target. False: too long, or no name. */
static bool substitute(const struct parse *parse, const struct dns_record *dname, size_t kept, struct dns_name *ret)
{
        struct dns_name target;

        if (!dns_record_read_name(parse->in.message, dname, &target) || kept + target.length > DNS_NAME_MAX_SIZE)
                return false;
        memcpy(ret->bytes, chain_end(parse)->name.bytes, kept);
        memcpy(ret->bytes + kept, target.bytes, target.length);
        ret->length = (uint8_t)(kept + target.length);
        return true;
}

/* The DNAME above the end of the chain; NULL: there is none. *ret_kept: bytes of the name before its owner. */
static const struct dns_record *find_dname(const struct parse *parse, size_t *ret_kept)
{
        const struct dns_name *name = &chain_end(parse)->name;
        struct dns_name owner;

        for (size_t i = 0; i < parse->in.answer_count; i++) {
                struct byte_cursor cursor = parse->in.records[i].owner;
                if (parse->in.records[i].type != DNS_TYPE_DNAME || parse->in.records[i].class != DNS_CLASS_IN ||
                    !dns_name_read(parse->in.message, &cursor, &owner) || owner.length >= name->length ||
                    dns_name_common_suffix(&owner, name) != owner.length)
                        continue;
                *ret_kept = name->length - (size_t)owner.length;
                return &parse->in.records[i];
        }
        return NULL;
}

/* The DNAME goes before the CNAME that follows from it; one that the server sent must say the same. */
static bool apply_dname(struct parse *parse, struct step *step)
{
        struct dns_body *body = &parse->body;
        const struct dns_body_name *end = chain_end(parse);
        struct dns_name target, owner;
        size_t kept;
        const struct dns_record *dname = find_dname(parse, &kept);

        if (dname == NULL)
                return true;
        if (!substitute(parse, dname, kept, &target) || (step->found && !dns_name_equal(&target, &step->target)))
                return false;
        owner.length = (uint8_t)(end->name.length - kept);
        memcpy(owner.bytes, end->name.bytes + kept, owner.length);
        dns_body_add_name(body, &owner, end->offset + kept, DNS_TYPE_DNAME);
        if (!step->found)
                *step = (struct step){ .found = true, .ttl_s = dns_record_ttl_s(dname), .target = target };
        return write_record(parse, &body->names[body->name_count - 1], dname, dns_record_ttl_s(dname));
}

static bool take_step(struct parse *parse, const struct step *step)
{
        struct dns_body *body = &parse->body;
        struct dns_body_name *end = &body->names[body->chain_end];

        end->leads_by = DNS_TYPE_CNAME;
        struct dns_body_record written = dns_body_begin_record(body, end, NULL, DNS_TYPE_CNAME, step->ttl_s);
        size_t target_offset = body->message_offset + body->bytes.length;
        byte_builder_bytes(&body->bytes, step->target.bytes, step->target.length);
        if (!dns_body_end_record(body, &written))
                return false;
        dns_body_add_name(body, &step->target, target_offset, 0);
        body->chain_end = body->name_count - 1;
        return true;
}

/* Linear in the records for each step, and there are few steps. */
static bool follow_chain(struct parse *parse)
{
        struct step step;

        for (unsigned steps = 0; !chain_is_at_its_end(parse); steps++) {
                if (!find_cname(parse, &step) || !apply_dname(parse, &step))
                        return false;
                if (!step.found)
                        break;
                if (steps == DNS_ANSWER_MAX_CHAIN || !take_step(parse, &step))
                        return false;
        }
        parse->body.names[parse->body.chain_end].leads_by = parse->type;
        return true;
}

/* --- what comes behind the chain --- */

/* Signatures have their own turn, unless it is them that were asked for. */
static bool write_asked_for(struct parse *parse)
{
        for (size_t i = 0; i < parse->in.answer_count; i++) {
                const struct dns_record *record = &parse->in.records[i];
                if (!is_asked_for(parse, record) || !is_of(parse, i, chain_end(parse)))
                        continue;
                parse->positive = true;
                if ((record->type != DNS_TYPE_RRSIG || parse->type == DNS_TYPE_RRSIG) &&
                    !write_record(parse, chain_end(parse), record, dns_record_ttl_s(record)))
                        return false;
        }
        return true;
}

/* 0: it covers nothing, being cut. */
static uint16_t type_covered(const struct dns_record *signature)
{
        struct byte_cursor cursor = signature->data;
        uint16_t type;

        return byte_cursor_u16(&cursor, &type) ? type : 0;
}

/* The types that the daemon changes. */
static bool is_filtered(uint16_t type)
{
        return type == DNS_TYPE_A || type == DNS_TYPE_AAAA || type == DNS_TYPE_SVCB || type == DNS_TYPE_HTTPS;
}

/* The name whose records the signature is for; NULL: none that is in the body as it was signed. */
static const struct dns_body_name *find_signed(const struct parse *parse, size_t record)
{
        uint16_t covered = type_covered(&parse->in.records[record]);

        if (parse->changed && is_filtered(covered))
                return NULL;
        for (size_t i = 0; i < parse->body.name_count; i++) {
                const struct dns_body_name *name = &parse->body.names[i];
                if ((covered == name->leads_by || name->leads_by == DNS_TYPE_ANY) && is_of(parse, record, name))
                        return name;
        }
        return NULL;
}

static bool write_signatures(struct parse *parse)
{
        for (size_t i = 0; i < parse->in.answer_count; i++) {
                const struct dns_record *record = &parse->in.records[i];
                const struct dns_body_name *name = record->type == DNS_TYPE_RRSIG ? find_signed(parse, i) : NULL;
                if (name != NULL && !write_record(parse, name, record, dns_record_ttl_s(record)))
                        return false;
        }
        return true;
}

/* RFC 2308 5: a denial may be believed as long as the lesser of SOA's TTL and its last field. */
static uint32_t denial_ttl_s(const struct dns_record *soa)
{
        struct byte_cursor minimum = soa->data;
        uint32_t minimum_s, ttl_s = dns_record_ttl_s(soa);

        if (minimum.left < SOA_MINIMUM_SIZE || !byte_cursor_skip(&minimum, minimum.left - SOA_MINIMUM_SIZE) ||
            !byte_cursor_u32(&minimum, &minimum_s))
                return 0; /* Malformed; writing it says so. */
        return minimum_s < ttl_s ? minimum_s : ttl_s;
}

static bool belongs_to_authority(const struct parse *parse, uint16_t type)
{
        return type == DNS_TYPE_NSEC || type == DNS_TYPE_NSEC3 || (type == DNS_TYPE_SOA && !parse->positive);
}

static bool write_authority(struct parse *parse)
{
        for (size_t i = parse->in.answer_count; i < parse->in.record_count; i++) {
                const struct dns_record *record = &parse->in.records[i];
                bool is_soa = record->type == DNS_TYPE_SOA;
                uint16_t type = record->type == DNS_TYPE_RRSIG ? type_covered(record) : record->type;
                if (record->class != DNS_CLASS_IN || !belongs_to_authority(parse, type))
                        continue;
                parse->had_soa = parse->had_soa || is_soa;
                if (!write_record(parse, NULL, record, is_soa ? denial_ttl_s(record) : dns_record_ttl_s(record)))
                        return false;
        }
        return true;
}

/* --- all of it --- */

/* A name that is said not to exist, with records, is no answer. */
static enum dns_answer_result put_together(struct parse *parse)
{
        struct dns_answer *answer = parse->answer;
        struct dns_body *body = &parse->body;

        if (!follow_chain(parse) || !write_asked_for(parse) || !write_signatures(parse))
                return DNS_ANSWER_BAD;
        answer->answer_count = (uint16_t)body->record_count;
        if (parse->positive && parse->in.rcode == DNS_RCODE_NAME_ERROR)
                return DNS_ANSWER_BAD;
        if (parse->had_address && answer->address_count == 0)
                return DNS_ANSWER_FORBIDDEN;
        dns_body_begin_section(body);
        if (!write_authority(parse))
                return DNS_ANSWER_BAD;
        answer->authority_count = (uint16_t)body->record_count;
        answer->rcode = parse->in.rcode == DNS_RCODE_NAME_ERROR ? DNS_RCODE_NAME_ERROR : DNS_RCODE_NO_ERROR;
        answer->authentic = (parse->in.flags & DNS_FLAG_AUTHENTIC_DATA) != 0 && !parse->changed;
        answer->ttl_s = parse->positive || parse->had_soa ? body->least_ttl_s : 0;
        answer->body_length = body->bytes.length;
        return DNS_ANSWER_OK;
}

enum dns_answer_result dns_answer_parse(const void *message, size_t length, const struct fqdn *name, uint16_t type,
                                        dns_address_fn permits, void *context, struct dns_answer *ret)
{
        struct dns_name question;
        struct parse parse;

        dns_name_from_fqdn(name, &question);
        enum dns_answer_result result = dns_sections_read(message, length, &question, type, &parse.in);
        if (result != DNS_ANSWER_OK)
                return result;
        parse.type = type;
        parse.permits = permits;
        parse.context = context;
        parse.positive = parse.had_address = parse.had_soa = parse.changed = false;
        parse.answer = ret;
        ret->address_count = 0;
        dns_body_start(&parse.body, &question, ret->body, sizeof(ret->body));
        return put_together(&parse);
}

/* The answer as a server sends it: the body's pointers fit behind any question of the name. */
static void write_message(const struct dns_answer *answer, const struct dns_name *name, uint16_t type,
                          struct byte_builder *message)
{
        unsigned flags = DNS_FLAG_RESPONSE | (answer->authentic ? DNS_FLAG_AUTHENTIC_DATA : 0) | answer->rcode;
        const unsigned header[] = { 0, flags, 1, answer->answer_count, answer->authority_count, 0 };

        for (size_t i = 0; i < ARRAY_SIZE(header); i++)
                byte_builder_u16(message, (uint16_t)header[i]);
        byte_builder_bytes(message, name->bytes, name->length);
        byte_builder_u16(message, type);
        byte_builder_u16(message, DNS_CLASS_IN);
        byte_builder_bytes(message, answer->body, answer->body_length);
}

enum dns_answer_result dns_answer_filter(const struct dns_answer *answer, const struct fqdn *name, uint16_t type,
                                         dns_address_fn permits, void *context, struct dns_answer *ret)
{
        uint8_t bytes[DNS_MESSAGE_HEADER_SIZE + DNS_NAME_MAX_SIZE + QUESTION_END_SIZE + DNS_ANSWER_MAX_BODY_SIZE];
        struct byte_builder message = byte_builder_on(bytes, sizeof(bytes));
        struct dns_name question;

        dns_name_from_fqdn(name, &question);
        write_message(answer, &question, type, &message);
        return dns_answer_parse(bytes, message.length, name, type, permits, context, ret);
}
