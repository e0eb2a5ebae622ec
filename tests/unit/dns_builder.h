/*
 * DNS messages for tests, written by hand and record by record, so that what the program writes is compared with
 * something else. Names are texts with dots; "@" is a compression pointer to the question, "name@" is labels before
 * such a pointer, and "@+N" points N bytes into the question's name.
 */
#pragma once

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/dns_message.h"

struct dns_bytes {
        uint8_t bytes[70000];
        size_t length;
};

static inline void dns_put(struct dns_bytes *message, const void *bytes, size_t length)
{
        assert(message->length + length <= sizeof(message->bytes));
        if (length > 0)
                memcpy(message->bytes + message->length, bytes, length);
        message->length += length;
}

static inline void dns_put_u8(struct dns_bytes *message, unsigned value)
{
        uint8_t byte = (uint8_t)value;

        dns_put(message, &byte, 1);
}

static inline void dns_put_u16(struct dns_bytes *message, unsigned value)
{
        dns_put_u8(message, value >> 8);
        dns_put_u8(message, value);
}

static inline void dns_put_u32(struct dns_bytes *message, uint32_t value)
{
        dns_put_u16(message, value >> 16);
        dns_put_u16(message, value & 0xffff);
}

static inline void dns_put_name(struct dns_bytes *message, const char *name)
{
        while (*name != '\0' && *name != '@') {
                size_t length = strcspn(name, ".@");
                dns_put_u8(message, (unsigned)length);
                dns_put(message, name, length);
                name += length + (name[length] == '.');
        }
        if (*name == '@')
                dns_put_u16(message, 0xc000u + DNS_MESSAGE_HEADER_SIZE + (unsigned)atoi(name + 1));
        else
                dns_put_u8(message, 0);
}

static inline void dns_set_u16(struct dns_bytes *message, size_t at, unsigned value)
{
        message->bytes[at] = (uint8_t)(value >> 8);
        message->bytes[at + 1] = (uint8_t)value;
}

static inline unsigned dns_get_u16(const uint8_t *bytes)
{
        return (unsigned)bytes[0] << 8 | bytes[1];
}

/* A message with one question and no records. */
static inline void dns_start(struct dns_bytes *message, unsigned flags, const char *name, unsigned type)
{
        message->length = 0;
        dns_put_u16(message, 0x1234);
        dns_put_u16(message, flags);
        dns_put_u16(message, 1);
        dns_put_u16(message, 0);
        dns_put_u32(message, 0);
        dns_put_name(message, name);
        dns_put_u16(message, type);
        dns_put_u16(message, DNS_CLASS_IN);
}

enum dns_section { /* where the header counts them */
                   DNS_SECTION_ANSWER = 6,
                   DNS_SECTION_AUTHORITY = 8,
                   DNS_SECTION_ADDITIONAL = 10,
};

/* A record without its data; returns what dns_end_record takes. */
static inline size_t dns_begin_record(struct dns_bytes *message, enum dns_section section, const char *name,
                                      unsigned type, uint32_t ttl)
{
        dns_set_u16(message, section, dns_get_u16(message->bytes + section) + 1);
        dns_put_name(message, name);
        dns_put_u16(message, type);
        dns_put_u16(message, DNS_CLASS_IN);
        dns_put_u32(message, ttl);
        dns_put_u16(message, 0);
        return message->length;
}

static inline void dns_end_record(struct dns_bytes *message, size_t data)
{
        dns_set_u16(message, data - 2, (unsigned)(message->length - data));
}

static inline void dns_put_record(struct dns_bytes *message, enum dns_section section, const char *name, unsigned type,
                                  uint32_t ttl, const void *bytes, size_t length)
{
        size_t data = dns_begin_record(message, section, name, type, ttl);

        dns_put(message, bytes, length);
        dns_end_record(message, data);
}

/* An answer record that is one name. */
static inline void dns_put_alias(struct dns_bytes *message, const char *name, unsigned type, uint32_t ttl,
                                 const char *target)
{
        size_t data = dns_begin_record(message, DNS_SECTION_ANSWER, name, type, ttl);

        dns_put_name(message, target);
        dns_end_record(message, data);
}

/* An answer record A 10.0.0.last. */
static inline void dns_put_a(struct dns_bytes *message, const char *name, uint32_t ttl, unsigned last)
{
        const uint8_t address[] = { 10, 0, 0, (uint8_t)last };

        dns_put_record(message, DNS_SECTION_ANSWER, name, DNS_TYPE_A, ttl, address, sizeof(address));
}

static inline void dns_put_soa(struct dns_bytes *message, const char *name, uint32_t ttl, uint32_t minimum)
{
        size_t data = dns_begin_record(message, DNS_SECTION_AUTHORITY, name, DNS_TYPE_SOA, ttl);

        dns_put_name(message, "ns.@");
        dns_put_name(message, "admin.@");
        for (unsigned i = 0; i < 4; i++)
                dns_put_u32(message, 3600 + i);
        dns_put_u32(message, minimum);
        dns_end_record(message, data);
}

/* A signature that covers records of a type; 20 bytes stand for the rest. */
static inline void dns_put_rrsig(struct dns_bytes *message, enum dns_section section, const char *name,
                                 unsigned covered, uint32_t ttl)
{
        size_t data = dns_begin_record(message, section, name, DNS_TYPE_RRSIG, ttl);

        dns_put_u16(message, covered);
        for (unsigned i = 0; i < 20; i++)
                dns_put_u8(message, i);
        dns_end_record(message, data);
}

static inline void dns_put_opt(struct dns_bytes *message, unsigned size, uint32_t ttl, const void *options,
                               size_t length)
{
        dns_put_record(message, DNS_SECTION_ADDITIONAL, "", DNS_TYPE_OPT, ttl, options, length);
        dns_set_u16(message, message->length - length - 8, size);
}
