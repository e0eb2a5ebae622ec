#include "policy/policy_protocol.h"

const char *policy_protocol_name(enum policy_protocol protocol)
{
        static const char *const names[] = {
                [POLICY_PROTOCOL_HTTPS] = "https",
                [POLICY_PROTOCOL_HTTP] = "http",
                [POLICY_PROTOCOL_TCP] = "tcp",
                [POLICY_PROTOCOL_UDP] = "udp",
        };

        return names[protocol];
}
