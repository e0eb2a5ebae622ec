/* Input: bytes that a client of listen.admin sends. What is accepted lies within them and does not depend on what follows. */
#include "fuzz.h"

#include <string.h>

#include "process/admin_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint8_t *exact = malloc(size + 1);
        struct admin_request request, again;

        CHECK(exact != NULL);
        memcpy(exact + 1, data, size);
        const char *bytes = (const char *)exact + 1;
        enum admin_request_status status = admin_request_parse(bytes, size, &request);
        if (status == ADMIN_REQUEST_NEED_MORE)
                CHECK(size < ADMIN_REQUEST_MAX_BYTES);
        if (status == ADMIN_REQUEST_OK) {
                CHECK(request.length <= size && request.length <= ADMIN_REQUEST_MAX_BYTES);
                CHECK(request.path.start >= bytes && request.path.start + request.path.length < bytes + request.length);
                CHECK(admin_request_parse(bytes, request.length - 1, &again) == ADMIN_REQUEST_NEED_MORE);
                CHECK(admin_request_parse(bytes, request.length, &again) == ADMIN_REQUEST_OK);
                CHECK(again.length == request.length && again.keep_alive == request.keep_alive);
        }
        free(exact);
        return 0;
}
