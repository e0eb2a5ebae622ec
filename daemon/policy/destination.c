#include "policy/destination.h"

#include <errno.h>
#include <string.h>

#define TAG_PREFIX "tag:"
#define TAG_PREFIX_LENGTH 4

enum destination_kind destination_kind_of(const char *text, size_t length)
{
        if (length > 0 && text[0] == '[')
                return DESTINATION_PREFIXES;
        if (length >= TAG_PREFIX_LENGTH && memcmp(text, TAG_PREFIX, TAG_PREFIX_LENGTH) == 0)
                return DESTINATION_TAG;
        return DESTINATION_NAME;
}

static int fail(struct rule_error *reterr, size_t offset, const char *text, size_t length, const char *problem)
{
        return rule_error_set(reterr, offset, "'%.*s' %s", rule_error_quote_length(length), text, problem);
}

static int parse_prefix(const char *text, size_t length, size_t offset, struct net_prefix *ret,
                        struct rule_error *reterr)
{
        int r = net_prefix_parse(text, length, ret);

        if (r == -EDOM)
                return fail(reterr, offset, text, length,
                            "has bits set past the prefix length: write the network's first address");
        if (r < 0)
                return fail(reterr, offset, text, length,
                            "is not a prefix: write for example 203.0.113.0/24 or 2001:db8::/32");
        return 0;
}

static int parse_prefixes(const char *text, size_t length, struct destination *ret, struct rule_error *reterr)
{
        size_t start = 1;

        ret->prefix_count = 0;
        if (text[length - 1] != ']')
                return rule_error_set(reterr, length, "no ']' after the prefixes: write [203.0.113.0/24,198.51.100.7]");
        for (size_t i = 1; i < length; i++) {
                if (text[i] != ',' && i != length - 1)
                        continue;
                if (ret->prefix_count == DESTINATION_MAX_PREFIXES)
                        return rule_error_set(reterr, start, "more than %d prefixes: write a second rule",
                                              DESTINATION_MAX_PREFIXES);
                int r = parse_prefix(text + start, i - start, start, &ret->prefixes[ret->prefix_count], reterr);
                if (r < 0)
                        return r;
                ret->prefix_count++;
                start = i + 1;
        }
        return 0;
}

static bool is_tag_byte(char byte)
{
        return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
               byte == '.' || byte == '_' || byte == '-';
}

static int parse_tag(const char *text, size_t length, struct destination *ret, struct rule_error *reterr)
{
        const char *tag = text + TAG_PREFIX_LENGTH;
        size_t tag_length = length - TAG_PREFIX_LENGTH;

        if (tag_length == 0 || tag_length > DESTINATION_MAX_TAG_LENGTH)
                return rule_error_set(reterr, TAG_PREFIX_LENGTH,
                                      "no service tag after 'tag:': write for example tag:AzureMonitor");
        for (size_t i = 0; i < tag_length; i++)
                if (!is_tag_byte(tag[i]))
                        return fail(reterr, TAG_PREFIX_LENGTH + i, tag, tag_length,
                                    "is not a service tag: letters, digits, dots, hyphens and underscores only");
        memcpy(ret->text, tag, tag_length);
        ret->text[tag_length] = '\0';
        ret->length = tag_length;
        return 0;
}

/* `*` next to other bytes of its label. */
static int check_stars(const char *text, size_t length, struct rule_error *reterr)
{
        for (size_t i = 0; i < length; i++) {
                if (text[i] != '*')
                        continue;
                if (i > 0 && text[i - 1] != '.')
                        return fail(reterr, i, text, length,
                                    "has '*' inside a label, which would also match names of other owners; '*' is a "
                                    "whole label: write *.name");
                if (i + 1 < length && text[i + 1] != '.')
                        return rule_error_set(reterr, i,
                                              "'%.*s' has '*' inside a label: '*foo.com' would also match evilfoo.com; "
                                              "'*' is a whole label: write *.foo.com",
                                              rule_error_quote_length(length), text);
        }
        if (length == 1 && text[0] == '*')
                return rule_error_set(reterr, 0, "'*' alone would allow every name: write the names, or *.name");
        if (length >= 2 && text[length - 1] == '*')
                return fail(reterr, length - 1, text, length, "ends in '*': the last label cannot be a wildcard");
        return 0;
}

static int explain_bad_name(const char *text, size_t length, struct rule_error *reterr)
{
        struct net_prefix prefix;
        size_t end = length > 0 && text[length - 1] == '.' ? length - 1 : length;

        if (net_prefix_parse(text, length, &prefix) != -EINVAL)
                return rule_error_set(reterr, 0,
                                      "'%.*s' is an address, not a name: write tcp [%.*s]:PORT or udp [%.*s]:PORT",
                                      rule_error_quote_length(length), text, rule_error_quote_length(length), text,
                                      rule_error_quote_length(length), text);
        if (length == 0)
                return rule_error_set(reterr, 0, "no destination: write a name, *.name, [prefix] or tag:NAME");
        if (end > FQDN_MAX_LENGTH)
                return fail(reterr, 0, text, length, "is longer than the 253 bytes of a domain name");
        for (size_t i = 0; i < length; i++)
                if (text[i] == '.' && (i == 0 || text[i - 1] == '.'))
                        return fail(reterr, i, text, length,
                                    "has an empty label: two dots in a row, or one at the front");
        return fail(reterr, 0, text, length,
                    "is not a domain name: labels of 1 to 63 letters, digits, hyphens and underscores, the last one "
                    "not a number");
}

/*
 * Checks the pattern as a name with "x" for every `*`, then puts the `*` back: both are one byte. A trailing dot goes
 * first, so that "*." is `*` alone.
 */
static int parse_name(const char *text, size_t length, struct destination *ret, struct rule_error *reterr)
{
        size_t used = length > 1 && text[length - 1] == '.' ? length - 1 : length;
        char plain[FQDN_MAX_LENGTH];
        struct fqdn name;
        int r = check_stars(text, used, reterr);

        if (r < 0)
                return r;
        if (used > sizeof(plain))
                return explain_bad_name(text, length, reterr);
        for (size_t i = 0; i < used; i++)
                plain[i] = text[i] == '*' ? 'x' : text[i];
        if (fqdn_from_bytes(plain, used, &name) < 0 || name.length != used)
                return explain_bad_name(text, length, reterr);
        for (size_t i = 0; i < used; i++)
                ret->text[i] = text[i] == '*' ? '*' : name.text[i];
        ret->text[used] = '\0';
        ret->length = used;
        return 0;
}

int destination_parse(const char *text, size_t length, struct destination *ret, struct rule_error *reterr)
{
        ret->kind = destination_kind_of(text, length);
        switch (ret->kind) {
        case DESTINATION_PREFIXES:
                return parse_prefixes(text, length, ret, reterr);
        case DESTINATION_TAG:
                return parse_tag(text, length, ret, reterr);
        case DESTINATION_NAME:
                return parse_name(text, length, ret, reterr);
        }
        return -EINVAL;
}
