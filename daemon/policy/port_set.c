#include "policy/port_set.h"

#include <stdio.h>
#include <string.h>

/* Returns 0 when the text is not a port. */
static unsigned parse_port(const char *text, size_t length)
{
        unsigned port = 0;

        if (length == 0 || length > 5 || text[0] == '0')
                return 0;
        for (size_t i = 0; i < length; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return 0;
                port = port * 10 + (unsigned)(text[i] - '0');
        }
        return port <= UINT16_MAX ? port : 0;
}

static int parse_range(const char *text, size_t length, size_t offset, struct port_range *ret,
                       struct rule_error *reterr)
{
        const char *dash = memchr(text, '-', length);
        size_t first_length = dash != NULL ? (size_t)(dash - text) : length;
        unsigned first = parse_port(text, first_length);
        unsigned last = dash != NULL ? parse_port(dash + 1, length - first_length - 1) : first;

        if (first == 0 || last == 0)
                return rule_error_set(reterr, offset, "'%.*s' is not a port: write 443, 443,8443 or 1000-2000",
                                      rule_error_quote_length(length), text);
        if (first > last)
                return rule_error_set(reterr, offset, "the range '%.*s' ends before it begins: write %u-%u",
                                      rule_error_quote_length(length), text, last, first);
        *ret = (struct port_range){ .first = (uint16_t)first, .last = (uint16_t)last };
        return 0;
}

static void insert_sorted(struct port_set *set, struct port_range range)
{
        size_t i = set->count++;

        for (; i > 0 && set->ranges[i - 1].first > range.first; i--)
                set->ranges[i] = set->ranges[i - 1];
        set->ranges[i] = range;
}

static void join_neighbours(struct port_set *set)
{
        uint8_t kept = 1;

        for (uint8_t i = 1; i < set->count; i++) {
                struct port_range *before = &set->ranges[kept - 1];
                struct port_range range = set->ranges[i];
                if (range.first > before->last + 1)
                        set->ranges[kept++] = range;
                else if (range.last > before->last)
                        before->last = range.last;
        }
        set->count = kept;
}

int port_set_parse(const char *text, size_t length, struct port_set *ret, struct rule_error *reterr)
{
        struct port_set set = { 0 };
        size_t start = 0;

        if (length == 0)
                return rule_error_set(reterr, 0, "no port after ':': write for example :443");
        for (size_t i = 0; i <= length; i++) {
                struct port_range range = { 0 };
                if (i < length && text[i] != ',')
                        continue;
                if (set.count == PORT_SET_MAX_RANGES)
                        return rule_error_set(reterr, start, "more than %d ports and ranges: write a second rule",
                                              PORT_SET_MAX_RANGES);
                int r = parse_range(text + start, i - start, start, &range, reterr);
                if (r < 0)
                        return r;
                insert_sorted(&set, range);
                start = i + 1;
        }
        join_neighbours(&set);
        *ret = set;
        return 0;
}

bool port_set_contains(const struct port_set *set, uint16_t port)
{
        for (size_t i = 0; i < set->count; i++)
                if (port >= set->ranges[i].first && port <= set->ranges[i].last)
                        return true;
        return false;
}

size_t port_set_format(const struct port_set *set, char buffer[PORT_SET_TEXT_SIZE])
{
        size_t length = 0;

        buffer[0] = '\0';
        for (size_t i = 0; i < set->count; i++) {
                const struct port_range *range = &set->ranges[i];
                const char *comma = i > 0 ? "," : "";
                size_t left = PORT_SET_TEXT_SIZE - length;
                int written = range->first == range->last
                                      ? snprintf(buffer + length, left, "%s%u", comma, (unsigned)range->first)
                                      : snprintf(buffer + length, left, "%s%u-%u", comma, (unsigned)range->first,
                                                 (unsigned)range->last);
                length += (size_t)written; /* Fits: twelve bytes a range, the last without a comma. */
        }
        return length;
}
