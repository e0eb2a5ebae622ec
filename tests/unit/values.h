/* Names and addresses from texts that must be right: what tests write instead of bytes. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/fqdn.h"
#include "base/net_address.h"

static inline struct fqdn name_of(const char *text)
{
        struct fqdn name;

        if (fqdn_from_text(text, &name) != 0)
                fail_msg("'%s' is no name", text);
        return name;
}

static inline struct net_address address_of(const char *text)
{
        struct net_address address;

        if (net_address_parse(text, strlen(text), &address) != 0)
                fail_msg("'%s' is no address", text);
        return address;
}
