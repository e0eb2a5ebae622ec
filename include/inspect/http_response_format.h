/* A response head as it goes on to the client. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "inspect/http_response.h"

#define HTTP_RESPONSE_FORMAT_ROOM 32 /* see http_response_format_client */

/*
 * Writes the head without Connection, the fields that it names, Keep-Alive, Proxy-Connection and Upgrade, which speak
 * of the origin's connection, and with "Connection: close" when close; everything else byte for byte and in order.
 * bytes must be the head that gave *response, which is final (not 1xx).
 *
 * Returns the length written, or 0 when size is too small: response->length + HTTP_RESPONSE_FORMAT_ROOM always
 * suffices.
 */
size_t http_response_format_client(const void *bytes, const struct http_response *response, bool close, char *buffer,
                                   size_t size);
