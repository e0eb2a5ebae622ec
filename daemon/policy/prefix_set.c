#include "policy/prefix_set.h"

#include <stdlib.h>
#include <string.h>

#include "policy/text_table.h"

#define IPV4_KEY_SIZE 5 /* prefix length, address */
#define IPV6_KEY_SIZE 17

/* Keys of the table are the prefix length and the address up to it; their size tells the family. */
struct prefix_set {
        struct text_table *table;
        uint64_t lengths[2][3]; /* bit n: a prefix of n bits occurs; IPv4, IPv6 */
};

struct prefix_set *prefix_set_new(void)
{
        struct prefix_set *set = calloc(1, sizeof(*set));

        if (set == NULL)
                return NULL;
        set->table = text_table_new();
        if (set->table == NULL) {
                free(set);
                return NULL;
        }
        return set;
}

void prefix_set_free(struct prefix_set *set)
{
        if (set == NULL)
                return;
        text_table_free(set->table);
        free(set);
}

static size_t family_index(uint8_t family)
{
        return family == AF_INET ? 0 : 1;
}

/* Writes the key for the first bits of an address; returns its size. */
static size_t write_key(const struct net_address *address, size_t bits, uint8_t key[IPV6_KEY_SIZE])
{
        size_t size = address->family == AF_INET ? IPV4_KEY_SIZE : IPV6_KEY_SIZE;
        size_t whole = bits / 8;

        memset(key, 0, IPV6_KEY_SIZE);
        key[0] = (uint8_t)bits;
        memcpy(key + 1, address->bytes, whole);
        if (bits % 8 != 0)
                key[1 + whole] = (uint8_t)(address->bytes[whole] & 0xff00u >> bits % 8);
        return size;
}

int prefix_set_add(struct prefix_set *set, const struct net_prefix *prefix, uint32_t *ret_entry)
{
        uint8_t key[IPV6_KEY_SIZE];
        size_t size = write_key(&prefix->address, prefix->length, key);
        int r = text_table_add(set->table, key, size, ret_entry);

        if (r < 0)
                return r;
        set->lengths[family_index(prefix->address.family)][prefix->length / 64] |= UINT64_C(1) << prefix->length % 64;
        return 0;
}

uint32_t prefix_set_number(const struct prefix_set *set, uint32_t entry)
{
        return text_table_number(set->table, entry);
}

void prefix_set_set_number(struct prefix_set *set, uint32_t entry, uint32_t number)
{
        text_table_set_number(set->table, entry, number);
}

static size_t find(const struct prefix_set *set, const struct net_address *address, uint32_t *entries, size_t maximum)
{
        const uint64_t *lengths = set->lengths[family_index(address->family)];
        size_t count = 0;

        if (address->family == AF_UNSPEC)
                return 0;
        for (size_t word = 3; word-- > 0;) {
                for (uint64_t left = lengths[word]; left != 0 && count < maximum;) {
                        size_t bit = 63 - (size_t)__builtin_clzll(left);
                        uint8_t key[IPV6_KEY_SIZE];
                        size_t size = write_key(address, word * 64 + bit, key);
                        entries[count] = text_table_find(set->table, key, size);
                        count += entries[count] != TEXT_TABLE_NONE;
                        left &= ~(UINT64_C(1) << bit);
                }
        }
        return count;
}

size_t prefix_set_find(const struct prefix_set *set, const struct net_address *address,
                       uint32_t entries[PREFIX_SET_MAX_HITS])
{
        return find(set, address, entries, PREFIX_SET_MAX_HITS);
}

uint32_t prefix_set_find_longest(const struct prefix_set *set, const struct net_address *address)
{
        uint32_t entry;

        return find(set, address, &entry, 1) == 1 ? entry : PREFIX_SET_NONE;
}

struct net_prefix prefix_set_prefix(const struct prefix_set *set, uint32_t entry)
{
        struct text_table_key key = text_table_key(set->table, entry);
        struct net_prefix prefix = { .address.family = key.length == IPV4_KEY_SIZE ? AF_INET : AF_INET6 };

        memcpy(&prefix.length, key.bytes, 1);
        memcpy(prefix.address.bytes, key.bytes + 1, key.length - 1);
        return prefix;
}

uint32_t prefix_set_first(const struct prefix_set *set)
{
        return text_table_first(set->table);
}

uint32_t prefix_set_next(const struct prefix_set *set, uint32_t entry)
{
        return text_table_next(set->table, entry);
}

void prefix_set_trim(struct prefix_set *set)
{
        text_table_trim(set->table);
}
