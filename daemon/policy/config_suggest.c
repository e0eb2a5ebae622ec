#include "policy/config_suggest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define EDIT_COST 2
#define CASE_COST 1

static size_t smaller(size_t a, size_t b)
{
        return a < b ? a : b;
}

static size_t replace_cost(char a, char b)
{
        if (a == b)
                return 0;
        return tolower((unsigned char)a) == tolower((unsigned char)b) ? CASE_COST : EDIT_COST;
}

/*
 * Edits (insert, delete, replace, swap neighbours) between two words, each counted EDIT_COST and a change of case CASE_COST:
 * optimal string alignment, three rows of the table at a time.
 */
static size_t distance_between(const char *a, const char *b)
{
        size_t rows[3][CONFIG_SUGGEST_MAX_LENGTH + 1];
        size_t *before = rows[0], *previous = rows[1], *current = rows[2];
        size_t a_length = strlen(a), b_length = strlen(b);

        if (a_length > CONFIG_SUGGEST_MAX_LENGTH || b_length > CONFIG_SUGGEST_MAX_LENGTH)
                return SIZE_MAX;
        for (size_t j = 0; j <= b_length; j++)
                previous[j] = j * EDIT_COST;
        memcpy(before, previous, sizeof(rows[0]));
        for (size_t i = 1; i <= a_length; i++) {
                current[0] = i * EDIT_COST;
                for (size_t j = 1; j <= b_length; j++) {
                        current[j] = smaller(previous[j], current[j - 1]) + EDIT_COST;
                        current[j] = smaller(current[j], previous[j - 1] + replace_cost(a[i - 1], b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                current[j] = smaller(current[j], before[j - 2] + EDIT_COST);
                }
                size_t *reused = before;
                before = previous;
                previous = current;
                current = reused;
        }
        return previous[b_length];
}

void config_suggest_offer(struct config_suggest *suggest, const char *candidate)
{
        size_t distance = distance_between(suggest->word, candidate);
        size_t allowed = (strlen(candidate) + 2) / 3 * EDIT_COST;

        if (distance > allowed || (suggest->best != NULL && distance >= suggest->best_distance))
                return;
        suggest->best = candidate;
        suggest->best_distance = distance;
}
