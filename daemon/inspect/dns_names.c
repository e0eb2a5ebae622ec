#include "inspect/dns_names.h"

#include <stddef.h>
#include <stdio.h>

#include "base/compiler.h"

struct number_name {
        uint16_t number;
        const char *name;
};

/* Those that clients ask for, and those that scanners try. The common ones first: the tables are read from the start. */
static const struct number_name types[] = {
        { 1, "A" },       { 28, "AAAA" },  { 65, "HTTPS" },   { 12, "PTR" },        { 33, "SRV" },
        { 16, "TXT" },    { 15, "MX" },    { 5, "CNAME" },    { 6, "SOA" },         { 2, "NS" },
        { 64, "SVCB" },   { 35, "NAPTR" }, { 257, "CAA" },    { 43, "DS" },         { 48, "DNSKEY" },
        { 46, "RRSIG" },  { 47, "NSEC" },  { 50, "NSEC3" },   { 51, "NSEC3PARAM" }, { 52, "TLSA" },
        { 53, "SMIMEA" }, { 44, "SSHFP" }, { 39, "DNAME" },   { 13, "HINFO" },      { 17, "RP" },
        { 18, "AFSDB" },  { 24, "SIG" },   { 25, "KEY" },     { 29, "LOC" },        { 36, "KX" },
        { 37, "CERT" },   { 41, "OPT" },   { 42, "APL" },     { 45, "IPSECKEY" },   { 49, "DHCID" },
        { 55, "HIP" },    { 59, "CDS" },   { 60, "CDNSKEY" }, { 61, "OPENPGPKEY" }, { 62, "CSYNC" },
        { 63, "ZONEMD" }, { 10, "NULL" },  { 99, "SPF" },     { 108, "EUI48" },     { 109, "EUI64" },
        { 249, "TKEY" },  { 250, "TSIG" }, { 251, "IXFR" },   { 252, "AXFR" },      { 253, "MAILB" },
        { 254, "MAILA" }, { 255, "ANY" },  { 256, "URI" },
};

static const struct number_name classes[] = {
        { 1, "IN" }, { 3, "CH" }, { 4, "HS" }, { 254, "NONE" }, { 255, "ANY" },
};

static const struct number_name rcodes[] = {
        { 0, "NOERROR" },  { 3, "NXDOMAIN" }, { 5, "REFUSED" },   { 2, "SERVFAIL" },   { 1, "FORMERR" },
        { 4, "NOTIMP" },   { 6, "YXDOMAIN" }, { 7, "YXRRSET" },   { 8, "NXRRSET" },    { 9, "NOTAUTH" },
        { 10, "NOTZONE" }, { 16, "BADVERS" }, { 17, "BADKEY" },   { 18, "BADTIME" },   { 19, "BADMODE" },
        { 20, "BADNAME" }, { 21, "BADALG" },  { 22, "BADTRUNC" }, { 23, "BADCOOKIE" },
};

static const char *name_of(const struct number_name *table, size_t count, unsigned number, const char *prefix,
                           char buffer[DNS_NAME_TEXT_SIZE])
{
        for (size_t i = 0; i < count; i++)
                if (table[i].number == number)
                        return table[i].name;
        snprintf(buffer, DNS_NAME_TEXT_SIZE, "%s%u", prefix, number);
        return buffer;
}

const char *dns_type_name(uint16_t type, char buffer[DNS_NAME_TEXT_SIZE])
{
        return name_of(types, ARRAY_SIZE(types), type, "TYPE", buffer);
}

const char *dns_class_name(uint16_t class, char buffer[DNS_NAME_TEXT_SIZE])
{
        return name_of(classes, ARRAY_SIZE(classes), class, "CLASS", buffer);
}

const char *dns_rcode_name(unsigned rcode, char buffer[DNS_NAME_TEXT_SIZE])
{
        return name_of(rcodes, ARRAY_SIZE(rcodes), rcode, "RCODE", buffer);
}
