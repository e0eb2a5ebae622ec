/*
 * Data of SVCB and HTTPS records (RFC 9460): checked strictly, and written without what a client behind this firewall
 * must not have, the key for encrypted hellos and addresses that it may not reach. Pure.
 */
#pragma once

#include "base/byte_builder.h"
#include "base/byte_cursor.h"
#include "base/compiler.h"
#include "inspect/dns_message.h"

enum dns_service_result {
        DNS_SERVICE_OK = 0,
        DNS_SERVICE_CHANGED,  /* something was left out */
        DNS_SERVICE_UNUSABLE, /* what was left out is mandatory: the record must go */
        DNS_SERVICE_BAD,
};

/*
 * Appends the data without the parameter `ech`, and without addresses in ipv4hint and ipv6hint that permits refuses
 * (NULL: none); a hint that loses all of them goes. What was appended counts only with OK and CHANGED.
 *
 * A record whose `mandatory` lists a parameter that goes is UNUSABLE: it says that nobody may use it who does not know
 * that parameter (RFC 9460 8), and a client that cannot see it is such a one. Taking it off the list instead would send
 * a client to a server in a way that the server's owner excluded.
 */
MUST_CHECK enum dns_service_result dns_service_write(struct byte_cursor data, dns_address_fn permits, void *context,
                                                     struct byte_builder *builder);
