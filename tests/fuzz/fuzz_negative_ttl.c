/* DNS answers without addresses: no input may be read past its end, and only OK gives a time. */
#include <assert.h>
#include <stdlib.h>

#include "net/negative_ttl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint32_t ttl_s = 0xa5a5a5a5;

        if (negative_ttl_parse(data, size, &ttl_s) != NEGATIVE_TTL_OK)
                assert(ttl_s == 0xa5a5a5a5);
        return 0;
}
