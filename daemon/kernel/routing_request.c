#include "kernel/routing_request.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <sys/socket.h>

struct nlmsghdr *routing_request_begin(struct routing_request *request, uint16_t type, uint16_t flags)
{
        struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);

        header->nlmsg_type = type;
        header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        return header;
}

bool routing_request_found_nothing(int code)
{
        return code == -ENOENT || code == -ESRCH;
}

bool routing_request_family_is_off(uint8_t family, int code)
{
        return family == AF_INET6 && (code == -EAFNOSUPPORT || code == -EOPNOTSUPP || code == -EACCES);
}
