/* One line of explain --batch: read within its bounds, and what is read is a question that makes sense. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "policy/explanation.h"
#include "policy/rule_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_capture(struct rule_span name, struct rule_span value, void *context)
{
        (void)context;
        assert(value.length > 0 && memchr(value.text, '.', value.length) == NULL);
        return name.length % 5 != 0;
}

/* The bytes up to the first tab as a template, matched against the rest. */
static void match_template(const char *bytes, size_t size)
{
        const char *tab = memchr(bytes, '\t', size);
        size_t length = tab != NULL ? (size_t)(tab - bytes) : size;
        struct rule_span template_text = { bytes, length }, text = { bytes + length, size - length };
        struct rule_error error;

        if (rule_template_check(template_text, &error) == 0)
                (void)rule_template_match(template_text, text, on_capture, NULL); /* Any answer will do. */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const void *bytes = data;
        struct explanation_question question;

        match_template(bytes, size);
        if (explanation_question_from_line(bytes, size, &question) < 0)
                return 0;
        assert(question.source.family != AF_UNSPEC);
        assert(question.request.port > 0);
        assert((question.request.name.length > 0) + (question.request.address.family != AF_UNSPEC) +
                       question.bad_name ==
               1);
        return 0;
}
