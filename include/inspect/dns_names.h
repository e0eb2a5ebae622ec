/*
 * The numbers of DNS as people write them: "A", "IN", "NXDOMAIN" (IANA, Domain Name System Parameters). A number without a
 * name here is written as RFC 3597 5 has it, "TYPE65280", "CLASS17", and "RCODE11" after its pattern. Pure.
 */
#pragma once

#include <stdint.h>

#define DNS_NAME_TEXT_SIZE 16 /* "CLASS65535", "NSEC3PARAM" and NUL, with room to spare */

/* Each returns a constant, or buffer with the number written into it; never NULL, never longer than the buffer. */
const char *dns_type_name(uint16_t type, char buffer[DNS_NAME_TEXT_SIZE]);
const char *dns_class_name(uint16_t class, char buffer[DNS_NAME_TEXT_SIZE]);

/* rcode: twelve bits, those of EDNS included (RFC 6891 6.1.3). */
const char *dns_rcode_name(unsigned rcode, char buffer[DNS_NAME_TEXT_SIZE]);
