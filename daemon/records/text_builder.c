#include "records/text_builder.h"

#define DIGITS_MAX 20 /* of 2^64 - 1 */

void text_builder_number(struct text_builder *builder, uint64_t number)
{
        char digits[DIGITS_MAX];
        size_t first = sizeof(digits);

        do {
                digits[--first] = (char)('0' + number % 10);
                number /= 10;
        } while (number > 0);
        text_builder_bytes(builder, digits + first, sizeof(digits) - first);
}
