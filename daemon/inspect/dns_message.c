#include "inspect/dns_message.h"

#include <stdio.h>

#include "base/compiler.h"

/* By IANA's tables of DNS parameters. */
struct number_name {
        unsigned number;
        const char *name;
};

static const struct number_name types[] = {
        { 1, "A" },       { 2, "NS" },     { 5, "CNAME" },       { 6, "SOA" },    { 12, "PTR" },   { 13, "HINFO" },
        { 15, "MX" },     { 16, "TXT" },   { 28, "AAAA" },       { 29, "LOC" },   { 33, "SRV" },   { 35, "NAPTR" },
        { 39, "DNAME" },  { 41, "OPT" },   { 43, "DS" },         { 44, "SSHFP" }, { 46, "RRSIG" }, { 47, "NSEC" },
        { 48, "DNSKEY" }, { 50, "NSEC3" }, { 51, "NSEC3PARAM" }, { 52, "TLSA" },  { 64, "SVCB" },  { 65, "HTTPS" },
        { 99, "SPF" },    { 250, "TSIG" }, { 251, "IXFR" },      { 252, "AXFR" }, { 255, "ANY" },  { 256, "URI" },
        { 257, "CAA" },
};

static const struct number_name classes[] = {
        { 1, "IN" }, { 3, "CH" }, { 4, "HS" }, { 254, "NONE" }, { 255, "ANY" },
};

static const struct number_name rcodes[] = {
        { 0, "NOERROR" },  { 1, "FORMERR" },  { 2, "SERVFAIL" },   { 3, "NXDOMAIN" }, { 4, "NOTIMP" },
        { 5, "REFUSED" },  { 6, "YXDOMAIN" }, { 7, "YXRRSET" },    { 8, "NXRRSET" },  { 9, "NOTAUTH" },
        { 10, "NOTZONE" }, { 16, "BADVERS" }, { 23, "BADCOOKIE" },
};

static const char *name_of(const struct number_name *names, size_t count, const char *prefix, unsigned number,
                           char buffer[DNS_NAME_TEXT_SIZE])
{
        for (size_t i = 0; i < count; i++)
                if (names[i].number == number)
                        return names[i].name;
        (void)snprintf(buffer, DNS_NAME_TEXT_SIZE, "%s%u", prefix, number);
        return buffer;
}

const char *dns_type_name(uint16_t type, char buffer[DNS_NAME_TEXT_SIZE])
{
        return name_of(types, ARRAY_SIZE(types), "TYPE", type, buffer);
}

const char *dns_class_name(uint16_t class, char buffer[DNS_NAME_TEXT_SIZE])
{
        return name_of(classes, ARRAY_SIZE(classes), "CLASS", class, buffer);
}

const char *dns_rcode_name(unsigned rcode, char buffer[DNS_NAME_TEXT_SIZE])
{
        return name_of(rcodes, ARRAY_SIZE(rcodes), "RCODE", rcode, buffer);
}
