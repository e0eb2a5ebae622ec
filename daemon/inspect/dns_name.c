#include "inspect/dns_name.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"

#define HEADER_SIZE 12       /* RFC 1035 4.1.1: no name lies in it */
#define MAX_LABEL_LENGTH 63  /* RFC 1035 2.3.4 */
#define MAX_LABELS 127       /* of one byte, in 255 bytes */
#define MAX_POINTERS 127     /* one for each label; more is a game with us */
#define POINTER_MASK 0x3fffu /* RFC 1035 4.1.4: 11 and an offset of 14 bits */

/* What a run of labels ends in. */
enum name_end {
        NAME_END_ROOT = 0,
        NAME_END_POINTER,
        NAME_END_BAD,
};

/* Takes one label or pointer. OK to go on while *ret_label is not empty. */
static enum name_end read_label(struct byte_cursor *part, struct byte_cursor *ret_label, size_t *ret_offset)
{
        uint8_t first, second;

        *ret_label = byte_cursor_from(NULL, 0);
        if (!byte_cursor_u8(part, &first))
                return NAME_END_BAD;
        if (first <= MAX_LABEL_LENGTH)
                return byte_cursor_take(part, first, ret_label) ? NAME_END_ROOT : NAME_END_BAD;
        if ((first & DNS_NAME_POINTER_BITS) != DNS_NAME_POINTER_BITS || !byte_cursor_u8(part, &second))
                return NAME_END_BAD;
        *ret_offset = ((size_t)first << 8 | second) & POINTER_MASK;
        return NAME_END_POINTER;
}

/* Appends labels to *ret up to the root or a pointer. */
static enum name_end read_labels(struct byte_cursor *part, struct dns_name *ret, size_t *ret_offset)
{
        struct byte_cursor label;

        for (;;) {
                enum name_end end = read_label(part, &label, ret_offset);
                if (end != NAME_END_ROOT)
                        return end;
                if (ret->length + 1 + label.left > DNS_NAME_MAX_SIZE)
                        return NAME_END_BAD;
                ret->bytes[ret->length++] = (uint8_t)label.left;
                if (label.left == 0)
                        return NAME_END_ROOT;
                memcpy(ret->bytes + ret->length, label.next, label.left);
                ret->length = (uint8_t)(ret->length + label.left);
        }
}

bool dns_name_read(const uint8_t *message, struct byte_cursor *cursor, struct dns_name *ret)
{
        struct byte_cursor part = *cursor, behind;
        size_t offset, part_offset = (size_t)(cursor->next - message);

        ret->length = 0;
        enum name_end end = read_labels(&part, ret, &offset);
        behind = part;
        for (unsigned pointers = 0; end == NAME_END_POINTER; pointers++) {
                if (offset < HEADER_SIZE || offset >= part_offset || pointers == MAX_POINTERS)
                        return false;
                part = byte_cursor_from(message + offset, part_offset - offset);
                part_offset = offset;
                end = read_labels(&part, ret, &offset);
        }
        if (end == NAME_END_BAD)
                return false;
        *cursor = behind;
        return true;
}

bool dns_name_read_plain(struct byte_cursor *cursor, struct dns_name *ret)
{
        struct byte_cursor part = *cursor;
        size_t offset;

        ret->length = 0;
        if (read_labels(&part, ret, &offset) != NAME_END_ROOT)
                return false;
        *cursor = part;
        return true;
}

bool dns_name_skip(struct byte_cursor *cursor)
{
        struct byte_cursor part = *cursor, label;
        size_t length = 0, offset;
        enum name_end end;

        do {
                end = read_label(&part, &label, &offset);
                length += 1 + label.left;
        } while (end == NAME_END_ROOT && label.left > 0 && length < DNS_NAME_MAX_SIZE);
        if (end == NAME_END_BAD || (end == NAME_END_ROOT && label.left > 0))
                return false;
        *cursor = part;
        return true;
}

int dns_name_to_fqdn(const struct dns_name *name, struct fqdn *ret)
{
        char text[DNS_NAME_MAX_SIZE];
        size_t at = 0;

        while (name->bytes[at] != 0) {
                size_t length = name->bytes[at];
                const uint8_t *label = name->bytes + at + 1;
                if (memchr(label, '.', length) != NULL)
                        return -EINVAL;
                memcpy(text + at, label, length);
                text[at + length] = '.';
                at += length + 1;
        }
        return fqdn_from_bytes(text, at, ret);
}

void dns_name_from_fqdn(const struct fqdn *name, struct dns_name *ret)
{
        size_t start = 0; /* of the label, in the text; its length stands there on the wire */

        for (size_t i = 0; i <= name->length && name->length > 0; i++) {
                if (i < name->length && name->text[i] != '.') {
                        ret->bytes[i + 1] = (uint8_t)name->text[i];
                        continue;
                }
                ret->bytes[start] = (uint8_t)(i - start);
                start = i + 1;
        }
        ret->bytes[start] = 0;
        ret->length = (uint8_t)(start + 1);
}

static uint8_t to_lower(uint8_t byte)
{
        return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/* Also for whole names: a label's length is below every letter. */
static bool bytes_equal(const uint8_t *a, const uint8_t *b, size_t length)
{
        for (size_t i = 0; i < length; i++)
                if (to_lower(a[i]) != to_lower(b[i]))
                        return false;
        return true;
}

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
        return a->length == b->length && bytes_equal(a->bytes, b->bytes, a->length);
}

uint32_t dns_name_hash(const struct dns_name *name)
{
        uint8_t lower[DNS_NAME_MAX_SIZE];

        for (size_t i = 0; i < name->length; i++)
                lower[i] = to_lower(name->bytes[i]);
        return (uint32_t)hash_bytes(lower, name->length);
}

static size_t find_labels(const struct dns_name *name, uint8_t ret_starts[MAX_LABELS])
{
        size_t count = 0;

        for (size_t at = 0; name->bytes[at] != 0; at += (size_t)name->bytes[at] + 1)
                ret_starts[count++] = (uint8_t)at;
        return count;
}

size_t dns_name_common_suffix(const struct dns_name *a, const struct dns_name *b)
{
        uint8_t a_starts[MAX_LABELS], b_starts[MAX_LABELS];
        size_t a_count = find_labels(a, a_starts), b_count = find_labels(b, b_starts);
        size_t common = 1;

        while (a_count > 0 && b_count > 0) {
                const uint8_t *a_label = a->bytes + a_starts[--a_count];
                const uint8_t *b_label = b->bytes + b_starts[--b_count];
                if (*a_label != *b_label || !bytes_equal(a_label, b_label, (size_t)*a_label + 1))
                        break;
                common = a->length - (size_t)a_starts[a_count];
        }
        return common;
}
