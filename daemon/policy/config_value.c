#include "policy/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config_suggest.h"

#define MAX_WORKERS 256

int config_value_complain(char *complaint, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(complaint, CONFIG_COMPLAINT_SIZE, format, arguments);
        va_end(arguments);
        return -EINVAL;
}

int config_value_store(void *field, const void *value, size_t size)
{
        if (field != NULL)
                memcpy(field, value, size);
        return 0;
}

int config_value_store_text(const struct config_input *input, const char *text, void *field)
{
        struct config_text value = { .place = input->place };

        if (field == NULL)
                return 0;
        value.text = strdup(text);
        if (value.text == NULL)
                return -ENOMEM;
        return config_value_store(field, &value, sizeof(value));
}

/* Reads the digits at the beginning; *ret_rest is what follows. False: no digits, or more than fits. */
static bool leading_number(const char *text, uint64_t *ret, const char **ret_rest)
{
        uint64_t number = 0;
        const char *digit = text;

        for (; isdigit((unsigned char)*digit) != 0; digit++) {
                if (digit - text >= 15) /* Far from overflow, beyond every bound. */
                        return false;
                number = number * 10 + (uint64_t)(*digit - '0');
        }
        *ret = number;
        *ret_rest = digit;
        return digit != text;
}

static bool within(const struct config_key *key, uint64_t number)
{
        return number >= key->minimum && number <= key->maximum;
}

int config_value_number(const struct config_input *input, void *field, char *complaint)
{
        const struct config_key *key = input->key;
        uint64_t number;
        const char *rest;

        if (!leading_number(input->text, &number, &rest) || *rest != '\0' || !within(key, number))
                return config_value_complain(complaint, "'%.80s' is not a whole number from %llu to %llu", input->text,
                                             (unsigned long long)key->minimum, (unsigned long long)key->maximum);
        return config_value_store(field, &(unsigned){ (unsigned)number }, sizeof(unsigned));
}

static unsigned processor_count(void)
{
        cpu_set_t processors;
        unsigned count = 1;

        if (sched_getaffinity(0, sizeof(processors), &processors) == 0)
                count = (unsigned)CPU_COUNT(&processors);
        return count > MAX_WORKERS ? MAX_WORKERS : count;
}

int config_value_workers(const struct config_input *input, void *field, char *complaint)
{
        uint64_t number;
        const char *rest;

        if (strcmp(input->text, "auto") == 0)
                return config_value_store(field, &(unsigned){ processor_count() }, sizeof(unsigned));
        if (!leading_number(input->text, &number, &rest) || *rest != '\0' || number < 1 || number > MAX_WORKERS)
                return config_value_complain(complaint, "'%.80s' is neither 'auto' nor a whole number from 1 to %d",
                                             input->text, MAX_WORKERS);
        return config_value_store(field, &(unsigned){ (unsigned)number }, sizeof(unsigned));
}

int config_value_port(const struct config_input *input, void *field, char *complaint)
{
        uint64_t number;
        const char *rest;

        if (!leading_number(input->text, &number, &rest) || *rest != '\0' || number < 1 || number > 65535)
                return config_value_complain(complaint, "'%.80s' is not a port: write a number from 1 to 65535",
                                             input->text);
        return config_value_store(field, &(uint16_t){ (uint16_t)number }, sizeof(uint16_t));
}

struct unit {
        const char *name;
        uint64_t factor;
};

/* The factor of a unit's name, 0: there is no such unit. */
static uint64_t unit_factor(const struct unit *units, size_t count, const char *name)
{
        for (size_t i = 0; i < count; i++)
                if (strcmp(units[i].name, name) == 0)
                        return units[i].factor;
        return 0;
}

