/* What a rule or a request is about: a protocol that is decided by name (https, http) or one that is decided by address. */
#pragma once

enum policy_protocol {
        POLICY_PROTOCOL_HTTPS = 0,
        POLICY_PROTOCOL_HTTP,
        POLICY_PROTOCOL_TCP,
        POLICY_PROTOCOL_UDP,
};

/* "https", …: as rules and records write it. */
const char *policy_protocol_name(enum policy_protocol protocol);
