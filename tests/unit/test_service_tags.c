#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guarded.h"
#include "policy/service_tags.h"
#include "service_tags_sample.h"

static struct diagnostics *diagnostics;

static int make_diagnostics(void **state)
{
        (void)state;
        diagnostics = diagnostics_new();
        return diagnostics == NULL ? -1 : 0;
}

static int drop_diagnostics(void **state)
{
        (void)state;
        diagnostics_free(diagnostics);
        return 0;
}

/* Reads a text against a guard page; NULL: refused. */
static struct service_tags *try_text(const char *text, size_t length)
{
        struct service_tags *tags = NULL;
        struct guarded guarded;

        guarded_open(&guarded, length);
        const void *copy = guarded_copy(&guarded, text, length);
        int r = service_tags_from_text("tags.json", copy, length, diagnostics, &tags);

        assert_true(r == 0 || r == -EINVAL);
        assert_int_equal(r == 0, tags != NULL);
        assert_int_equal(r == 0, diagnostics_error_count(diagnostics) == 0);
        guarded_close(&guarded);
        return tags;
}

static struct service_tags *read_sample(struct sample *sample)
{
        char *text = sample_close(sample);
        struct service_tags *tags = try_text(text, sample->length);

        if (tags == NULL)
                diagnostics_print(diagnostics, stderr);
        assert_non_null(tags);
        free(text);
        return tags;
}

static struct service_tags *some_tags(void)
{
        struct sample sample;

        sample_open(&sample, "Public");
        sample_tag(&sample, "AzureCloud", "", "\"20.0.0.0/8\", \"2603:1000::/24\"");
        sample_tag(&sample, "AzureCloud.centralfrance", "centralfrance", "\"20.1.0.0/16\"");
        sample_tag(&sample, "AzureCloud.westeurope", "westeurope", "\"20.2.0.0/16\"");
        sample_tag(&sample, "AzureMonitor", "", "\"20.2.3.0/24\", \"20.2.3.0/24\", \"2603:1000:4::/47\"");
        sample_tag(&sample, "AzureMonitor.Core", "", "\"20.9.0.1/32\"");
        sample_tag(&sample, "Storage.FranceCentral", "centralfrance", "\"20.1.2.0/24\"");
        sample_tag(&sample, "Storage.WestEurope", "westeurope", "\"20.2.2.0/24\"");
        return read_sample(&sample);
}

/* The name of the tag that is found; "": none. */
static const char *found(struct service_tags *tags, const char *name)
{
        static char text[DESTINATION_MAX_TAG_LENGTH + 1];
        uint32_t tag;

        text[0] = '\0';
        int r = service_tags_use(tags, name, strlen(name), &tag);
        assert_true(r == 0 || r == -ENOENT);
        if (r == 0) {
                assert_int_equal(service_tags_finish(tags), 0);
                snprintf(text, sizeof(text), "%s", service_tags_name(tags, tag));
        }
        service_tags_free(tags);
        return text;
}

static void a_region_is_found_by_its_location_and_in_any_case(void **state)
{
        (void)state;
        assert_string_equal(found(some_tags(), "AzureCloud.westeurope"), "AzureCloud.westeurope");
        assert_string_equal(found(some_tags(), "AzureCloud.WestEurope"), "AzureCloud.westeurope");
        assert_string_equal(found(some_tags(), "AzureCloud.francecentral"), "AzureCloud.centralfrance");
        assert_string_equal(found(some_tags(), "AzureCloud.FranceCentral"), "AzureCloud.centralfrance");
        assert_string_equal(found(some_tags(), "AzureCloud.centralfrance"), "AzureCloud.centralfrance");
        assert_string_equal(found(some_tags(), "Storage.westeurope"), "Storage.WestEurope");
        assert_string_equal(found(some_tags(), "Storage.francecentral"), "Storage.FranceCentral");
        assert_string_equal(found(some_tags(), "Storage.centralfrance"), "Storage.FranceCentral");
        assert_string_equal(found(some_tags(), "AzureMonitor.Core"), "AzureMonitor.Core");
}

