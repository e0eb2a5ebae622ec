#include "policy/near_name.h"

#include <limits.h>
#include <string.h>

static unsigned minimum(unsigned a, unsigned b)
{
        return a < b ? a : b;
}

/* Optimal string alignment, three rows at a time. */
unsigned near_name_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
        unsigned rows[3][NEAR_NAME_MAX_LENGTH + 1];

        if (a_length > NEAR_NAME_MAX_LENGTH || b_length > NEAR_NAME_MAX_LENGTH)
                return UINT_MAX;
        for (size_t j = 0; j <= b_length; j++)
                rows[0][j] = (unsigned)j;
        for (size_t i = 1; i <= a_length; i++) {
                unsigned *row = rows[i % 3];
                const unsigned *above = rows[(i + 2) % 3];
                const unsigned *second_above = rows[(i + 1) % 3];
                row[0] = (unsigned)i;
                for (size_t j = 1; j <= b_length; j++) {
                        row[j] = minimum(above[j], row[j - 1]) + 1;
                        row[j] = minimum(row[j], above[j - 1] + (a[i - 1] != b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                row[j] = minimum(row[j], second_above[j - 2] + 1);
                }
        }
        return rows[a_length % 3][b_length];
}

void near_name_consider(struct near_name *near, const char *candidate)
{
        size_t length = strlen(near->wanted);
        unsigned limit = length <= 4 ? 1 : (unsigned)length / 3;
        unsigned distance = near_name_distance(near->wanted, length, candidate, strlen(candidate));

        if (distance <= limit && (near->best == NULL || distance < near->best_distance)) {
                near->best = candidate;
                near->best_distance = distance;
        }
}
