#include "base/fqdn.h"

#include <errno.h>
#include <string.h>

/* Canonical byte for each byte that may stand in a label; 0 for every other one. */
static const char canonical_bytes[256] = {
        ['-'] = '-', ['_'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
        ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd',
        ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l',
        ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't',
        ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z', ['a'] = 'a', ['b'] = 'b',
        ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j',
        ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r',
        ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z',
};

static bool is_hexadecimal(const char *text, size_t length)
{
        for (size_t i = 0; i < length; i++)
                if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
                        return false;
        return true;
}

/* A last label that an address parser reads as a number: all digits, or 0x and hexadecimal digits or nothing. */
static bool label_is_number(const char *label, size_t length)
{
        if (length >= 2 && label[0] == '0' && label[1] == 'x')
                return is_hexadecimal(label + 2, length - 2);
        for (size_t i = 0; i < length; i++)
                if (label[i] < '0' || label[i] > '9')
                        return false;
        return true;
}

int fqdn_from_bytes(const void *bytes, size_t length, struct fqdn *ret)
{
        const unsigned char *input = bytes;
        char text[FQDN_MAX_LENGTH + 1];
        size_t label_start = 0;

        if (length > 0 && input[length - 1] == '.')
                length--;
        if (length == 0 || length > FQDN_MAX_LENGTH)
                return -EINVAL;
        for (size_t i = 0; i < length; i++) {
                if (input[i] == '.') {
                        if (i == label_start)
                                return -EINVAL;
                        text[i] = '.';
                        label_start = i + 1;
                        continue;
                }
                text[i] = canonical_bytes[input[i]];
                if (text[i] == '\0' || i - label_start >= FQDN_MAX_LABEL_LENGTH)
                        return -EINVAL;
        }
        if (label_start == length || label_is_number(text + label_start, length - label_start))
                return -EINVAL;
        text[length] = '\0';
        ret->length = (uint8_t)length;
        memcpy(ret->text, text, length + 1);
        return 0;
}

int fqdn_from_text(const char *text, struct fqdn *ret)
{
        return fqdn_from_bytes(text, strlen(text), ret);
}

bool fqdn_equal(const struct fqdn *a, const struct fqdn *b)
{
        return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

bool fqdn_is_within(const struct fqdn *name, const struct fqdn *zone)
{
        if (zone->length == 0)
                return true;
        if (name->length < zone->length)
                return false;
        size_t offset = (size_t)name->length - zone->length;
        if (memcmp(name->text + offset, zone->text, zone->length) != 0)
                return false;
        return offset == 0 || name->text[offset - 1] == '.';
}