static const struct unit time_units[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
static const struct unit size_units[] = {
        { "TiB", 1ull << 40 }, { "GiB", 1ull << 30 }, { "MiB", 1ull << 20 }, { "KiB", 1ull << 10 }, { "B", 1 }
};

/* The number with the largest unit that leaves it whole. */
static const char *format_with_unit(const struct unit *units, size_t count, uint64_t value, char buffer[32])
{
        size_t i = 0;

        while (i + 1 < count && (value == 0 || value % units[i].factor != 0))
                i++;
        snprintf(buffer, 32, "%llu%s", (unsigned long long)(value / units[i].factor), units[i].name);
        return buffer;
}

static int complain_bounds(const struct config_input *input, const struct unit *units, size_t count, char *complaint)
{
        char minimum[32], maximum[32];

        return config_value_complain(complaint, "'%.80s' is out of bounds: from %s to %s is allowed", input->text,
                                     format_with_unit(units, count, input->key->minimum, minimum),
                                     format_with_unit(units, count, input->key->maximum, maximum));
}

int config_value_duration(const struct config_input *input, void *field, char *complaint)
{
        uint64_t number, factor;
        const char *unit;

        if (!leading_number(input->text, &number, &unit))
                return config_value_complain(
                        complaint, "'%.80s' is not a duration: write it like 500ms, 10s, 30m or 1h", input->text);
        if (*unit == '\0')
                return config_value_complain(complaint, "'%.80s' has no unit: write it like 500ms, 10s, 30m or 1h",
                                             input->text);
        factor = unit_factor(time_units, ARRAY_SIZE(time_units), unit);
        if (factor == 0)
                return config_value_complain(
                        complaint, "'%.80s' has no known unit: write it like 500ms, 10s, 30m or 1h", input->text);
        if (number > input->key->maximum / factor || !within(input->key, number * factor))
                return complain_bounds(input, time_units, ARRAY_SIZE(time_units), complaint);
        return config_value_store(field, &(unsigned){ (unsigned)(number * factor) }, sizeof(unsigned));
}

int config_value_duration_or_off(const struct config_input *input, void *field, char *complaint)
{
        uint64_t number;
        const char *unit;

        if (strcmp(input->text, "off") == 0)
                return config_value_store(field, &(unsigned){ 0 }, sizeof(unsigned));
        if (!leading_number(input->text, &number, &unit) || unit_factor(time_units, ARRAY_SIZE(time_units), unit) == 0)
                return config_value_complain(complaint,
                                             "'%.80s' is neither 'off' nor a duration: write it like 10s, 30m or 1h",
                                             input->text);
        return config_value_duration(input, field, complaint);
}

int config_value_size(const struct config_input *input, void *field, char *complaint)
{
        uint64_t number, factor = 0;
        const char *unit;

        if (leading_number(input->text, &number, &unit))
                factor = unit_factor(size_units, ARRAY_SIZE(size_units), unit);
        if (factor == 0)
                return config_value_complain(complaint, "'%.80s' is not a size: write it like 512KiB, 64MiB or 1GiB",
                                             input->text);
        if (number > input->key->maximum / factor || !within(input->key, number * factor))
                return complain_bounds(input, size_units, ARRAY_SIZE(size_units), complaint);
        return config_value_store(field, &(uint64_t){ number * factor }, sizeof(uint64_t));
}

/* "a, b or c" */
static const char *list_choices(const struct config_choice *choices, char *buffer, size_t size)
{
        size_t used = 0;

        buffer[0] = '\0';
        for (const struct config_choice *choice = choices; choice->name != NULL && used < size; choice++) {
                const char *separator = choice == choices ? "" : choice[1].name == NULL ? " or " : ", ";
                used += (size_t)snprintf(buffer + used, size - used, "%s%s", separator, choice->name);
        }
        return buffer;
}

/* Finds the index of a choice by its name. */
static int find_choice(const struct config_input *input, unsigned *ret, char *complaint)
{
        struct config_suggest suggest = { .word = input->text };
        char list[256]; /* all of the longest list, the facilities */

        for (unsigned i = 0; input->key->choices[i].name != NULL; i++) {
                const struct config_choice *choice = &input->key->choices[i];
                config_suggest_offer(&suggest, choice->name);
                if (strcmp(choice->name, input->text) != 0)
                        continue;
                *ret = i;
                return 0;
        }
        if (suggest.best != NULL)
                return config_value_complain(complaint, "'%.80s' is unknown: did you mean '%s'?", input->text,
                                             suggest.best);
        return config_value_complain(complaint, "'%.80s' is unknown: write %s", input->text,
                                     list_choices(input->key->choices, list, sizeof(list)));
}

int config_value_choice(const struct config_input *input, void *field, char *complaint)
{
        unsigned index = 0;
        int r = find_choice(input, &index, complaint);

        return r < 0 ? r : config_value_store(field, &index, sizeof(index));
}

int config_value_cloud(const struct config_input *input, void *field, char *complaint)
{
        unsigned index = 0;

        /* The nearest of our names would be China's. */
        if (strcmp(input->text, "AzureCloud") == 0)
                return config_value_complain(complaint, "'AzureCloud' is the Azure CLI's word: write AzurePublicCloud");
        int r = find_choice(input, &index, complaint);

        return r < 0 ? r : config_value_store_text(input, input->text, field);
}

int config_value_text(const struct config_input *input, void *field, char *complaint)
{
        if (input->text[0] == '\0')
                return config_value_complain(complaint, "'' is empty");
        return config_value_store_text(input, input->text, field);
}

/* As in /subscriptions/…: a path of no control character and nothing that JSON escapes. */
static bool is_resource_id(const char *text)
{
        for (const char *byte = text; *byte != '\0'; byte++)
                if (*byte == '"' || *byte == '\\' || (unsigned char)*byte <= ' ' || *byte == 0x7f)
                        return false;
        return text[0] == '/';
}

int config_value_resource_id(const struct config_input *input, void *field, char *complaint)
{
        if (!is_resource_id(input->text))
                return config_value_complain(
                        complaint, "'%.80s' is not a resource ID: write it like /subscriptions/ID/resourceGroups/NAME",
                        input->text);
        if (strlen(input->text) > CONFIG_MAX_RESOURCE_ID)
                return config_value_complain(complaint, "'%.80s…' is longer than the %d bytes that are allowed",
                                             input->text, CONFIG_MAX_RESOURCE_ID);
        return config_value_store_text(input, input->text, field);
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Whether text is 1 to maximum of the allowed characters. */
static bool made_of(const char *text, const char *allowed, size_t maximum)
{
        size_t length = strlen(text);

        return length >= 1 && length <= maximum && strspn(text, allowed) == length;
}

int config_value_name(const struct config_input *input, void *field, char *complaint)
{
        if (!made_of(input->text, LOWER DIGITS "-", 63))
                return config_value_complain(
                        complaint, "'%.80s' is not a name: write 1 to 63 lower-case letters, digits and hyphens",
                        input->text);
        return config_value_store_text(input, input->text, field);
}

int config_value_account(const struct config_input *input, void *field, char *complaint)
{
        if (!made_of(input->text, LOWER UPPER DIGITS "_.-", 32) || input->text[0] == '-')
                return config_value_complain(complaint, "'%.80s' is not the name of a group: write it as in /etc/group",
                                             input->text);
        return config_value_store_text(input, input->text, field);
}

/* "West Europe" is what people see, "westeurope" what the service calls it. */
static bool location_guess(const char *text, char guess[64])
{
        size_t used = 0;

        for (; *text != '\0' && used < 63; text++)
                if (isalnum((unsigned char)*text) != 0)
                        guess[used++] = (char)tolower((unsigned char)*text);
        guess[used] = '\0';
        return used > 0 && *text == '\0';
}

int config_value_location(const struct config_input *input, void *field, char *complaint)
{
        char guess[64];

        if (made_of(input->text, LOWER DIGITS, 63))
                return config_value_store_text(input, input->text, field);
        if (location_guess(input->text, guess))
                return config_value_complain(
                        complaint, "'%.80s' is not a location: only lower-case letters and digits, perhaps '%s'",
                        input->text, guess);
        return config_value_complain(complaint, "'%.80s' is not a location: write it like westeurope", input->text);
}

int config_value_parameter(const struct config_input *input, void *field, char *complaint)
{
        if (!made_of(input->text, LOWER UPPER DIGITS "._:/-", 253))
                return config_value_complain(
                        complaint, "'%.80s' is not a parameter's value: only letters, digits and . _ : / - are allowed",
                        input->text);
        return config_value_store_text(input, input->text, field);
}

int config_value_parameter_name(const struct config_input *input, void *field, char *complaint)
{
        if (!made_of(input->text, LOWER DIGITS "_", 63))
                return config_value_complain(
                        complaint,
                        "'%.80s' is not a parameter's name: write lower-case letters, digits and underscores",
                        input->text);
        return config_value_store_text(input, input->text, field);
}

/* path, or when relative: the configuration file's directory and path. */
static char *absolute_path(const struct config_input *input)
{
        const char *slash = strrchr(input->path, '/');
        char *path = NULL;

        if (input->text[0] == '/' || slash == NULL)
                return strdup(input->text);
        if (asprintf(&path, "%.*s/%s", (int)(slash - input->path), input->path, input->text) < 0)
                return NULL;
        return path;
}

/* Nobody means files of these names, or of none. */
static bool is_no_path(const char *text)
{
        static const char *const words[] = { "", "true", "false", "yes", "no", "on", "off" };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strcasecmp(text, words[i]) == 0)
                        return true;
        return false;
}

int config_value_directory(const struct config_input *input, void *field, char *complaint)
{
        char *path;

        if (is_no_path(input->text))
                return config_value_complain(complaint, "'%s' is not a path: name a file or a directory", input->text);
        if (field == NULL)
                return 0;
        path = absolute_path(input);
        if (path == NULL)
                return -ENOMEM;
        return config_value_store(field, &path, sizeof(path));
}

int config_value_path(const struct config_input *input, void *field, char *complaint)
{
        struct config_text value = { .place = input->place };
        int r = config_value_directory(input, field == NULL ? NULL : &value.text, complaint);

        return r < 0 ? r : config_value_store(field, &value, sizeof(value));
}
