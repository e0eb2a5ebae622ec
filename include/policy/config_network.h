/* Types of values in the configuration that are names and addresses of the network; like those of config_value.h, pure. */
#pragma once

#include "policy/config_keys.h"

/* Into struct config_text: a DNS name in canonical form. */
int config_network_fqdn(const struct config_input *input, void *field, char *complaint);
/* The same, for the name that a server is to prove. */
int config_network_server_name(const struct config_input *input, void *field, char *complaint);
/* Into struct config_server: name, address or [v6], each with or without :port, or an absolute path. */
int config_network_syslog_server(const struct config_input *input, void *field, char *complaint);
/* Into struct fqdn. */
int config_network_zone(const struct config_input *input, void *field, char *complaint);
/* Into struct net_address: one to listen at. */
int config_network_listen_address(const struct config_input *input, void *field, char *complaint);
/* Into struct net_endpoint: "address", "address:port" or "[v6]:port" of a DNS server, port 53 unless given. */
int config_network_server(const struct config_input *input, void *field, char *complaint);
/* Into struct config_prefix. */
int config_network_prefix(const struct config_input *input, void *field, char *complaint);
/* The same, but neither of the Azure platform addresses. */
int config_network_private_prefix(const struct config_input *input, void *field, char *complaint);
/* Into struct config_address_range: "first-last" or one address, none of them unfit as a source address. */
int config_network_range(const struct config_input *input, void *field, char *complaint);
