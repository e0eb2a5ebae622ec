/* Packets of either version, cut anywhere: nothing is read past the end, and a shorter piece says nothing else. */
#include "fuzz.h"

#include <string.h>

#include "inspect/ip_packet.h"

static void check(const struct ip_packet *packet, size_t size)
{
        CHECK(packet->source.family == packet->destination.family);
        CHECK(packet->source.family == AF_INET || packet->source.family == AF_INET6);
        CHECK(packet->payload_start <= size && packet->payload_length <= size - packet->payload_start);
        CHECK(packet->payload_start >= (packet->source.family == AF_INET ? 20u : 40u));
        CHECK(packet->payload_start + packet->payload_length <= packet->length);
        CHECK(packet->has_ports || (packet->source_port == 0 && packet->destination_port == 0));
}

/* packet is of the whole; the same bytes, fewer of them. */
static void check_part(const uint8_t *data, size_t size, const struct ip_packet *packet)
{
        struct ip_packet part;

        if (ip_packet_parse(data, size, &part) != IP_PACKET_OK)
                return;
        check(&part, size);
        CHECK(net_address_equal(&part.source, &packet->source));
        CHECK(net_address_equal(&part.destination, &packet->destination));
        if (part.has_ports && packet->has_ports)
                CHECK(part.source_port == packet->source_port && part.destination_port == packet->destination_port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct ip_packet packet = { .protocol = 0xa5 };
        uint8_t *exact = malloc(size + 1);

        CHECK(exact != NULL);
        if (size > 0)
                memcpy(exact + 1, data, size);
        if (ip_packet_parse(exact + 1, size, &packet) == IP_PACKET_OK) {
                check(&packet, size);
                check_part(exact + 1, size - size % 7, &packet);
                check_part(exact + 1, size / 2, &packet);
        } else {
                CHECK(packet.protocol == 0xa5 && packet.length == 0);
        }
        free(exact);
        return 0;
}