static void every_location_with_another_name_in_tags_is_known(void **state)
{
        static const char *const pairs[][2] = {
                { "francecentral", "centralfrance" },
                { "francesouth", "southfrance" },
                { "germanywestcentral", "germanywc" },
                { "germanynorth", "germanyn" },
                { "norwayeast", "norwaye" },
                { "norwaywest", "norwayw" },
                { "switzerlandnorth", "switzerlandn" },
                { "switzerlandwest", "switzerlandw" },
                { "brazilsoutheast", "brazilse" },
                { "brazilnortheast", "brazilne" },
                { "chilecentral", "chilec" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                struct sample sample;
                char asked[64], there[64];
                sample_open(&sample, "Public");
                snprintf(there, sizeof(there), "AzureCloud.%s", pairs[i][1]);
                snprintf(asked, sizeof(asked), "AzureCloud.%s", pairs[i][0]);
                sample_tag(&sample, there, pairs[i][1], "\"20.0.0.0/8\"");
                assert_string_equal(found(read_sample(&sample), asked), there);
        }
}

static void what_is_not_in_the_file_is_not_found(void **state)
{
        (void)state;
        assert_string_equal(found(some_tags(), "AzureMonitors"), "");
        assert_string_equal(found(some_tags(), "azurecloud.westeurope"), "");
        assert_string_equal(found(some_tags(), "AzureCloud.germanywestcentral"), "");
        assert_string_equal(found(some_tags(), "AzureCloud."), "");
        assert_string_equal(found(some_tags(), "."), "");
        assert_string_equal(found(some_tags(), "westeurope"), "");
        assert_string_equal(found(some_tags(), "francecentral"), "");
}

static void names_that_resemble_a_missing_one_are_told(void **state)
{
        struct service_tags *tags = some_tags();
        char near[SERVICE_TAGS_NEAR_SIZE];

        (void)state;
        service_tags_near(tags, "AzureMonitr", 11, near);
        assert_non_null(strstr(near, "'AzureMonitor'"));
        assert_ptr_equal(strstr(near, "'AzureMonitor'"), near);
        service_tags_near(tags, "azuremonitor", 12, near);
        assert_ptr_equal(strstr(near, "'AzureMonitor'"), near);
        service_tags_near(tags, "Xq", 2, near);
        assert_string_equal(near, "");
        service_tags_free(tags);
}

struct hits {
        char text[256];
        size_t length;
        const struct service_tags *tags;
};

static bool note_hit(uint32_t tag, unsigned prefix_length, void *context)
{
        struct hits *hits = context;

        hits->length += (size_t)snprintf(hits->text + hits->length, sizeof(hits->text) - hits->length, "%s/%u ",
                                         service_tags_name(hits->tags, tag), prefix_length);
        return true;
}

static const char *covering(const struct service_tags *tags, const char *text)
{
        static struct hits hits;
        struct net_address address;

        hits = (struct hits){ .tags = tags };
        assert_int_equal(net_address_parse(text, strlen(text), &address), 0);
        assert_true(service_tags_each(tags, &address, note_hit, &hits));
        return hits.text;
}

static void use(struct service_tags *tags, const char *name, uint32_t expected)
{
        uint32_t tag;

        assert_int_equal(service_tags_use(tags, name, strlen(name), &tag), 0);
        assert_int_equal(tag, expected);
}

static void an_address_finds_the_used_tags_that_cover_it(void **state)
{
        struct service_tags *tags = some_tags();
        size_t count;

        (void)state;
        use(tags, "AzureCloud", 0);
        use(tags, "AzureMonitor", 1);
        use(tags, "AzureCloud", 0);
        assert_int_equal(service_tags_finish(tags), 0);
        assert_string_equal(covering(tags, "20.2.3.255"), "AzureMonitor/24 AzureCloud/8 ");
        assert_string_equal(covering(tags, "20.2.4.0"), "AzureCloud/8 ");
        assert_string_equal(covering(tags, "21.0.0.0"), "");
        assert_string_equal(covering(tags, "2603:1000:5::1"), "AzureMonitor/47 AzureCloud/24 ");
        assert_string_equal(covering(tags, "2603:1000:6::1"), "AzureCloud/24 ");
        assert_string_equal(covering(tags, "1402:303::"), ""); /* the first bytes of 20.2.3.3 */
        const struct net_prefix *prefixes = service_tags_prefixes(tags, 1, &count);
        assert_int_equal(count, 2); /* the one that is there twice counts once */
        assert_int_equal(prefixes[0].length, 24);
        assert_int_equal(prefixes[1].address.family, AF_INET6);
        service_tags_free(tags);
}

static void tags_may_be_unused_and_unfinished(void **state)
{
        struct service_tags *tags = some_tags();
        uint32_t tag;

        (void)state;
        assert_int_equal(service_tags_finish(tags), 0);
        assert_string_equal(covering(tags, "20.2.3.1"), "");
        assert_int_equal(service_tags_use(tags, "AzureCloud", 10, &tag), -ENOENT);
        service_tags_free(tags);
        tags = some_tags();
        use(tags, "AzureCloud", 0);
        service_tags_free(tags);
        service_tags_free(NULL);
}

static void clouds_are_told_apart(void **state)
{
        static const struct {
                const char *name;
                enum rule_cloud cloud;
        } clouds[] = {
                { "Public", RULE_CLOUD_PUBLIC },
                { "China", RULE_CLOUD_CHINA },
                { "AzureChinaCloud", RULE_CLOUD_CHINA },
                { "AzureGovernment", RULE_CLOUD_US_GOVERNMENT },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(clouds); i++) {
                struct sample sample;
                struct service_tags *tags = read_sample(sample_open(&sample, clouds[i].name));
                assert_int_equal(service_tags_cloud(tags), clouds[i].cloud);
                assert_string_equal(service_tags_cloud_name(tags), clouds[i].name);
                service_tags_free(tags);
        }
}

static void assert_refused(const char *text, const char *expected)
{
        diagnostics_free(diagnostics);
        diagnostics = diagnostics_new();
        assert_non_null(diagnostics);
        assert_null(try_text(text, strlen(text)));
        const char *line = diagnostics_line(diagnostics, 0);
        if (strstr(line, expected) == NULL)
                fail_msg("'%s' has no '%s'", line, expected);
}

#define HEAD "{\r\n\"cloud\": \"Public\",\r\n\"values\": [\r\n"
#define TAG(prefixes) "{ \"name\": \"A\", \"properties\": { \"region\": \"\", \"addressPrefixes\": " prefixes " } }"

static void what_is_wrong_is_told_with_its_place(void **state)
{
        (void)state;
        assert_refused("", "tags.json:1: not JSON: ");
        assert_refused(HEAD "{ \"name\": oops } ] }", "tags.json:4:14: not JSON: ");
        assert_refused(HEAD "{ \"name\": \"A\"", "tags.json:4:13: not JSON: ");
        assert_refused(HEAD TAG("[\r\n\"10.0.0.0/33\"]") "] }",
                       "tags.json:5:1: '10.0.0.0/33' is not an address prefix");
        assert_refused(HEAD TAG("[ \"10.0.0.1/8\" ]") "] }", "'10.0.0.1/8' is not an address prefix");
        assert_refused(HEAD TAG("[ 1 ]") "] }", "tags.json:4:11: 'A' has an address prefix that is not a text");
        assert_refused(HEAD TAG("7") "] }", "tags.json:4:11: 'A' has no list addressPrefixes");
        assert_refused(HEAD TAG("[]") ",\r\n" TAG("[]") "] }", "'A' is there twice");
        assert_refused(HEAD "{} ] }", "tags.json: not a file of service tags: a value has no name");
        assert_refused("{ \"cloud\": \"Public\", \"values\": 7 }", "it has no list values");
        assert_refused("{ \"values\": [] }", "it has no cloud");
        assert_refused("{ \"cloud\": \"Mars\", \"values\": [] }", "tags.json:1:12: 'Mars' is no cloud that is known");
        assert_refused("[]", "it has no cloud");
        assert_refused("{ \"cloud\": \"a\\nb\", \"values\": [] }", "tags.json: 'a?b' is no cloud");
}

static void every_cut_of_a_file_is_refused(void **state)
{
        const char text[] = HEAD TAG("[ \"10.0.0.0/8\" ]") "\r\n]\r\n}";

        (void)state;
        struct service_tags *tags = try_text(text, strlen(text));
        assert_non_null(tags);
        service_tags_free(tags);
        for (size_t length = 0; length < strlen(text); length++) {
                diagnostics_free(diagnostics);
                diagnostics = diagnostics_new();
                assert_null(try_text(text, length));
        }
}

static void names_that_no_rule_can_write_are_passed_over(void **state)
{
        struct sample sample;

        (void)state;
        sample_open(&sample, "Public");
        sample_tag(&sample, "With space", "", "\"not looked at\"");
        sample_tag(&sample, "", "", "");
        sample_tag(&sample, "Good_one-2.x", "", "\"10.0.0.0/8\"");
        assert_string_equal(found(read_sample(&sample), "Good_one-2.x"), "Good_one-2.x");
}

static void a_byte_order_mark_is_passed_over(void **state)
{
        static const char text[] = "\xef\xbb\xbf{ \"cloud\": \"Public\", \"values\": [] }";

        (void)state;
        struct service_tags *tags = try_text(text, strlen(text));
        assert_non_null(tags);
        service_tags_free(tags);
}

static double cpu_seconds(void)
{
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void a_file_of_real_size_takes_less_than_a_second(void **state)
{
        struct service_tags *tags;
        size_t length, count;
        char *text = sample_of_real_size(&length);
        double started = cpu_seconds();

        (void)state;
        assert_true(length > 3500000 && length < 6000000);
        assert_int_equal(service_tags_from_text("tags.json", text, length, diagnostics, &tags), 0);
        use(tags, "AzureCloud", 0);
        use(tags, "AzureCloud.francecentral", 1);
        use(tags, "AzureMonitor", 2);
        assert_int_equal(service_tags_finish(tags), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        assert_true(cpu_seconds() - started < 1.0);
#else
        (void)started;
#endif
        (void)service_tags_prefixes(tags, 0, &count);
        assert_int_equal(count, SAMPLE_CLOUD_PREFIXES);
        (void)service_tags_prefixes(tags, 1, &count);
        assert_int_equal(count, SAMPLE_CLOUD_REGION_PREFIXES);
        for (uint32_t tag = 0; tag < 3; tag++) {
                const struct net_prefix *prefixes = service_tags_prefixes(tags, tag, &count);
                for (size_t i = 0; i < count; i += 97) {
                        char address[NET_ADDRESS_TEXT_SIZE];
                        const char *names = covering(tags, net_address_format(&prefixes[i].address, address));
                        assert_non_null(strstr(names, service_tags_name(tags, tag)));
                }
        }
        service_tags_free(tags);
        free(text);
}

static void more_tags_values_or_bytes_than_allowed_are_refused(void **state)
{
        struct diagnostic_place place = { "aksegressd.yaml", 2, 15 };
        char path[] = "/tmp/aksegressd-tags-XXXXXX";
        struct service_tags *tags = NULL;
        struct sample sample;
        int fd = mkstemp(path);

        (void)state;
        assert_int_not_equal(fd, -1);
        assert_int_equal(ftruncate(fd, SERVICE_TAGS_MAX_FILE_SIZE + 1), 0);
        assert_int_equal(service_tags_read(path, &place, diagnostics, &tags), -EINVAL);
        assert_non_null(strstr(diagnostics_line(diagnostics, 0), "aksegressd.yaml:2:15: cannot read '"));
        assert_non_null(strstr(diagnostics_line(diagnostics, 0), "64 MiB"));
        close(fd);
        unlink(path);
        sample_open(&sample, "Public");
        for (unsigned i = 0; i <= SERVICE_TAGS_MAX_TAGS; i++)
                fprintf(sample.stream, "%s{}", i == 0 ? "" : ",");
        char *text = sample_close(&sample);
        assert_refused(text, "more tags than this daemon takes");
        free(text);
        sample_open(&sample, "Public");
        for (unsigned i = 0; i <= 4 * SERVICE_TAGS_MAX_TAGS; i++)
                fprintf(sample.stream, "%s{}", i == 0 ? "" : ",");
        text = sample_close(&sample);
        assert_refused(text, "more values than this daemon takes");
        free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_diagnostics, drop_diagnostics)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(a_region_is_found_by_its_location_and_in_any_case),
                TEST(every_location_with_another_name_in_tags_is_known),
                TEST(what_is_not_in_the_file_is_not_found),
                TEST(names_that_resemble_a_missing_one_are_told),
                TEST(an_address_finds_the_used_tags_that_cover_it),
                TEST(tags_may_be_unused_and_unfinished),
                TEST(clouds_are_told_apart),
                TEST(what_is_wrong_is_told_with_its_place),
                TEST(every_cut_of_a_file_is_refused),
                TEST(names_that_no_rule_can_write_are_passed_over),
                TEST(a_byte_order_mark_is_passed_over),
                TEST(a_file_of_real_size_takes_less_than_a_second),
                TEST(more_tags_values_or_bytes_than_allowed_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
