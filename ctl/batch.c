#include "batch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "policy/explanation.h"

#define INPUT_SIZE 65536
#define OUTPUT_SIZE 262144
#define BAD_INPUT_TEXT "DENY reason=bad-input"
#define BAD_INPUT_JSON "{\"action\":\"deny\",\"reason\":\"bad-input\"}"

struct batch {
        const struct policy *policy;
        int input;
        int output;
        bool json;
        bool skipping; /* inside a line that is too long to keep */
        size_t input_used;
        size_t output_used;
        char in[INPUT_SIZE];
        char out[OUTPUT_SIZE];
};

static int flush(struct batch *batch)
{
        size_t done = 0;

        while (done < batch->output_used) {
                ssize_t count = write(batch->output, batch->out + done, batch->output_used - done);
                if (count == -1 && errno == EINTR)
                        continue;
                if (count == -1)
                        return -errno;
                done += (size_t)count;
        }
        batch->output_used = 0;
        return 0;
}

static size_t write_answer(struct batch *batch, const char *line, size_t length, char *buffer)
{
        struct explanation_question question;
        struct explanation explanation;
        const char *bad = batch->json ? BAD_INPUT_JSON : BAD_INPUT_TEXT;

        if (batch->skipping || explanation_question_from_line(line, length, &question) < 0) {
                memcpy(buffer, bad, strlen(bad));
                return strlen(bad);
        }
        explanation_answer(batch->policy, &question, &explanation);
        return batch->json ? explanation_format_json(&explanation, buffer)
                           : explanation_format_text(&explanation, buffer);
}

static int answer(struct batch *batch, const char *line, size_t length)
{
        if (OUTPUT_SIZE - batch->output_used < EXPLANATION_TEXT_SIZE + 1) {
                int r = flush(batch);
                if (r < 0)
                        return r;
        }
        batch->output_used += write_answer(batch, line, length, batch->out + batch->output_used);
        batch->out[batch->output_used++] = '\n';
        batch->skipping = false;
        return 0;
}

/* Answers every complete line in the buffer and moves the rest to its front. */
static int answer_lines(struct batch *batch)
{
        const char *start = batch->in, *end = batch->in + batch->input_used;
        const char *newline;

        while ((newline = memchr(start, '\n', (size_t)(end - start))) != NULL) {
                int r = answer(batch, start, (size_t)(newline - start));
                if (r < 0)
                        return r;
                start = newline + 1;
        }
        batch->input_used = (size_t)(end - start);
        memmove(batch->in, start, batch->input_used);
        if (batch->input_used == INPUT_SIZE) {
                batch->skipping = true;
                batch->input_used = 0;
        }
        return 0;
}

/* Returns 1 at the end of input. */
static int fill(struct batch *batch)
{
        ssize_t count = read(batch->input, batch->in + batch->input_used, INPUT_SIZE - batch->input_used);

        if (count == -1)
                return errno == EINTR ? 0 : -errno;
        batch->input_used += (size_t)count;
        return count == 0 ? 1 : 0;
}

/* A batch is too large for some stacks. */
static struct batch shared_batch;

int batch_run(const struct policy *policy, int input, int output, bool json)
{
        struct batch *batch = &shared_batch;
        int r = 0;

        *batch = (struct batch){ .policy = policy, .input = input, .output = output, .json = json };
        while (r == 0) {
                r = fill(batch);
                if (r == 0)
                        r = answer_lines(batch);
                if (r == 0)
                        r = flush(batch);
        }
        if (r == 1 && (batch->input_used > 0 || batch->skipping)) /* the last line, without its end */
                r = answer(batch, batch->in, batch->input_used);
        return r < 0 ? r : flush(batch);
}
