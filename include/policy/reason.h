/* Why a connection or request ended: one enum, one table (reason_table.h), no other words for it anywhere. */
#pragma once

#include <stdint.h>

enum reason {
#define REASON(symbol, text, outcome, http_status, tls_alert, meaning) REASON_##symbol,
#include "policy/reason_table.h"
#undef REASON
        REASON_COUNT, /* must be last */
};

enum reason_outcome {
        REASON_OUTCOME_PERMITTED,
        REASON_OUTCOME_REFUSED,
};

struct reason_row {
        const char *text;
        enum reason_outcome outcome;
        uint16_t http_status;
        uint8_t tls_alert;
        const char *meaning;
};

/* The row of a reason; a static constant. */
const struct reason_row *reason_row(enum reason reason);
