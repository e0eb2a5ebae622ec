#include "base/byte_cursor.h"

bool byte_cursor_take(struct byte_cursor *cursor, size_t length, struct byte_cursor *ret)
{
        if (cursor->left < length)
                return false;
        *ret = byte_cursor_from(cursor->next, length);
        cursor->next += length;
        cursor->left -= length;
        return true;
}

bool byte_cursor_skip(struct byte_cursor *cursor, size_t length)
{
        struct byte_cursor skipped;

        return byte_cursor_take(cursor, length, &skipped);
}

static bool read_big_endian(struct byte_cursor *cursor, size_t size, uint64_t *ret)
{
        struct byte_cursor field;
        uint64_t value = 0;

        if (!byte_cursor_take(cursor, size, &field))
                return false;
        for (size_t i = 0; i < size; i++)
                value = value << 8 | field.next[i];
        *ret = value;
        return true;
}

bool byte_cursor_u8(struct byte_cursor *cursor, uint8_t *ret)
{
        uint64_t value;

        if (!read_big_endian(cursor, 1, &value))
                return false;
        *ret = (uint8_t)value;
        return true;
}

bool byte_cursor_u16(struct byte_cursor *cursor, uint16_t *ret)
{
        uint64_t value;

        if (!read_big_endian(cursor, 2, &value))
                return false;
        *ret = (uint16_t)value;
        return true;
}

bool byte_cursor_u32(struct byte_cursor *cursor, uint32_t *ret)
{
        uint64_t value;

        if (!read_big_endian(cursor, 4, &value))
                return false;
        *ret = (uint32_t)value;
        return true;
}

bool byte_cursor_varint(struct byte_cursor *cursor, uint64_t *ret)
{
        uint64_t value;

        if (cursor->left == 0)
                return false;
        /* The two highest bits say how many bytes it takes, and are not part of it. */
        size_t size = (size_t)1 << (cursor->next[0] >> 6);
        if (!read_big_endian(cursor, size, &value))
                return false;
        *ret = value & (UINT64_MAX >> (64 - (8 * size - 2)));
        return true;
}
