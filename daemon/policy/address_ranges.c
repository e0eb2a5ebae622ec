#include "policy/address_ranges.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define MAX_NESTED 129 /* one for each prefix length from 0 to 128 */

static int append(struct address_ranges *ranges, const struct address_range *range)
{
        if (ranges->count == ranges->capacity) {
                size_t capacity = ranges->capacity == 0 ? 8 : ranges->capacity * 2;
                struct address_range *items = reallocarray(ranges->items, capacity, sizeof(*items));
                if (items == NULL)
                        return -ENOMEM;
                ranges->items = items;
                ranges->capacity = capacity;
        }
        ranges->items[ranges->count++] = *range;
        return 0;
}

int address_ranges_add(struct address_ranges *ranges, const struct net_prefix *prefix, uint32_t number)
{
        struct address_range range = { .first = prefix->address, .last = prefix->address, .number = number };
        size_t size = prefix->address.family == AF_INET ? 4 : 16;

        for (size_t bit = prefix->length; bit < size * 8; bit++)
                range.last.bytes[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
        return append(ranges, &range);
}

/* By first address; of those that begin together the widest comes first. */
static int compare(const void *left, const void *right)
{
        const struct address_range *a = left, *b = right;
        int order = net_address_compare(&a->first, &b->first);

        return order != 0 ? order : net_address_compare(&b->last, &a->last);
}

static void sort(struct address_ranges *ranges)
{
        if (ranges->count > 1)
                qsort(ranges->items, ranges->count, sizeof(*ranges->items), compare);
}

/* Whether b, which does not begin before a, overlaps it or follows it without a gap. */
static bool touches(const struct address_range *a, const struct address_range *b)
{
        struct net_address after = a->last;

        return net_address_compare(&b->first, &a->last) <= 0 ||
               (net_address_increment(&after) && net_address_equal(&after, &b->first));
}

void address_ranges_join(struct address_ranges *ranges)
{
        size_t kept = 0;

        sort(ranges);
        for (size_t i = 0; i < ranges->count; i++) {
                const struct address_range *range = &ranges->items[i];
                struct address_range *before = kept > 0 ? &ranges->items[kept - 1] : NULL;
                if (before == NULL || !touches(before, range))
                        ranges->items[kept++] = *range;
                else if (net_address_compare(&range->last, &before->last) > 0)
                        before->last = range->last;
        }
        ranges->count = kept;
}

/* The address before this one, which is not the first. */
static struct net_address before(const struct net_address *address)
{
        struct net_address result = *address;

        for (size_t i = address->family == AF_INET ? 4 : 16; i-- > 0;)
                if (result.bytes[i]-- != 0)
                        break;
        return result;
}

/* A walk over sorted prefixes: those that hold the present address, the longest last, and what is written so far. */
struct flattening {
        const struct address_range *open[MAX_NESTED];
        size_t depth;
        struct net_address next; /* the first address not yet written */
        bool at_end;             /* there is none: the last address of the family is written */
        struct address_ranges written;
};

static int write_up_to(struct flattening *walk, const struct net_address *last, uint32_t number)
{
        struct address_range piece = { .first = walk->next, .last = *last, .number = number };
        struct address_range *previous = walk->written.count > 0 ? &walk->written.items[walk->written.count - 1] : NULL;

        if (walk->at_end || net_address_compare(&piece.first, last) > 0)
                return 0;
        walk->next = *last;
        walk->at_end = !net_address_increment(&walk->next);
        if (previous != NULL && previous->number == number && touches(previous, &piece)) {
                previous->last = *last;
                return 0;
        }
        return append(&walk->written, &piece);
}

/* Closes the prefixes that end before first (NULL: all). */
static int close_before(struct flattening *walk, const struct net_address *first)
{
        while (walk->depth > 0) {
                const struct address_range *inner = walk->open[walk->depth - 1];
                if (first != NULL && net_address_compare(&inner->last, first) >= 0)
                        return 0;
                int r = write_up_to(walk, &inner->last, inner->number);
                if (r < 0)
                        return r;
                walk->depth--;
        }
        return 0;
}

static int open_prefix(struct flattening *walk, const struct address_range *range)
{
        int r = close_before(walk, &range->first);

        if (r == 0 && walk->depth > 0 && net_address_compare(&walk->next, &range->first) < 0) {
                struct net_address last = before(&range->first);
                r = write_up_to(walk, &last, walk->open[walk->depth - 1]->number);
        }
        if (r < 0)
                return r;
        walk->next = range->first;
        if (walk->depth > 0 && net_address_equal(&walk->open[walk->depth - 1]->first, &range->first) &&
            net_address_equal(&walk->open[walk->depth - 1]->last, &range->last))
                return 0; /* The same prefix again: the first stays, and the depth is bounded. */
        walk->open[walk->depth++] = range;
        return 0;
}

int address_ranges_flatten(struct address_ranges *ranges)
{
        struct flattening walk = { 0 };
        int r = 0;

        sort(ranges);
        for (size_t i = 0; i < ranges->count && r == 0; i++)
                r = open_prefix(&walk, &ranges->items[i]);
        if (r == 0)
                r = close_before(&walk, NULL);
        if (r < 0) {
                address_ranges_clear(&walk.written);
                return r;
        }
        address_ranges_clear(ranges);
        *ranges = walk.written;
        return 0;
}

void address_ranges_clear(struct address_ranges *ranges)
{
        free(ranges->items);
        *ranges = (struct address_ranges){ 0 };
}
