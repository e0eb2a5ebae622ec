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

static bool read_big_endian(struct byte_cursor *cursor, size_t size, uint32_t *ret)
{
        struct byte_cursor field;
        uint32_t value = 0;

        if (!byte_cursor_take(cursor, size, &field))
                return false;
        for (size_t i = 0; i < size; i++)
                value = value << 8 | field.next[i];
        *ret = value;
        return true;
}

bool byte_cursor_u8(struct byte_cursor *cursor, uint8_t *ret)
{
        uint32_t value;

        if (!read_big_endian(cursor, 1, &value))
                return false;
        *ret = (uint8_t)value;
        return true;
}

bool byte_cursor_u16(struct byte_cursor *cursor, uint16_t *ret)
{
        uint32_t value;

        if (!read_big_endian(cursor, 2, &value))
                return false;
        *ret = (uint16_t)value;
        return true;
}

bool byte_cursor_u32(struct byte_cursor *cursor, uint32_t *ret)
{
        return read_big_endian(cursor, 4, ret);
}
