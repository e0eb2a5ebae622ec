#include "policy/reason.h"

static const struct reason_row rows[REASON_COUNT] = {
#define REASON(symbol, text, outcome, http_status, tls_alert, meaning)                                                 \
        [REASON_##symbol] = { text, REASON_OUTCOME_##outcome, http_status, tls_alert, meaning },
#include "policy/reason_table.h"
#undef REASON
};

const struct reason_row *reason_row(enum reason reason)
{
        return &rows[reason];
}
