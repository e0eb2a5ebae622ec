/* What requests that change the kernel's routing (rtnetlink(7), through libmnl) have in common, and how they may fail. */
#pragma once

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

/* Room for the few attributes that a rule or a route takes. */
struct routing_request {
        char bytes[512] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* Begins a request that the kernel acknowledges; the family's own header is to follow. The message is in request. */
struct nlmsghdr *routing_request_begin(struct routing_request *request, uint16_t type, uint16_t flags);

/* Whether a removal failed only because there was nothing to remove. */
bool routing_request_found_nothing(int code);

/* Whether this is how a kernel without IPv6, or with it disabled on lo, answers. */
bool routing_request_family_is_off(uint8_t family, int code);
