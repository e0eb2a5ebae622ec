#include "policy/rule_template.h"

#include <errno.h>
#include <string.h>

bool rule_span_equals(struct rule_span span, const char *text)
{
        return strlen(text) == span.length && memcmp(span.text, text, span.length) == 0;
}

static bool is_lower(char byte)
{
        return byte >= 'a' && byte <= 'z';
}

bool rule_template_name_is_valid(struct rule_span name)
{
        if (name.length == 0 || name.length > RULE_TEMPLATE_MAX_NAME_LENGTH || !is_lower(name.text[0]))
                return false;
        for (size_t i = 1; i < name.length; i++)
                if (!is_lower(name.text[i]) && !(name.text[i] >= '0' && name.text[i] <= '9') && name.text[i] != '_')
                        return false;
        return true;
}

static int check_parameter(struct rule_span text, size_t open, size_t *ret_end, struct rule_error *reterr)
{
        const char *end = memchr(text.text + open, '}', text.length - open);

        if (end == NULL)
                return rule_error_set(reterr, open, "'{' without '}': write {parameter}");
        struct rule_span name = { text.text + open + 1, (size_t)(end - text.text) - open - 1 };
        if (!rule_template_name_is_valid(name))
                return rule_error_set(reterr, open + 1,
                                      "'%.*s' is not a parameter's name: lower-case letters, digits and underscores",
                                      rule_error_quote_length(name.length), name.text);
        *ret_end = (size_t)(end - text.text);
        return 0;
}

int rule_template_check(struct rule_span text, struct rule_error *reterr)
{
        for (size_t i = 0; i < text.length; i++) {
                if (text.text[i] == '}')
                        return rule_error_set(reterr, i, "'}' without '{' before it: write {parameter}");
                if (text.text[i] != '{')
                        continue;
                int r = check_parameter(text, i, &i, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

bool rule_template_next(struct rule_span text, size_t *offset, struct rule_span *ret_name)
{
        const char *open = memchr(text.text + *offset, '{', text.length - *offset);
        const char *end;

        if (open == NULL)
                return false;
        end = memchr(open, '}', text.length - (size_t)(open - text.text));
        if (end == NULL)
                return false;
        *ret_name = (struct rule_span){ open + 1, (size_t)(end - open) - 1 };
        *offset = (size_t)(end - text.text) + 1;
        return true;
}

static int append(char buffer[RULE_TEMPLATE_MAX_FILLED], size_t *length, const char *text, size_t size)
{
        if (size > RULE_TEMPLATE_MAX_FILLED - *length)
                return -EOVERFLOW;
        memcpy(buffer + *length, text, size);
        *length += size;
        return 0;
}

int rule_template_fill(struct rule_span text, rule_template_value_fn value_of, void *context,
                       char buffer[RULE_TEMPLATE_MAX_FILLED], size_t *ret_length)
{
        struct rule_span name;
        size_t offset = 0, done = 0, length = 0;
        int r;

        while (rule_template_next(text, &offset, &name)) {
                struct rule_span value = value_of(name, context);
                if (value.text == NULL)
                        return -ENOENT;
                r = append(buffer, &length, text.text + done, (size_t)(name.text - text.text) - 1 - done);
                if (r == 0)
                        r = append(buffer, &length, value.text, value.length);
                if (r < 0)
                        return r;
                done = offset;
        }
        r = append(buffer, &length, text.text + done, text.length - done);
        if (r < 0)
                return r;
        *ret_length = length;
        return 0;
}

static size_t literal_length(struct rule_span text)
{
        const char *open = memchr(text.text, '{', text.length);

        return open == NULL ? text.length : (size_t)(open - text.text);
}

static struct rule_span skip(struct rule_span span, size_t length)
{
        return (struct rule_span){ span.text + length, span.length - length };
}

static bool starts_with(struct rule_span text, struct rule_span start)
{
        return text.length >= start.length && memcmp(text.text, start.text, start.length) == 0;
}

/* The bytes a parameter stands for, when literal follows it; 0: no way. At the end of the template it takes all. */
static size_t capture_length(struct rule_span text, struct rule_span literal, bool last)
{
        for (size_t i = 0; i < text.length && text.text[i] != '.'; i++) {
                struct rule_span rest = skip(text, i + 1);
                if (last ? rest.length == literal.length && starts_with(rest, literal) : starts_with(rest, literal))
                        return i + 1;
        }
        return 0;
}

bool rule_template_match(struct rule_span template_text, struct rule_span text, rule_template_capture_fn on_capture,
                         void *context)
{
        struct rule_span name;
        size_t offset = 0;
        struct rule_span literal = { template_text.text, literal_length(template_text) };

        if (!starts_with(text, literal))
                return false;
        text = skip(text, literal.length);
        while (rule_template_next(template_text, &offset, &name)) {
                struct rule_span after = skip(template_text, offset);
                literal = (struct rule_span){ after.text, literal_length(after) };
                size_t length = capture_length(text, literal, literal.length == after.length);
                if (length == 0 || !on_capture(name, (struct rule_span){ text.text, length }, context))
                        return false;
                text = skip(text, length + literal.length);
        }
        return text.length == 0;
}
