/*
 * One function for each type of value in the configuration: text in, value or sentence out. All are config_value_fn
 * (config_keys.h) and pure but for _workers, which counts the processors.
 */
#pragma once

#include "policy/config_keys.h"

/* Into unsigned, within the key's bounds. */
int config_value_number(const struct config_input *input, void *field, char *complaint);
/* "auto" or a number, into unsigned. */
int config_value_workers(const struct config_input *input, void *field, char *complaint);
/* 1 to 65535, into uint16_t. */
int config_value_port(const struct config_input *input, void *field, char *complaint);
/* "10s", "500ms", "30m", "1h" into unsigned milliseconds, within the key's bounds. */
int config_value_duration(const struct config_input *input, void *field, char *complaint);
/* "off" (0) or a duration. */
int config_value_duration_or_off(const struct config_input *input, void *field, char *complaint);
/* "1GiB", "64MiB", "512KiB" or bytes as "4096B", into uint64_t. */
int config_value_size(const struct config_input *input, void *field, char *complaint);
/* One of the key's choices, into an enum that counts as they do. */
int config_value_choice(const struct config_input *input, void *field, char *complaint);

/* Into struct config_text: */
int config_value_text(const struct config_input *input, void *field, char *complaint);           /* anything */
int config_value_resource_id(const struct config_input *input, void *field, char *complaint);    /* of Azure */
int config_value_path(const struct config_input *input, void *field, char *complaint);           /* made absolute */
int config_value_name(const struct config_input *input, void *field, char *complaint);           /* [a-z0-9-]{1,63} */
int config_value_account(const struct config_input *input, void *field, char *complaint);        /* a user or group */
int config_value_cloud(const struct config_input *input, void *field, char *complaint);          /* one of .choices */
int config_value_location(const struct config_input *input, void *field, char *complaint);       /* [a-z0-9]+ */
int config_value_parameter(const struct config_input *input, void *field, char *complaint);      /* [A-Za-z0-9._:/-]+ */
int config_value_parameter_name(const struct config_input *input, void *field, char *complaint); /* [a-z0-9_]+ */

/* Into char *: a directory, a relative one taken from that of the configuration file. */
int config_value_directory(const struct config_input *input, void *field, char *complaint);

/* For the types of config_network.h. */

/* Writes the sentence and returns -EINVAL. */
int config_value_complain(char *complaint, const char *format, ...) PRINTF_LIKE(2, 3);
/* Copies to field unless it is NULL; 0. */
int config_value_store(void *field, const void *value, size_t size);
/* A copy of text with the input's place, as struct config_text; 0 or -ENOMEM. */
int config_value_store_text(const struct config_input *input, const char *text, void *field);
