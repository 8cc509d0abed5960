/* SPDX-License-Identifier: Apache-2.0 */
/* Times as text, against gmtime_r where that works. */
#include "testlib.h"

#include "tree/timetext.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void known_times(void **state)
{
    static const struct {
        int64_t sec;
        uint32_t nsec;
        const char *text;
    } t[] = {
        {0, 0, "1970-01-01T00:00:00.000000000Z"},
        {-1, 999999999, "1969-12-31T23:59:59.999999999Z"},
        {1582934400, 1, "2020-02-29T00:00:00.000000001Z"},
        {951827696, 0, "2000-02-29T12:34:56.000000000Z"},
        {-11644473600, 0, "1601-01-01T00:00:00.000000000Z"},
        {253402300799, 0, "9999-12-31T23:59:59.000000000Z"},
        {253402300800, 0, "+10000-01-01T00:00:00.000000000Z"},
        {-62167219200, 0, "0000-01-01T00:00:00.000000000Z"},
        {-62167219201, 0, "-0001-12-31T23:59:59.000000000Z"},
        {INT64_MAX, 0, "+292277026596-12-04T15:30:07.000000000Z"},
        {INT64_MIN, 0, "-292277022657-01-27T08:29:52.000000000Z"},
    };
    char text[TIMETEXT_MAX];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        timetext_format(t[i].sec, t[i].nsec, text);
        assert_string_equal(text, t[i].text);
    }
}

static void many_days(void **state)
{
    int64_t day;

    (void)state;
    for (day = -719528; day < 2932897; day += 5) { /* 0000-01-01 … 9999-12-31 */
        char text[TIMETEXT_MAX], expected[64];
        int64_t sec = day * 86400 + (day * 7919 % 86400 + 86400) % 86400;
        time_t t = (time_t)sec;
        struct tm tm;

        timetext_format(sec, 0, text);
        assert_non_null(gmtime_r(&t, &tm));
        (void)snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.000000000Z",
                       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                       tm.tm_sec);
        if (strcmp(text, expected) != 0)
            fail_msg("%s, expected %s", text, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times),
        cmocka_unit_test(many_days),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
